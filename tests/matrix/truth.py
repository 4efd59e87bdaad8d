"""Which chunks two tokenizers share on some bytes, from the definition and by brute force.

A byte offset is a boundary iff the student's first i tokens are exactly the bytes before it, and the teacher's first
j tokens are what the teacher makes of the bytes before it, and the rest of its tokens what it makes of the bytes
behind it. What a teacher makes of bytes are the bytes themselves, unless its own normaliser rewrites them: then the
normaliser is asked, for the bytes before and behind each offset.
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
# Unicode's White_Space, by which Rust cuts words; Python's own notion is wider
_WHITE_SPACE = re.compile("[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+")
_EDGES = ("Prepend", "Strip")
Span = tuple[int, int]


@dataclass(frozen=True)
class TokenNames:
    """What a tokenizer makes of bytes.

    normalise: its own normaliser without the steps that act on the edges of a text.
    finish: normalised text -> the text that its tokens stand for.
    may_drop_end: whether white space at the end of a text may belong to no token.
    keeps_spaces: whether tokens stand for the white space between words.
    """

    normalise: Callable[[str], str]
    finish: Callable[[str], str]
    may_drop_end: bool = False
    keeps_spaces: bool = True

    def ends_in_white_space(self, data: bytes) -> bool:
        """Whether white space is the last thing that something is made of."""
        made = (self.normalise(char) for char in reversed(data.decode("utf-8", "ignore")))
        return _WHITE_SPACE.fullmatch(next((text for text in made if text), "")) is not None

    def __call__(self, data: bytes) -> bytes:
        runs = _NOT_TEXT.split(data.decode("utf-8", "surrogateescape"))
        made = [self.normalise(run) if run and index % 2 == 0 else run for index, run in enumerate(runs)]
        return self.finish("".join(made)).encode("utf-8", "surrogateescape")


def spelling_of(real: Real) -> TokenNames:
    if real.backend is None:
        is_sentencepiece = hasattr(real.tokenizer, "serialized_model_proto")
        return TokenNames(_same, _spaces_for_marks if is_sentencepiece else _same)
    spec = json.loads(real.backend.to_str())
    normalise = _normaliser(spec["normalizer"])
    if spec["model"]["type"] == "WordPiece":
        return TokenNames(normalise, _without_white_space, keeps_spaces=False)
    if "WhitespaceSplit" in str(spec["pre_tokenizer"]):
        return TokenNames(normalise, _one_space, may_drop_end=True)
    return TokenNames(normalise, _same if "ByteLevel" in str(spec["decoder"]) else _spaces_for_marks)


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
class PairedTokenization:
    """A teacher's tokens for some bytes: the bytes of those outside of holes, and the holes.

    places: byte offset -> the number of tokens and holes that end at it or before, for every offset that is an end.
    """

    data: bytes
    holes: Sequence[Span]
    places: dict[int, int]


def reading_of(
    data: bytes, pieces: Sequence[Sequence[bytes]], holes: Sequence[Span], spelling: TokenNames
) -> PairedTokenization:
    """Where the teacher's tokens can end in `data`.

    Args:
        pieces: the bytes of its tokens, in one sequence for the bytes before the first hole, between the first and the
            second, ..., and behind the last.

    Raises AssertionError where they are not what the teacher makes of those bytes.
    """
    places: dict[int, int] = {}
    num_closed, start = 0, 0
    for run, (hole_start, hole_end) in zip(pieces, [*holes, (len(data), len(data))], strict=True):
        segment, spelled = data[start:hole_start], b"".join(run)
        wanted = spelling(segment)
        is_right = spelled == wanted or (spelling.may_drop_end and spelled == wanted.rstrip(b" "))
        assert is_right, f"the teacher's tokens {list(run)!r} are not {wanted!r}, made of {segment!r}"
        for offset, count in _ends(segment, run, spelling).items():
            places[start + offset] = num_closed + count
        num_closed += len(run)
        if hole_end > hole_start:
            num_closed += 1
            places[hole_end] = num_closed
        start = hole_end
    return PairedTokenization(data, holes, places)


def _ends(segment: bytes, pieces: Sequence[bytes], spelling: TokenNames) -> dict[int, int]:
    """Byte offset in `segment` -> number of `pieces` that end there."""
    spelled = b"".join(pieces)
    counts, size = {}, 0
    for count, piece in enumerate(pieces, 1):
        size += len(piece)
        counts[size] = count
    if spelled == segment:
        return counts
    found = {len(segment): len(pieces)} if pieces else {}
    for offset in range(1, len(segment)):
        if not spelling.keeps_spaces and spelling.ends_in_white_space(segment[:offset]):
            continue  # white space that no token stands for goes with the word behind it
        before = spelling(segment[:offset])
        if len(before) in counts and (before + spelling(segment[offset:])).startswith(spelled):
            found[offset] = counts[len(before)]
    return _last_of_each(found)


def _last_of_each(ends: dict[int, int]) -> dict[int, int]:
    """The last offset at which the same tokens have ended: what the teacher deletes goes to the token before it."""
    last = {count: offset for offset, count in sorted(ends.items())}
    return {offset: count for count, offset in last.items()}


def chunks(student_ends: Iterable[int], reading: PairedTokenization) -> list[Span]:
    """The minimal chunks, first to last. The bytes of all of them are those of `reading`."""
    return list(pairwise([0, *sorted(set(student_ends) & reading.places.keys())]))


def is_lost(chunk: Span, holes: Iterable[Span]) -> bool:
    """Whether a byte of the chunk lies in a hole."""
    return any(start < chunk[1] and chunk[0] < end for start, end in holes)
