"""Which of the objectives that exist suit a pair, and why."""

from dataclasses import dataclass

from crossdistill.inspection.measure import Measure
from crossdistill.inspection.overlap import Overlap
from crossdistill.objectives import Signal, available, get

_TEACHERS = {
    Signal.SAMPLED: "needs the teacher's log-probability of the sampled bytes alone, which every teacher gives",
    Signal.TOPK: "needs the teacher's most likely tokens at each position, as a server gives them",
    Signal.DENSE: "needs the teacher's whole distribution: a teacher in this process",
}


@dataclass(frozen=True)
class Advice:
    """An objective by name, the signal that it needs, and what that means for this pair."""

    objective: str
    signal: str
    reason: str


def advice(total: Measure) -> list[Advice]:
    """Every objective that exists, with what it can use of this pair."""
    usable = (
        f"it learns from every chunk that both sides spell: {_percent(total.coverage)} of the bytes; "
        f"{_percent(total.shared_credit_share)} of the student's tokens share their chunk's signal with others"
    )
    signals = {name: get(name).signal for name in available()}
    return [Advice(name, signal.value, f"{_TEACHERS[signal]}; {usable}") for name, signal in signals.items()]


def general_advice(total: Measure, shared: Overlap) -> str:
    """What other ways to distil could use of this pair."""
    return (
        f"A method that learns from 1:1 chunks alone would use {_percent(total.one_to_one_share)} of the student's "
        "tokens here. One that compares whole distributions over the entries that both vocabularies have would see "
        f"{shared.shared:,} of the student's {shared.student_entries:,} entries, and needs a teacher in this process."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
