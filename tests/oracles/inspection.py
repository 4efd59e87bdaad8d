"""How a pair reads documents and what its vocabularies share, written from the definitions with sets and loops."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from crossdistill.tokens import ByteVocab


def chunk_sizes(student_pieces: Sequence[bytes], teacher_pieces: Sequence[bytes]) -> Counter[tuple[int, int]]:
    """Sizes of the chunks of two spellings of the same bytes: a chunk closes wherever both have spelled as much."""
    sizes: Counter[tuple[int, int]] = Counter()
    ours, theirs = list(student_pieces), list(teacher_pieces)
    while ours or theirs:
        left, right = [ours.pop(0)], [theirs.pop(0)]
        while len(b"".join(left)) != len(b"".join(right)):
            if len(b"".join(left)) < len(b"".join(right)):
                left.append(ours.pop(0))
            else:
                right.append(theirs.pop(0))
        sizes[len(left), len(right)] += 1
    return sizes


def string_overlap(
    student: ByteVocab, teacher: ByteVocab, student_names: Mapping[str, int], teacher_names: Mapping[str, int]
) -> dict[str, Any]:
    """Matches by name with every Ġ written as ▁: how many, how many of other bytes, and what they miss."""
    ours, theirs = {}, {}
    for table, names in ((ours, student_names), (theirs, teacher_names)):
        for name, token_id in names.items():
            table[name.replace("Ġ", "▁")] = token_id
    matches, false, found = 0, 0, set()
    for name in ours:
        if name in theirs:
            left, right = student.pieces[ours[name]], teacher.pieces[theirs[name]]
            matches += bool(left or right)
            false += left != right
            found |= {left} & {right}
    shared = {piece for piece in student.pieces if piece and piece in teacher.pieces}
    return {"matches": matches, "false": false, "missed": len(shared - found), "shared": len(shared)}
