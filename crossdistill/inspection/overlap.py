"""What two vocabularies have in common: by the bytes of their entries, and by the strings that name them."""

from collections.abc import Mapping
from dataclasses import dataclass

from crossdistill.tokens import ByteVocab

# how a byte-level and a SentencePiece vocabulary write a space; matching by string replaces the one by the other
_SPACES = ("\u0120", "\u2581")
_NUM_EXAMPLES = 5


@dataclass(frozen=True)
class StringOverlap:
    """What matching by token strings, with the marks for a space made equal, would find.

    matches: names that both sides have (control tokens on both sides left out). false: those whose entries are not of
    the same bytes. missed: byte strings that both sides have an entry for and no match finds. The examples are names
    and bytes of some.
    """

    matches: int
    false: int
    missed: int
    false_examples: tuple[str, ...]
    missed_examples: tuple[bytes, ...]


@dataclass(frozen=True)
class Overlap:
    """Of two vocabularies; entries are counted by their bytes, so two ids of the same bytes are one entry.

    shared: entries that both have. without_partner: the student's ids with bytes that no teacher entry equals: such a
    token is never in a 1:1 chunk. by_string: None where a tokenizer does not name its entries.
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
    """Compare two vocabularies; `names` are each tokenizer's own: string -> id."""
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
    """The bytes of entries under their names as a match by string has them; of names that become equal the last."""
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
