"""Where tokens end in the original bytes when the tokenizer's normaliser rewrote the text."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple, TypeVar

import numpy as np

Normalise = Callable[[str], bytes]
_Key = TypeVar("_Key")
_Answer = TypeVar("_Answer")

_CONTEXT = 16  # characters on either side of a border within which a normaliser's rules are looked at
_LEAF = 256  # characters that are looked at one by one; longer segments are halved first
_FEW = 32  # borders that are all tried, where the clusters of a segment do not make the whole


class Span(NamedTuple):
    """A part of the text that the normaliser treats on its own.

    num_bytes, num_normal_bytes: its length before and after. unchanged: whether it is the same bytes on both sides.
    """

    num_bytes: int
    num_normal_bytes: int
    unchanged: bool


def ends_in_original(text: str, normalise: Normalise, ends: np.ndarray) -> np.ndarray:
    """Map byte ends in the normalised text to byte ends in ``text.encode()``.

    The text is cut into clusters that the normaliser treats on their own. A token that ends at a cluster's border
    ends there; one that ends inside an unchanged cluster ends at the same byte of it. One that ends inside a
    rewritten cluster has no end in the input: it repeats the end of the token before, and its bytes go to the token
    that closes the cluster. Every byte of the input thus lies in a token, and no false boundary is made.

    Near-linear in the length of the text, whatever the normaliser: what it leaves alone is settled at once.

    Args:
        normalise: text -> the bytes that the tokens of that text spell.
        ends: int64 [num tokens], cumulative bytes of the tokens; the last one is ``len(normalise(text))``.
    """
    spans = list(spans_of(text, normalise))
    starts = np.cumsum([0] + [span.num_bytes for span in spans])
    normal_starts = np.cumsum([0] + [span.num_normal_bytes for span in spans])
    unchanged = np.array([span.unchanged for span in spans] + [True])
    span = np.searchsorted(normal_starts, ends, side="right") - 1  # a cluster that vanishes goes to the token before it
    inside = ends - normal_starts[span]
    mapped = np.where((inside == 0) | unchanged[span], starts[span] + inside, 0)
    return np.maximum.accumulate(mapped)


def spans_of(text: str, normalise: Normalise) -> Iterator[Span]:
    """A fine cut of `text` that the normaliser respects, or the whole text where it respects none.

    The spans in order; the normalised spans put one after the other are the normalised text. A border is made where
    the normaliser gives the same for both sides together as for each alone, (1) on the few characters, or the
    clusters, on either side of it, and (2) on the whole segment that is cut there. (2) alone could hold by accident
    far from where the rewriting takes place; (1) alone would miss rules that reach further. Where clusters cannot be
    told apart by that, they stay together: a coarser cut loses signal, a false one teaches the wrong thing.
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


class _Memo(dict[_Key, _Answer]):
    """A function that remembers its answers."""

    def __init__(self, function: Callable[[_Key], _Answer]):
        super().__init__()
        self._function = function

    def __missing__(self, key: _Key) -> _Answer:
        answer = self[key] = self._function(key)
        return answer


class _Cutter:
    """Asks one normaliser, and remembers its answers on clusters and on what is around a border."""

    def __init__(self, normalise: Normalise):
        self._normalise = normalise
        self._normal = _Memo(normalise)
        self._span: _Memo[str, Span] = _Memo(lambda cluster: _Segment(cluster, self._normal[cluster]).span)
        self._respects = _Memo(self._same_together)

    def resolve(self, segment: _Segment) -> tuple[list[Span], list[_Segment]]:
        """The spans of a segment, or two parts of it to be resolved."""
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
        """The two parts at the first of the borders that the normaliser respects, none where it respects none."""
        for border in borders:
            if self._respects[_around(segment.text, 0, border, len(segment.text))]:
                parts = segment.text[:border], segment.text[border:]
                halves = [_Segment(part, self._normalise(part)) for part in parts]
                if halves[0].normal + halves[1].normal == segment.normal:
                    return halves
        return []

    def _clusters(self, text: str) -> list[str]:
        """Neighbours whose border is not respected are put together until every border is."""
        starts = [0]
        for stop in range(1, len(text) + 1):
            while len(starts) > 1 and not self._respects[_around(text, starts[-2], starts[-1], stop)]:
                starts.pop()
            starts.append(stop)
        return [text[start:stop] for start, stop in pairwise(starts)]

    def _same_together(self, sides: tuple[str, str]) -> bool:
        return self._normalise("".join(sides)) == b"".join(self._normal[side] for side in sides)


def _around(text: str, start: int, border: int, stop: int) -> tuple[str, str]:
    """The characters on both sides of a border, of those from start to stop."""
    return text[max(start, border - _CONTEXT) : border], text[border : min(stop, border + _CONTEXT)]


def _from_the_middle(length: int) -> list[int]:
    """The middle of 0 .. length, then positions ever further from it: each step doubles the distance."""
    middle = length // 2
    steps = [2**power for power in range(length.bit_length())]
    positions = [middle, *(middle + sign * step for step in steps for sign in (-1, 1))]
    return [position for position in positions if 0 < position < length]


def _from_everywhere(length: int) -> list[int]:
    """Indices below `length`: from the middle outwards, and from both edges inwards, at doubling distances."""
    steps = [2**power - 1 for power in range(length.bit_length())]
    edges = [index for step in reversed(steps) for index in (step, length - 1 - step) if step < length]
    return list(dict.fromkeys(_from_the_middle(length) + edges))


def _all_from_the_middle(length: int) -> list[int]:
    return sorted(range(length), key=lambda index: abs(2 * index - length + 1))
