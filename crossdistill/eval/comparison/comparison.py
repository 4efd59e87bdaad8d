"""Models compared on one task: each with its interval, against the baseline, and on the way to the teacher."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from crossdistill.eval.comparison.contender import Contender
from crossdistill.eval.comparison.difference import Difference, paired_difference
from crossdistill.eval.comparison.reach import Point, Reached, costs_to_reach
from crossdistill.eval.comparison.recovery import gap_recovery, has_headroom
from crossdistill.eval.comparison.significance import SIGNIFICANCE, holm
from crossdistill.eval.interval import Estimate
from crossdistill.eval.scores import share_interval


@dataclass(frozen=True)
class Row:
    """A contender against the baseline.

    Attributes:
        name: of the contender.
        accuracy: over problems.
        means: the accuracy of each run, if several seeds are grouped; else of the one.
        difference: to the baseline; None for the baseline itself.
        corrected: the p-value of `difference` after Holm's correction over the rows of the task.
        verdict: "better", "worse" or "tie"; None for the baseline.
        recovery: of the gap to the teacher; None without a teacher or headroom, and for the teacher and the start.
        reached: the cost to reach each accuracy asked for; empty without a curve.
        curve: accuracy in training; empty without one.
    """

    name: str
    accuracy: Estimate
    means: list[float]
    difference: Difference | None
    corrected: float | None
    verdict: str | None
    recovery: Estimate | None
    reached: list[Reached]
    curve: list[Point]


@dataclass(frozen=True)
class Comparison:
    """A comparison on one task.

    Attributes:
        task: its name.
        num_problems: compared.
        k: samples of each problem.
        baseline: name of the row that the others are held against.
        teacher: name of the teacher's row, if one was named.
        headroom: teacher minus baseline; None without a teacher.
        rows: in the order in which the contenders were given.
    """

    task: str
    num_problems: int
    k: int
    baseline: str
    teacher: str | None
    headroom: Difference | None
    rows: list[Row]

    @property
    def has_headroom(self) -> bool:
        """Whether a teacher was named that is better than the baseline beyond interval and test."""
        return self.headroom is not None and has_headroom(self.headroom)

    def as_dict(self) -> dict[str, Any]:
        """JSON data."""
        return {
            "task": self.task,
            "num_problems": self.num_problems,
            "k": self.k,
            "baseline": self.baseline,
            "teacher": self.teacher,
            "headroom": None if self.headroom is None else self.headroom.as_dict(),
            "rows": [_row_as_dict(row) for row in self.rows],
        }


def compare(
    contenders: Sequence[Contender], baseline: str, teacher: str | None = None, reach: Sequence[float] = ()
) -> Comparison:
    """Compare models on one task.

    A row is better or worse than the baseline if both hold: the p-value of the paired test, corrected by Holm over the
    rows, is below 0.05, and the difference is beyond the noise floor, which is the range over the seeds of the baseline
    or of the row, whichever is larger. Else it is a tie.

    Args:
        contenders: at least two, on the same problems (:func:`crossdistill.eval.comparison.agreement.check_agreement`).
        baseline: name of the contender to hold the others against.
        teacher: name of the teacher among them.
        reach: accuracies whose cost is asked for.

    Example:
        >>> from crossdistill.eval.comparison.outcomes import Outcomes
        >>> def answers(name, right):
        ...     correct = {str(number): (number < right,) for number in range(40)}
        ...     return Contender(name, (Outcomes("sums", name, "digest", {"k": 1}, {}, correct),))
        >>> found = compare([answers("student", 10), answers("teacher", 30)], baseline="student")
        >>> found.rows[1].difference.mean, found.rows[1].verdict
        (0.5, 'better')
    """
    named = {contender.name: contender for contender in contenders}
    reference = named[baseline]
    rows = [_row(contender, reference, named.get(teacher or ""), reach) for contender in contenders]
    first = reference.runs[0]
    gap = None
    if teacher is not None and teacher != baseline:
        gap = paired_difference(named[teacher].averages, reference.averages)
    return Comparison(first.task, len(first.correct), first.k, baseline, teacher, gap, _judged(rows, named, reference))


def _row(contender: Contender, baseline: Contender, teacher: Contender | None, reach: Sequence[float]) -> Row:
    averages = contender.averages
    difference = None if contender is baseline else paired_difference(averages, baseline.averages)
    return Row(
        name=contender.name,
        accuracy=share_interval(averages.tolist()),
        means=contender.means,
        difference=difference,
        corrected=None,
        verdict=None,
        recovery=None if teacher is None else _recovery(contender, baseline, teacher),
        reached=[costs_to_reach(contender.curves, accuracy) for accuracy in reach] if contender.curves else [],
        curve=contender.mean_curve,
    )


def _recovery(contender: Contender, baseline: Contender, teacher: Contender) -> Estimate | None:
    start = baseline.averages if contender.start is None else contender.start.averages
    has_no_way_to_go = contender is teacher or contender is baseline or contender.is_start
    if has_no_way_to_go or not has_headroom(paired_difference(teacher.averages, start)):
        return None
    return gap_recovery(contender.averages, start, teacher.averages)


def _judged(rows: Sequence[Row], named: dict[str, Contender], baseline: Contender) -> list[Row]:
    corrected = iter(holm([row.difference.p_value for row in rows if row.difference is not None]))
    return [
        row if row.difference is None else _with_verdict(row, next(corrected), named[row.name], baseline)
        for row in rows
    ]


def _with_verdict(row: Row, p_value: float, contender: Contender, baseline: Contender) -> Row:
    assert row.difference is not None
    gain = row.difference.mean
    is_clear = p_value < SIGNIFICANCE and abs(gain) > max(contender.spread, baseline.spread)
    verdict = "tie" if not is_clear else "better" if gain > 0 else "worse"
    return replace(row, corrected=p_value, verdict=verdict)


def _row_as_dict(row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "accuracy": row.accuracy.as_dict(),
        "means": row.means,
        "difference": None if row.difference is None else row.difference.as_dict(),
        "corrected_p_value": row.corrected,
        "verdict": row.verdict,
        "gap_recovery": None if row.recovery is None else row.recovery.as_dict(),
        "reached": [vars(reached) for reached in row.reached],
        "curve": [{"accuracy": point.accuracy, "ci": point.ci, **point.costs} for point in row.curve],
    }
