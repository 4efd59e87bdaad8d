"""A row of the arena's results: a method or control on a pair, over its seeds."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from crossdistill.arena.curve import mean_curve, mean_of
from crossdistill.arena.file import ArenaFile
from crossdistill.arena.models import Models
from crossdistill.arena.outcome import Outcome
from crossdistill.arena.reaching import reached_by, steps_of
from crossdistill.arena.standing import Standing
from crossdistill.eval.comparison.crossed import crossed_difference
from crossdistill.eval.comparison.difference import paired_difference
from crossdistill.eval.comparison.recovery import gap_recovery
from crossdistill.eval.interval import mean_interval


def _of_test(name: str) -> Callable[[Outcome], float | None]:
    return lambda outcome: None if outcome.test is None else getattr(outcome.test, name)


SIDE_EFFECTS: dict[str, Callable[[Outcome], float | None]] = {
    **{name: _of_test(name) for name in ("mean_tokens", "truncated", "parsed")},
    "entropy": lambda outcome: outcome.entropy,
    "bits_per_byte": lambda outcome: outcome.bits_per_byte,
}
"""What training does beside the accuracy -> its value of a run or model; None if it is not known."""
_COSTS = ("student_tokens", "responses", "flops", "seconds")


def row_of(arena: ArenaFile, standing: Standing, models: Models, command: str) -> dict[str, Any]:
    """The row of ``arena.json`` of a method or control on a pair.

    Means and intervals are over the seeds that are done. What cannot be said is None: everything of a row without a
    seed, the interval of one seed, the gain without the start, the gap recovery without headroom.

    Args:
        arena: the file.
        standing: of the method on the pair.
        models: the start and the teacher of the pair.
        command: that runs what is missing.
    """
    done = standing.done
    accuracy = mean_interval(standing.accuracies).as_dict() if done else {"mean": None, "ci": None}
    table = arena.methods.get(standing.method)
    return {
        "objective": (table and table.objective) or standing.method,
        "method": standing.method,
        "kind": standing.kind,
        "pair": standing.pair,
        "task": arena.pairs[standing.pair].task,
        "status": standing.status,
        "reason": standing.reason,
        "command": None if standing.status == "done" or standing.lacking else command,
        "rate": standing.rate,
        "edge": _edge(arena.rates, standing.rate),
        "seeds": list(standing.answers),
        "num_seeds": len(standing.runs),
        "mean": accuracy["mean"],
        "interval": accuracy["ci"],
        "gain": _gain(standing, models),
        "gap_recovery": _recovery(standing, models),
        **{cost: mean_of([getattr(outcome, cost) for outcome in done]) for cost in _COSTS},
        "seconds_per_step": mean_of([_seconds_per_step(outcome) for outcome in done]),
        "reach": None if arena.reach is None else reached_by(done, arena.reach),
        "side_effects": {name: _side_effect(value, done, models.start) for name, value in SIDE_EFFECTS.items()},
        "curve": mean_curve(done),
        "runs": [_run(seed, outcome) for seed, outcome in standing.runs.items()],
        "tuning": [_tuning_run(rate, outcome) for rate, outcome in standing.tuning.items()],
    }


def _edge(rates: Sequence[float], rate: float | None) -> str | None:
    """Where a chosen rate lies in the grid, if a better one may lie outside."""
    if rate is None or rate not in (rates[0], rates[-1]):
        return None
    return "only" if len(rates) == 1 else "lowest" if rate == rates[0] else "highest"


def _gain(standing: Standing, models: Models) -> dict[str, Any] | None:
    start = models.start_shares
    if start is None or not standing.done:
        return None
    if len(standing.shares) < 2 or len(start) < 2:  # of one seed the interval is over problems alone
        return paired_difference(standing.shares.mean(axis=0), start).as_dict()
    return crossed_difference(standing.shares, start + 0 * standing.shares).as_dict()


def _recovery(standing: Standing, models: Models) -> dict[str, Any] | None:
    start, teacher = models.start_shares, models.teacher_shares
    if not models.has_headroom or start is None or teacher is None or not standing.done:
        return None
    return gap_recovery(standing.shares.mean(axis=0), start, teacher).as_dict()


def _seconds_per_step(outcome: Outcome) -> float | None:
    steps = steps_of(outcome)
    return None if steps is None else outcome.seconds / steps


def _side_effect(
    value: Callable[[Outcome], float | None], done: Sequence[Outcome], start: Outcome | None
) -> dict[str, Any] | None:
    """Its mean over seeds and the start's value; None if no run knows it."""
    known = [found for outcome in done if (found := value(outcome)) is not None]
    if not known:
        return None
    return {**mean_interval(known).as_dict(), "start": None if start is None else value(start)}


def _run(seed: int, outcome: Outcome | None) -> dict[str, Any]:
    if outcome is None:
        return {"seed": seed, "status": "missing"}
    test = outcome.test
    return {
        "seed": seed,
        **_end(outcome),
        "accuracy": None if test is None else test.mean,
        "correct": None if test is None else test.correct,
        **{cost: getattr(outcome, cost) for cost in _COSTS},
        **{name: value(outcome) for name, value in SIDE_EFFECTS.items()},
        "gap": outcome.gap,
    }


def _tuning_run(rate: float, outcome: Outcome | None) -> dict[str, Any]:
    return {"rate": rate, **({"status": "missing"} if outcome is None else _end(outcome))}


def _end(outcome: Outcome) -> Mapping[str, Any]:
    """What a run has come to, on validation problems."""
    validation = outcome.validation
    return {
        "cell": outcome.cell.id,
        "status": outcome.status,
        "reason": outcome.reason,
        "validation": None if validation is None else {"mean": validation.mean, "ci": list(validation.ci)},
        "curve": outcome.curve,
        "loss": outcome.loss,
    }
