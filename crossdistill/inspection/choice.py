"""The objective that suits a pair, given what its teacher provides and what its tokenizers have in common."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from crossdistill.inspection.measure import Measure
from crossdistill.inspection.overlap import Overlap
from crossdistill.objectives import VocabPair, get
from crossdistill.signal import Signal

AUTO = "auto"
"""The name with which a run file asks for the choice."""
ENOUGH_ONE_TO_ONE = 0.5
"""The smallest share of the student's tokens in 1:1 chunks at which a method that learns from these alone is chosen."""
NUM_TOP = 128
"""Number of most probable tokens to ask of a teacher that gives some; the student pays nothing for probability on the
others."""
FEWEST_TOP = 2
"""Fewer tokens make no distribution."""


@dataclass(frozen=True)
class Choice:
    """An objective and why it was chosen.

    Attributes:
        objective: its name.
        reason: why it was chosen, in words.
        options: its options.
    """

    objective: str
    reason: str
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        options = ", ".join(f"{name} = {value}" for name, value in self.options.items())
        return f"{self.objective} ({options})" if options else self.objective


def choose(
    signal: Signal, max_top_k: int | None, pair: VocabPair, measure: Callable[[], Measure], any_text: bool = False
) -> Choice:
    """Choose the objective for a pair.

    Args:
        signal: the most that the teacher gives.
        max_top_k: tokens a position that it gives if its signal is TOPK; None if there is no limit.
        pair: both vocabularies.
        measure: measures the pair on the shipped corpus; called only if that decides.
        any_text: whether the objective must also hold on text that the student did not sample.
    """

    def one_to_one_share() -> float:
        return measure().one_to_one_share if pair.num_shared else 0.0

    return _preferred(signal, max_top_k, lambda: _is_one_vocabulary(pair), one_to_one_share, any_text)


def choices(total: Measure, shared: Overlap) -> tuple[str, str, str]:
    """The choices of :func:`choose` for the student's own samples, in words.

    Returns:
        The objective and its options, for a teacher that gives whole distributions, for one that gives its most likely
        tokens, and for one that scores samples alone.
    """
    share = total.one_to_one_share if shared.shared else 0.0

    def choice(signal: Signal, one_vocabulary: bool = False) -> Choice:
        return _preferred(signal, None, lambda: one_vocabulary, lambda: share, any_text=False)

    dense = str(choice(Signal.DENSE))
    if shared.shared == shared.student_entries == shared.teacher_entries:
        dense = f"{choice(Signal.DENSE, one_vocabulary=True)} (if equal ids are equal entries; else {dense})"
    return dense, str(choice(Signal.TOPK)), str(choice(Signal.SAMPLED))


def _is_one_vocabulary(pair: VocabPair) -> bool:
    """Whether every id means the same on both sides, including the end of a response if that is taught."""
    stops = set(pair.student_stops), set(pair.teacher_stops)
    return pair.student.pieces == pair.teacher.pieces and (not all(stops) or not stops[0].isdisjoint(stops[1]))


def _preferred(
    signal: Signal,
    max_top_k: int | None,
    is_one_vocabulary: Callable[[], bool],
    one_to_one_share: Callable[[], float],
    any_text: bool,
) -> Choice:
    """The first of the candidates, best first, that the teacher can serve and the pair suits."""

    def can_serve(name: str, **options: Any) -> bool:
        needed = get(name, **options)
        return signal.covers(needed.signal) and not (any_text and needed.on_policy_only)

    if can_serve("gkd") and is_one_vocabulary():
        return Choice("gkd", "both models have one vocabulary, so that their whole distributions can be compared")
    top_k = NUM_TOP if max_top_k is None else min(NUM_TOP, max_top_k)
    gives_all = can_serve("strict")
    if gives_all or (top_k >= FEWEST_TOP and can_serve("strict", top_k=top_k)):
        share = one_to_one_share()
        if share >= ENOUGH_ONE_TO_ONE:
            return _strict({} if gives_all else {"top_k": top_k}, share)
        if can_serve("bpm"):
            return Choice(
                "bpm",
                f"the teacher gives whole distributions and only {share:.0%} of the student's tokens lie in 1:1 "
                "chunks: its mass is carried over to the student's tokens by their bytes, so that every token is "
                "supervised",
            )
    if can_serve("dpca"):
        return Choice(
            "dpca",
            "it needs the probability of the sampled bytes alone, and every chunk that both models spell is supervised",
        )
    why = "it compares the probabilities of whole chunks, which holds on any text"
    return Choice("alm", why, {"debias": False})  # debiasing needs whole distributions


def _strict(options: dict[str, Any], share: float) -> Choice:
    given = "names its most probable tokens" if options else "gives whole distributions"
    return Choice(
        "strict",
        f"the teacher {given} and {share:.0%} of the student's tokens lie in 1:1 chunks, where both models' "
        "distributions over shared tokens are compared as they are; a comparison of three pairs found that ahead of "
        "methods that also use other chunks",
        options,
    )
