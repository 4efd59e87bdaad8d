"""The overlap of two vocabularies, by the bytes of their entries and by the strings that name them."""

from collections.abc import Mapping
from dataclasses import dataclass

from crossdistill.tokens import ByteVocab

_SPACES = ("\u0120", "\u2581")
"""The space of byte-level vocabularies and that of SentencePiece, which matching by string puts in its place."""
_NUM_EXAMPLES = 5


@dataclass(frozen=True)
class StringOverlap:
    """The result of matching token strings, with the marks for a space made equal.

    Attributes:
        matches: names that both vocabularies have, except control tokens on both sides.
        false: matches whose entries have different bytes.
        missed: byte strings that both vocabularies have an entry for and that no match finds.
        false_examples: some names of false matches, longest first.
        missed_examples: some missed byte strings, longest first.
    """

    matches: int
    false: int
    missed: int
    false_examples: tuple[str, ...]
    missed_examples: tuple[bytes, ...]


@dataclass(frozen=True)
class Overlap:
    """The entries that two vocabularies share. Two ids with the same bytes are one entry.

    Attributes:
        student_entries: entries of the student.
        teacher_entries: entries of the teacher.
        shared: entries of both.
        without_partner: the student's ids with bytes that no entry of the teacher equals; such a token is never in a
            1:1 chunk.
        by_string: the result of matching by name instead; None if a tokenizer does not name its entries.
    """

    student_entries: int
    teacher_entries: int
    shared: int
    without_partner: int
    by_string: StringOverlap | None


def overlap(
    student: ByteVocab,
    teacher: ByteVocab,
    student_names: Mapping[str, int] | None = None,
    teacher_names: Mapping[str, int] | None = None,
) -> Overlap:
    """Compare two vocabularies.

    Args:
        student: the student's vocabulary.
        teacher: the teacher's vocabulary.
        student_names: string -> id, of the student's tokenizer.
        teacher_names: string -> id, of the teacher's tokenizer.
    """
    ours, theirs = set(student.pieces) - {b""}, set(teacher.pieces) - {b""}
    return Overlap(
        student_entries=len(ours),
        teacher_entries=len(theirs),
        shared=len(ours & theirs),
        without_partner=sum(piece != b"" and piece not in theirs for piece in student.pieces),
        by_string=None
        if student_names is None or teacher_names is None
        else _by_string(_by_name(student, student_names), _by_name(teacher, teacher_names), ours & theirs),
    )


def _by_name(vocab: ByteVocab, names: Mapping[str, int]) -> dict[str, bytes]:
    """Name, with the common mark for a space, -> bytes; the last of names that become equal."""
    return {name.replace(*_SPACES): vocab.pieces[token_id] for name, token_id in names.items()}


def _by_string(student: Mapping[str, bytes], teacher: Mapping[str, bytes], shared: set[bytes]) -> StringOverlap:
    pairs = {name: (student[name], teacher[name]) for name in student.keys() & teacher.keys()}
    matches = {name: pieces for name, pieces in pairs.items() if pieces != (b"", b"")}
    false = [name for name, (ours, theirs) in matches.items() if ours != theirs]
    missed = shared - {ours for ours, theirs in matches.values() if ours == theirs}
    longest_names = sorted(false, key=lambda name: (-len(name), name))
    longest = sorted(missed, key=lambda piece: (-len(piece), piece))
    return StringOverlap(
        len(matches), len(false), len(missed), tuple(longest_names[:_NUM_EXAMPLES]), tuple(longest[:_NUM_EXAMPLES])
    )
