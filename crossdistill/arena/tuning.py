"""The learning rate that a method is compared at: chosen on validation problems, and then frozen."""

from collections.abc import Iterable

from crossdistill.arena.outcome import Outcome


def chosen_rate(outcomes: Iterable[Outcome]) -> float | None:
    """The rate whose run has the highest validation accuracy at its end.

    Of equal accuracies the lower rate is taken: it is further from the rates at which training collapses. A run that
    diverged or failed has no end, so its rate is never chosen.

    Args:
        outcomes: of the tuning runs of one method on one pair, in any order. Runs of another stage are left out.

    Returns:
        The rate; None if no run is done, so the method has no rate that it could be compared at.

    Example:
        >>> from crossdistill.arena.cell import Cell
        >>> from crossdistill.arena.outcome import Answers
        >>> def run(rate, mean):
        ...     answers = Answers(mean, (0.0, 1.0), "0101", 1, "digest", 1.0, 0.0, 5.0)
        ...     return Outcome(Cell("sums", "dpca", "tune", rate, 100), "rules", "done", validation=answers)
        >>> chosen_rate([run(1e-3, 0.5), run(3e-4, 0.75), run(1e-4, 0.75)])
        0.0001
        >>> chosen_rate([]) is None
        True
    """
    tried = {
        outcome.cell.rate: outcome.validation.mean
        for outcome in outcomes
        if outcome.cell.stage == "tune" and outcome.status == "done" and outcome.validation is not None
    }
    rates = sorted(rate for rate in tried if rate is not None)
    return max(rates, key=lambda rate: tried[rate], default=None)  # the first of equals is the lowest
