"""The slow obvious twins of a reference's part in the advantages (module `multi_teacher`), one token at a time."""

from collections.abc import Sequence
from itertools import pairwise


def with_one_tokenizer(
    log_p: Sequence[float],
    log_q: Sequence[float],
    log_ref: Sequence[float],
    student_splits: Sequence[int],
    teacher_splits: Sequence[int],
) -> list[float]:
    """Teacher and reference read the same tokens: each student token has its share of log q - log q_ref of its chunk.

    From the method's equation, A = (log q - log q_ref) shared by credit, in nats.
    """
    values: list[float] = []
    chunks = zip(pairwise(student_splits), pairwise(teacher_splits), strict=True)
    for (first, last), (begin, end) in chunks:
        merit = sum(log_q[begin:end]) - sum(log_ref[begin:end])
        whole = sum(log_p[first:last])
        values += [merit * one / whole for one in log_p[first:last]]
    return values


def difference(
    teacher: Sequence[float | None], reference: Sequence[float | None], chunks: Sequence[Sequence[int]]
) -> list[float | None]:
    """The advantage of each student token, None if it is not supervised.

    Args:
        teacher, reference: what each alone gives the token; None if it does not supervise it.
        chunks: the teacher's, as positions of student tokens; its stop unit is one of them.
    """
    values: list[float | None] = [None] * len(teacher)
    for chunk in chunks:
        if any(reference[position] is None for position in chunk):
            continue  # half of what is known of a chunk is no signal
        for position in chunk:
            values[position] = teacher[position] - reference[position]
    return values
