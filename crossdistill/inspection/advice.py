"""Advice on a pair: how much of it each objective can use, and which one a run would choose."""

from collections.abc import Iterable
from dataclasses import dataclass

from crossdistill.inspection.choice import AUTO, choices
from crossdistill.inspection.measure import Measure
from crossdistill.inspection.overlap import Overlap
from crossdistill.objectives import Objective, available, get
from crossdistill.signal import Signal

_TEACHERS = {
    Signal.SAMPLED: "needs the teacher's log-probability of the sampled bytes alone, which every teacher gives",
    Signal.TOPK: "needs the teacher's most likely tokens at each position, as a server gives them",
    Signal.DENSE: "needs the teacher's whole distribution: a teacher in this process",
}


@dataclass(frozen=True)
class Advice:
    """An objective and how much of a pair it can use.

    Attributes:
        objective: its name.
        signal: the signal that it needs from the teacher ("sampled", "topk" or "dense").
        reason: how much of the pair it can use, and which teachers can serve it.
    """

    objective: str
    signal: str
    reason: str


def advice(total: Measure, objectives: Iterable[Objective] | None = None) -> list[Advice]:
    """Describe how much of a pair each objective can use.

    Args:
        total: the counts of the pair on a corpus.
        objectives: those to describe, your own among them; by default all that come with the package, with their
            default options.

    Example:
        >>> [line] = advice(Measure(bytes=10, supervised_bytes=9), [get("bld")])
        >>> line.reason
        "compares the next byte, 90.0 % of the bytes: no entry need be shared; needs the teacher's whole distribution: \
a teacher in this process"
    """
    return [
        Advice(objective.name, objective.signal.value, f"{objective.describe(total)}; {_TEACHERS[objective.signal]}")
        for objective in (map(get, available()) if objectives is None else objectives)
    ]


def general_advice(total: Measure, shared: Overlap) -> str:
    """How much methods that compare shared entries would see, and what ``objective = "auto"`` would choose."""
    seen = (
        f"Both vocabularies have {shared.shared:,} of the student's {shared.student_entries:,} entries."
        if shared.shared
        else "The vocabularies share no entry, so objectives that compare shared ones are refused."
    )
    dense, less = choices(total, shared)
    return (
        f'{seen} objective = "{AUTO}" would take {dense} with a teacher in this process, and {less} with one that '
        "gives less than whole distributions, such as a server."
    )
