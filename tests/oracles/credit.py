"""The slow obvious twin of :func:`crossdistill.credit.assign_credit`: Python floats, chunk by chunk.

Written in the form of the paper (Eq. 8 and 9): the target of a token is log q^_i = (L_T / L_S) log p_i, and its
advantage log q^_i - log p_i.
"""

from collections.abc import Sequence

EPSILON_NATS = 1e-6


def credit(
    student: Sequence[float],
    teacher: Sequence[float],
    student_splits: Sequence[int],
    teacher_splits: Sequence[int],
    method: str,
) -> list[float]:
    """One advantage per student token, in nats."""
    advantages: list[float] = []
    for chunk in range(len(student_splits) - 1):
        log_p = [float(value) for value in student[student_splits[chunk] : student_splits[chunk + 1]]]
        log_q = [float(value) for value in teacher[teacher_splits[chunk] : teacher_splits[chunk + 1]]]
        advantages += _chunk(log_p, log_q, method)
    return advantages


def _chunk(log_p: list[float], log_q: list[float], method: str) -> list[float]:
    student_sum, teacher_sum = sum(log_p), sum(log_q)
    gap = teacher_sum - student_sum
    if method == "semantic_prior" and abs(student_sum) >= EPSILON_NATS:
        targets = [teacher_sum / student_sum * value for value in log_p]
        return [target - value for target, value in zip(targets, log_p, strict=True)]
    if method in ("semantic_prior", "uniform"):
        return [gap / len(log_p) for _ in log_p]
    chosen = {"first": 0, "last": len(log_p) - 1}[method]
    return [gap if index == chosen else 0.0 for index in range(len(log_p))]
