"""What each objective that exists can use of a pair, and which of them a run would choose."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from crossdistill.inspection.choice import AUTO, ENOUGH_ONE_TO_ONE, NUM_TOP
from crossdistill.inspection.measure import Measure
from crossdistill.inspection.overlap import Overlap
from crossdistill.objectives import available, get
from crossdistill.signal import Signal

_TEACHERS = {
    Signal.SAMPLED: "needs the teacher's log-probability of the sampled bytes alone, which every teacher gives",
    Signal.TOPK: "needs the teacher's most likely tokens at each position, as a server gives them",
    Signal.DENSE: "needs the teacher's whole distribution: a teacher in this process",
}


def _credit(total: Measure) -> str:
    return (
        f"learns from every chunk that both sides spell, {_percent(total.coverage)} of the bytes; "
        f"{_percent(total.shared_credit_share)} of the student's tokens share their chunk's signal with others"
    )


def _chunk_probabilities(total: Measure) -> str:
    return (
        f"compares one probability a chunk, {_percent(total.coverage)} of the bytes in {total.num_chunks:,} chunks "
        "(debias = false needs the sampled bytes alone)"
    )


def _one_to_one(total: Measure) -> str:
    return (
        f"learns from 1:1 chunks alone, {_percent(total.one_to_one_share)} of the student's tokens, and compares the "
        "shared entries there (with top_k the teacher's most likely ones suffice)"
    )


def _shared_entries(total: Measure) -> str:
    return f"compares the shared entries, at the starts of {total.num_chunks:,} chunks"


def _units(total: Measure) -> str:
    several = total.num_chunks - total.chunks[1, 1]
    return f"{_shared_entries(total)}; {several:,} of these, not 1:1, are candidates of their own"


def _mapped(total: Measure) -> str:
    return f"maps tokens to shared entries, and to ones of similar spelling (a guess), in {total.num_chunks:,} chunks"


def _by_name_and_rank(total: Measure) -> str:
    return f"compares the shared entries by name and the other entries by rank, in {total.num_chunks:,} chunks"


def _ranks(total: Measure) -> str:
    return f"compares sorted probabilities at {total.num_chunks:,} chunks: no entry need be shared, none is recognised"


def _one_vocabulary(total: Measure) -> str:
    return "is for two models of one vocabulary alone"


def _byte_prefixes(total: Measure) -> str:
    return f"compares all of the teacher's mass at every student token, {_percent(total.coverage)} of the bytes"


def _next_bytes(total: Measure) -> str:
    return f"compares the next byte, {_percent(total.coverage)} of the bytes: no entry need be shared"


USES: Mapping[str, Callable[[Measure], str]] = {
    "alm": _chunk_probabilities,
    "bld": _next_bytes,
    "bpm": _byte_prefixes,
    "cdm": _mapped,
    "dpca": _credit,
    "gkd": _one_vocabulary,
    "gold": _by_name_and_rank,
    "multilevel_ot": _ranks,
    "shared_vocab": _shared_entries,
    "simct": _units,
    "strict": _one_to_one,
    "uld": _ranks,
}
"""What each objective can use of a pair, in words that follow its name."""


@dataclass(frozen=True)
class Advice:
    """An objective by name, the signal that it needs, and what that means for this pair."""

    objective: str
    signal: str
    reason: str


def advice(total: Measure) -> list[Advice]:
    """Every objective that exists, with what it can use of this pair."""
    signals = {name: get(name).signal for name in available()}
    return [Advice(name, signal.value, f"{USES[name](total)}; {_TEACHERS[signal]}") for name, signal in signals.items()]


def general_advice(total: Measure, shared: Overlap) -> str:
    """What the methods that compare shared entries would see, and what a run would choose by itself."""
    seen = (
        f"Both vocabularies have {shared.shared:,} of the student's {shared.student_entries:,} entries."
        if shared.shared
        else "The vocabularies share no entry, so objectives that compare shared ones are refused."
    )
    dense, some, sampled = choices(total, shared)
    return (
        f'{seen} objective = "{AUTO}" would take {dense} with a teacher in this process, {some} with one that names '
        f"its most likely tokens, and {sampled} with one that scores the sampled bytes alone."
    )


def choices(total: Measure, shared: Overlap) -> tuple[str, str, str]:
    """What :func:`crossdistill.inspection.choice.choose` takes on the student's own samples, in words: for a teacher
    that gives whole distributions, for one that gives its most likely tokens, for one that scores samples.
    """
    enough = shared.shared > 0 and total.one_to_one_share >= ENOUGH_ONE_TO_ONE
    dense, some = ("strict", f"strict (top_k = {NUM_TOP})") if enough else ("bpm", "dpca")
    same = shared.shared == shared.student_entries == shared.teacher_entries
    return f"gkd (if equal ids are equal entries; else {dense})" if same else dense, some, "dpca"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
