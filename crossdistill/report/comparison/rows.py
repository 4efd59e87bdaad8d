"""The words and figures of a comparison, as the terminal and the page show them."""

import math
from dataclasses import dataclass

from crossdistill.eval.comparison.comparison import Comparison, Row
from crossdistill.eval.comparison.reach import COSTS, Reached
from crossdistill.eval.interval import Estimate
from crossdistill.report.format import MISSING, count, duration, percent, si, signed

COLUMNS = (
    *("run", "accuracy", "95 % interval"),
    *("difference", "95 % interval", "p", "verdict"),
    *("gap recovered", "95 % interval"),
)
"""Of the table; shares are in percent, differences in percentage points."""
NUM_RECOVERY_COLUMNS = 2
REACH_COLUMNS = ("run", "reached by", *COSTS.values())


@dataclass(frozen=True)
class ReachTable:
    """What it cost each run to reach an accuracy.

    Attributes:
        accuracy: in words.
        rows: cells by REACH_COLUMNS.
    """

    accuracy: str
    rows: list[tuple[str, ...]]


def cells(row: Row) -> tuple[str, ...]:
    """The cells of a row, by COLUMNS."""
    gain, way = row.difference, row.recovery
    return (
        row.name,
        share(row.accuracy.mean),
        _interval(row.accuracy),
        MISSING if gain is None else points(gain.mean),
        MISSING if gain is None else points_interval(gain),
        p_value(row.corrected),
        row.verdict or "baseline",
        MISSING if way is None else share(way.mean),
        MISSING if way is None else _interval(way),
    )


def share(value: float) -> str:
    """A share in percent, which may be negative or above 100, without the sign %.

    Example:
        >>> share(0.125), share(-0.02)
        ('12.5', '−2.0')
    """
    return points(value).removeprefix("+")


def points(value: float) -> str:
    """A difference of shares in percentage points, with its sign.

    Example:
        >>> points(0.125)
        '+12.5'
    """
    return signed(100 * value, 1)


def points_interval(gain: Estimate) -> str:
    """The interval of a difference, in percentage points."""
    return f"{points(gain.low)} to {points(gain.high)}"


def p_value(value: float | None) -> str:
    """A p-value to three decimals.

    Example:
        >>> p_value(0.0312), p_value(0.0001), p_value(None)
        ('0.031', '< 0.001', '–')
    """
    if value is None:
        return MISSING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def reach_tables(comparison: Comparison) -> list[ReachTable]:
    """One table for each accuracy that was asked for, with the rows that have a curve."""
    with_curve = [row for row in comparison.rows if row.reached]
    if not with_curve:
        return []
    by_accuracy = zip(*(row.reached for row in with_curve), strict=True)
    return [
        ReachTable(
            percent(reached[0].accuracy),
            [_reach_cells(row.name, entry) for row, entry in zip(with_curve, reached, strict=True)],
        )
        for reached in by_accuracy
    ]


def statements(comparison: Comparison) -> list[str]:
    """What was compared and how, and what holds for all rows, in sentences."""
    samples = "one sample" if comparison.k == 1 else f"{comparison.k} samples"
    said = [
        f"{comparison.num_problems:,} problems, {samples} of each. Differences are to {comparison.baseline}, paired by "
        f"problem, in percentage points, with intervals by the bootstrap over problems. {_test(comparison)}"
    ]
    seeds = [
        f"{row.name} {len(row.means)} ({percent(min(row.means))} to {percent(max(row.means))})"
        for row in _grouped(comparison)
    ]
    if seeds:
        said.append(
            f"Runs that differ in their seed alone are one row: {'; '.join(seeds)}. Intervals are over problems, for "
            "these seeds; a difference within the range of the seeds is a tie."
        )
    if comparison.headroom is not None:
        said.append(_headroom(comparison))
    return said


def verdict_class(row: Row) -> str:
    """CSS class of a verdict."""
    return {"better": "rise", "worse": "fall"}.get(row.verdict or "", "quiet")


def _test(comparison: Comparison) -> str:
    differences = [row.difference for row in comparison.rows if row.difference is not None]
    tests = " or ".join(dict.fromkeys(difference.test for difference in differences))
    corrected = f", corrected by Holm for {len(differences)} comparisons" if len(differences) > 1 else ""
    return f"p is of {tests}{corrected}; p < 0.05 or it is a tie."


def _headroom(comparison: Comparison) -> str:
    assert comparison.headroom is not None
    gap = comparison.headroom
    shown = f"{points(gap.mean)} points ({points_interval(gap)}; p {p_value(gap.p_value)})"
    if not comparison.has_headroom:
        return (
            f"There is no headroom: {comparison.teacher} minus {comparison.baseline} is {shown}, so there is no gap to "
            "recover. Take harder problems, more of them, or a better teacher."
        )
    return (
        f"The gap to {comparison.teacher} is {shown}; its recovered share is (run - start) / (teacher - start), with "
        "an interval by the joint bootstrap over problems."
    )


def _grouped(comparison: Comparison) -> list[Row]:
    return [row for row in comparison.rows if len(row.means) > 1]


def _interval(estimate: Estimate) -> str:
    ends = (share(end) if math.isfinite(end) else "unbounded" for end in (estimate.low, estimate.high))
    return " to ".join(ends)


def _reach_cells(name: str, reached: Reached) -> tuple[str, ...]:
    if reached.num_reached == 0:
        who = "not reached"
    else:
        who = "yes" if reached.num_runs == 1 else f"{reached.num_reached} of {reached.num_runs} runs"
    shown = {"step": count, "student_tokens": count, "flops": si, "seconds": duration}
    costs = reached.costs or {}
    return (name, who, *(shown[key](costs.get(key)) for key in COSTS))
