"""Who wins against whom on a pair: beyond the noise floor, and by a paired test over seeds and problems."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal

from crossdistill.arena.standing import Standing
from crossdistill.eval.comparison.crossed import CrossedDifference, crossed_difference
from crossdistill.eval.comparison.significance import SIGNIFICANCE, holm

Ruling = Literal["win", "tie", "loss", "not run", "failed", "no test"]
_WITHOUT: tuple[Ruling, ...] = ("not run", "failed", "no test")
"""Why there is no verdict, what can still be run first."""
_DIGITS = 12  # beyond them two shares differ by rounding alone


@dataclass(frozen=True)
class Verdict:
    """One method against another on a pair.

    Attributes:
        pair: its name.
        first, second: methods or controls.
        ruling: the first's. "not run", "failed" and "no test" say that there is no verdict, since runs are missing, or
            failed or diverged, or since all were run with one seed or on one problem.
        reason: why there is no verdict; None if there is one.
        difference: first minus second; None without a verdict.
        floor: the noise floor, likewise.
        corrected: the difference's p-value after Holm's correction over the pair's comparisons, likewise.
    """

    pair: str
    first: str
    second: str
    ruling: Ruling
    reason: str | None = None
    difference: CrossedDifference | None = None
    floor: float | None = None
    corrected: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """An entry of ``verdicts`` in ``arena.json``."""
        return {
            "pair": self.pair,
            "first": self.first,
            "second": self.second,
            "verdict": self.ruling,
            "reason": self.reason,
            "difference": None if self.difference is None else self.difference.as_dict(),
            "noise_floor": self.floor,
            "corrected_p_value": self.corrected,
        }


def noise_floor(standing: Standing) -> float | None:
    """The range of a method's accuracy over its seeds; None unless all of two or more are done."""
    if standing.status != "done" or len(standing.accuracies) < 2:
        return None
    return round(max(standing.accuracies) - min(standing.accuracies), _DIGITS)


def verdicts_of(
    standings: Sequence[Standing], reference: str, asked: Sequence[tuple[str, str]] | None = None
) -> list[Verdict]:
    """The verdicts between every two methods and controls that are run on a pair, or between those that are asked for.

    A win needs both: a difference of means beyond the noise floor, which is the range of the reference method over its
    seeds, and p < 0.05 by :func:`crossdistill.eval.comparison.crossed.crossed_difference`, after Holm's correction over
    all of these comparisons that can be made. The loss is its mirror, and all else is a tie.

    Args:
        standings: of one pair.
        reference: name of the method among them whose range over the seeds is the noise floor.
        asked: names of two each, which were settled before the runs; None for every two.

    Returns:
        One for each two, in the order of the standings, or as asked; with fewer than two there are none. What is asked
        of a method that the pair does not have is left out.
    """
    entered = [standing for standing in standings if standing.lacking is None]
    measure = next(standing for standing in entered if standing.method == reference)
    floor = noise_floor(measure)
    by_name = {standing.method: standing for standing in entered}
    wanted = combinations(by_name, 2) if asked is None else [two for two in asked if {*two} <= {*by_name}]
    compared = [_compared(by_name[first], by_name[second], measure, floor) for first, second in wanted]
    corrected = iter(holm([verdict.difference.p_value for verdict in compared if verdict.difference is not None]))
    return [verdict if verdict.difference is None else _ruled(verdict, next(corrected)) for verdict in compared]


def _compared(first: Standing, second: Standing, reference: Standing, floor: float | None) -> Verdict:
    """The comparison before its p-value is corrected, ruled a tie; or the reason why there is none."""
    verdict = Verdict(first.pair, first.method, second.method, "tie")
    hindrances = list(_hindrances([first, second, reference]))
    if hindrances:
        ruling = next(kind for kind in _WITHOUT if kind in dict(hindrances))
        reasons = dict.fromkeys(reason for kind, reason in hindrances if kind == ruling)
        return replace(verdict, ruling=ruling, reason="; ".join(reasons))
    return replace(verdict, difference=crossed_difference(first.shares, second.shares), floor=floor)


def _hindrances(standings: Sequence[Standing]) -> Iterator[tuple[Ruling, str]]:
    for standing in standings:
        if standing.status in ("failed", "diverged"):
            yield "failed", f"{standing.method}: {standing.reason}"
        elif standing.status != "done":
            yield "not run", f"{standing.method}: {standing.reason}"
        elif len(standing.shares) < 2:
            yield "no test", "one seed does not tell how much seeds vary"
        elif standing.shares.shape[1] < 2:
            yield "no test", "one test problem does not tell how much problems vary"


def _ruled(verdict: Verdict, p_value: float) -> Verdict:
    assert verdict.difference is not None
    assert verdict.floor is not None
    gain = round(verdict.difference.mean, _DIGITS)
    is_clear = abs(gain) > verdict.floor and p_value < SIGNIFICANCE
    ruling: Ruling = "tie" if not is_clear else "win" if gain > 0 else "loss"
    return replace(verdict, ruling=ruling, corrected=p_value)
