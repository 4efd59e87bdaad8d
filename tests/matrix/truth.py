"""The chunks that two tokenizers share on some bytes, from the definition and by brute force.

A byte offset is a boundary iff the student's first i tokens have exactly the bytes before it, the teacher's first j
tokens have the rewritten bytes before it, and the rest of its tokens the rewritten bytes after it. Rewritten bytes are
the bytes themselves unless the teacher's own normaliser changes them: then the normaliser is applied to the bytes
before and after each offset.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tokenizers import Tokenizer

from tests.matrix.loading import Real

_NOT_TEXT = re.compile("([\udc80-\udcff]+)")
# Unicode's White_Space, at which Rust splits words; Python's own definition is wider
_WHITE_SPACE = re.compile("[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+")
_EDGES = ("Prepend", "Strip")
Span = tuple[int, int]


@dataclass(frozen=True)
class Rewriter:
    """A tokenizer's function from bytes to the bytes of its tokens.

    Attributes:
        normalise: its own normaliser without the steps that act on the edges of a text.
        finish: normalised text -> the text of its tokens.
        may_drop_end: whether white space at the end of a text may belong to no token.
        keeps_spaces: whether its tokens contain the white space between words.
    """

    normalise: Callable[[str], str]
    finish: Callable[[str], str]
    may_drop_end: bool = False
    keeps_spaces: bool = True

    def ends_in_white_space(self, data: bytes) -> bool:
        """Whether the last character that is not deleted is white space."""
        made = (self.normalise(char) for char in reversed(data.decode("utf-8", "ignore")))
        return _WHITE_SPACE.fullmatch(next((text for text in made if text), "")) is not None

    def __call__(self, data: bytes) -> bytes:
        runs = _NOT_TEXT.split(data.decode("utf-8", "surrogateescape"))
        made = [self.normalise(run) if run and index % 2 == 0 else run for index, run in enumerate(runs)]
        return self.finish("".join(made)).encode("utf-8", "surrogateescape")


def rewriter_of(real: Real) -> Rewriter:
    if real.backend is None:
        is_sentencepiece = hasattr(real.tokenizer, "serialized_model_proto")
        return Rewriter(_same, _spaces_for_marks if is_sentencepiece else _same)
    spec = json.loads(real.backend.to_str())
    normalise = _normaliser(spec["normalizer"])
    if spec["model"]["type"] == "WordPiece":
        return Rewriter(normalise, _without_white_space, keeps_spaces=False)
    if "WhitespaceSplit" in str(spec["pre_tokenizer"]):
        return Rewriter(normalise, _one_space, may_drop_end=True)
    return Rewriter(normalise, _same if "ByteLevel" in str(spec["decoder"]) else _spaces_for_marks)


def _normaliser(spec: dict[str, Any] | None) -> Callable[[str], str]:
    steps = spec.get("normalizers", [spec]) if spec else []
    kept = [step for step in steps if step["type"] not in _EDGES]
    if not kept:
        return _same
    parts = {"type": "Sequence", "normalizers": kept}
    shell = json.loads(Tokenizer.from_str(_EMPTY).to_str()) | {"normalizer": parts}
    normalizer = Tokenizer.from_str(json.dumps(shell)).normalizer
    return normalizer.normalize_str  # type: ignore[no-any-return]


_EMPTY = '{"version": "1.0", "added_tokens": [], "model": {"type": "BPE", "vocab": {}, "merges": []}}'


def _same(text: str) -> str:
    return text


def _spaces_for_marks(text: str) -> str:
    return text.replace("▁", " ")


def _one_space(text: str) -> str:
    return _WHITE_SPACE.sub(" ", text.replace("▁", " "))


def _without_white_space(text: str) -> str:
    return _WHITE_SPACE.sub("", text)


@dataclass(frozen=True)
class TrueEnds:
    """The ends of a teacher's tokens in some bytes.

    Attributes:
        data: the bytes.
        spans: the unencodable spans.
        places: byte offset -> the number of tokens and spans that end at it or before, for every offset that is an end.
    """

    data: bytes
    spans: Sequence[Span]
    places: dict[int, int]


def true_ends(data: bytes, pieces: Sequence[Sequence[bytes]], spans: Sequence[Span], rewrite: Rewriter) -> TrueEnds:
    """The offsets at which the teacher's tokens can end in `data`.

    Args:
        data: the bytes.
        pieces: the bytes of its tokens, in one sequence for the bytes before the first span, between the first and the
            second, ..., and after the last.
        spans: the unencodable spans.
        rewrite: the teacher's.

    Raises:
        AssertionError: the tokens do not have the rewritten bytes.
    """
    places: dict[int, int] = {}
    num_closed, start = 0, 0
    for run, (span_start, span_end) in zip(pieces, [*spans, (len(data), len(data))], strict=True):
        segment, joined = data[start:span_start], b"".join(run)
        wanted = rewrite(segment)
        is_right = joined == wanted or (rewrite.may_drop_end and joined == wanted.rstrip(b" "))
        assert is_right, f"the teacher's tokens {list(run)!r} are not {wanted!r}, made of {segment!r}"
        for offset, count in _ends(segment, run, rewrite).items():
            places[start + offset] = num_closed + count
        num_closed += len(run)
        if span_end > span_start:
            num_closed += 1
            places[span_end] = num_closed
        start = span_end
    return TrueEnds(data, spans, places)


def _ends(segment: bytes, pieces: Sequence[bytes], rewrite: Rewriter) -> dict[int, int]:
    """Byte offset in `segment` -> number of `pieces` that end there."""
    joined = b"".join(pieces)
    counts, size = {}, 0
    for count, piece in enumerate(pieces, 1):
        size += len(piece)
        counts[size] = count
    if joined == segment:
        return counts
    found = {len(segment): len(pieces)} if pieces else {}
    for offset in range(1, len(segment)):
        if not rewrite.keeps_spaces and rewrite.ends_in_white_space(segment[:offset]):
            continue  # white space without a token goes with the word after it
        before = rewrite(segment[:offset])
        if len(before) in counts and (before + rewrite(segment[offset:])).startswith(joined):
            found[offset] = counts[len(before)]
    return _last_of_each(found)


def _last_of_each(ends: dict[int, int]) -> dict[int, int]:
    """The last offset with the same number of ended tokens: deleted text goes to the token before it."""
    last = {count: offset for offset, count in sorted(ends.items())}
    return {offset: count for count, offset in last.items()}


def chunks(student_ends: Iterable[int], ends: TrueEnds) -> list[Span]:
    """The minimal chunks, first to last; together they have the bytes of `ends`."""
    return list(pairwise([0, *sorted(set(student_ends) & ends.places.keys())]))


def is_lost(chunk: Span, spans: Iterable[Span]) -> bool:
    """Whether a byte of the chunk lies in an unencodable span."""
    return any(start < chunk[1] and chunk[0] < end for start, end in spans)
