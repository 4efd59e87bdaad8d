"""Maps token ends to the original bytes if the tokenizer's normaliser rewrote the text."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple, TypeVar

import numpy as np

Normalise = Callable[[str], bytes]
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

_CONTEXT = 16  # characters on each side of a border to which a normaliser's rules are tested
_LEAF = 256  # segments up to this many characters are tested one by one; longer ones are halved first
_FEW = 32  # up to this many borders are all tried if the clusters of a segment do not add up to it


class Span(NamedTuple):
    """A part of a text that the normaliser treats on its own.

    Attributes:
        num_bytes: its length before normalisation.
        num_normal_bytes: its length after normalisation.
        unchanged: whether its bytes are the same before and after.
    """

    num_bytes: int
    num_normal_bytes: int
    unchanged: bool


def ends_in_original(text: str, normalise: Normalise, ends: np.ndarray) -> np.ndarray:
    """Map byte ends in the normalised text to byte ends in ``text.encode()``.

    The text is cut into clusters that the normaliser treats on their own. A token that ends at the border of a
    cluster ends there in the input too, and one that ends inside an unchanged cluster ends at the same byte of it. A
    token that ends inside a rewritten cluster has no end in the input: it repeats the end of the token before it, and
    its bytes go to the token that closes the cluster. So every byte of the input lies in a token, and no false boundary
    is made.

    Near-linear in the length of the text for any normaliser, because unchanged text is settled at once.

    Args:
        text: the original text.
        normalise: text -> the bytes of its tokens.
        ends: int64 [num tokens], cumulative bytes of the tokens; the last one is ``len(normalise(text))``.

    Returns:
        int64 [num tokens], never decreasing. Empty for no tokens.
    """
    spans = list(spans_of(text, normalise))
    starts = np.cumsum([0] + [span.num_bytes for span in spans])
    normal_starts = np.cumsum([0] + [span.num_normal_bytes for span in spans])
    unchanged = np.array([span.unchanged for span in spans] + [True])
    span = np.searchsorted(normal_starts, ends, side="right") - 1  # a deleted cluster goes to the token before it
    inside = ends - normal_starts[span]
    mapped = np.where((inside == 0) | unchanged[span], starts[span] + inside, 0)
    return np.maximum.accumulate(mapped)


def spans_of(text: str, normalise: Normalise) -> Iterator[Span]:
    """A fine cut of `text` that the normaliser respects; the whole text if it respects none.

    The spans come in order, and the normalised spans concatenate to the normalised text. A border is made where
    normalising both sides together gives the same as normalising each alone, (1) for the few characters, or the
    clusters, on each side of it, and (2) for the whole segment that is cut there. (2) alone could hold by accident far
    from the rewriting; (1) alone would miss rules with a longer reach. Clusters that these tests cannot separate stay
    together: a coarser cut loses signal, a false one teaches the wrong thing.
    """
    cutter = _Cutter(normalise)
    pending = [_Segment(text, normalise(text))]  # a stack: the leftmost segment is on top
    while pending:
        spans, halves = cutter.resolve(pending.pop())
        pending.extend(reversed(halves))
        yield from spans


class _Segment(NamedTuple):
    text: str
    normal: bytes

    @property
    def span(self) -> Span:
        data = self.text.encode("utf-8")
        return Span(len(data), len(self.normal), data == self.normal)


class _Memo(dict[_Key, _Value]):
    """Results of a function, each computed once."""

    def __init__(self, function: Callable[[_Key], _Value]):
        super().__init__()
        self._function = function

    def __missing__(self, key: _Key) -> _Value:
        value = self[key] = self._function(key)
        return value


class _Cutter:
    """Cuts text for one normaliser; caches its results for clusters and for the text around a border."""

    def __init__(self, normalise: Normalise):
        self._normalise = normalise
        self._normal = _Memo(normalise)
        self._span: _Memo[str, Span] = _Memo(lambda cluster: _Segment(cluster, self._normal[cluster]).span)
        self._respects = _Memo(self._same_together)

    def resolve(self, segment: _Segment) -> tuple[list[Span], list[_Segment]]:
        """The spans of a segment, or two parts of it that are yet to be resolved."""
        span = segment.span
        if span.unchanged:
            return [span], []
        if len(segment.text) > _LEAF:
            halves = self._first_cut(segment, _from_the_middle(len(segment.text)))
            if halves:
                return [], halves
        clusters = self._clusters(segment.text)
        if b"".join(map(self._normal.__getitem__, clusters)) == segment.normal:
            return list(map(self._span.__getitem__, clusters)), []
        borders = np.cumsum(list(map(len, clusters)))[:-1].tolist()
        order = _all_from_the_middle(len(borders)) if len(borders) <= _FEW else _from_everywhere(len(borders))
        halves = self._first_cut(segment, [borders[index] for index in order])
        return ([], halves) if halves else ([span], [])

    def _first_cut(self, segment: _Segment, borders: list[int]) -> list[_Segment]:
        """The two parts at the first border that the normaliser respects, or nothing if it respects none."""
        for border in borders:
            if self._respects[_around(segment.text, 0, border, len(segment.text))]:
                parts = segment.text[:border], segment.text[border:]
                halves = [_Segment(part, self._normalise(part)) for part in parts]
                if halves[0].normal + halves[1].normal == segment.normal:
                    return halves
        return []

    def _clusters(self, text: str) -> list[str]:
        """Characters, joined with their neighbours until the normaliser respects every border."""
        starts = [0]
        for stop in range(1, len(text) + 1):
            while len(starts) > 1 and not self._respects[_around(text, starts[-2], starts[-1], stop)]:
                starts.pop()
            starts.append(stop)
        return [text[start:stop] for start, stop in pairwise(starts)]

    def _same_together(self, sides: tuple[str, str]) -> bool:
        return self._normalise("".join(sides)) == b"".join(self._normal[side] for side in sides)


def _around(text: str, start: int, border: int, stop: int) -> tuple[str, str]:
    """The characters on each side of a border, between start and stop."""
    return text[max(start, border - _CONTEXT) : border], text[border : min(stop, border + _CONTEXT)]


def _from_the_middle(length: int) -> list[int]:
    """The middle of 0 .. length, then positions further from it: each step doubles the distance."""
    middle = length // 2
    steps = [2**power for power in range(length.bit_length())]
    positions = [middle, *(middle + sign * step for step in steps for sign in (-1, 1))]
    return [position for position in positions if 0 < position < length]


def _from_everywhere(length: int) -> list[int]:
    """Indices below `length`, from the middle outwards and from both edges inwards, at doubling distances."""
    steps = [2**power - 1 for power in range(length.bit_length())]
    edges = [index for step in reversed(steps) for index in (step, length - 1 - step) if step < length]
    return list(dict.fromkeys(_from_the_middle(length) + edges))


def _all_from_the_middle(length: int) -> list[int]:
    return sorted(range(length), key=lambda index: abs(2 * index - length + 1))
