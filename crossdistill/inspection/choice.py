"""The objective that suits a pair, given what its teacher provides and what its tokenizers have in common."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from crossdistill.inspection.measure import Measure
from crossdistill.inspection.overlap import Overlap
from crossdistill.objectives import VocabPair
from crossdistill.signal import Signal

AUTO = "auto"
"""The name with which a run file asks for the choice."""


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


def choose(signal: Signal, pair: VocabPair, measure: Callable[[], Measure], any_text: bool = False) -> Choice:
    """Choose the objective for a pair.

    Args:
        signal: the most that the teacher gives.
        pair: both vocabularies.
        measure: measures the pair on the shipped corpus; called only if that decides.
        any_text: whether the objective must also hold on text that the student did not sample.
    """
    return _preferred(signal, lambda: _is_one_vocabulary(pair), lambda: measure().spanning_share, any_text)


def choices(total: Measure, shared: Overlap) -> tuple[str, str]:
    """The choices of :func:`choose` for the student's own samples, in words.

    Returns:
        The objective and its options, for a teacher that gives whole distributions, and for one that gives less.
    """

    def choice(signal: Signal, one_vocabulary: bool = False) -> Choice:
        return _preferred(signal, lambda: one_vocabulary, lambda: total.spanning_share, any_text=False)

    dense = str(choice(Signal.DENSE))
    if shared.shared == shared.student_entries == shared.teacher_entries:
        dense = f"{choice(Signal.DENSE, one_vocabulary=True)} (if equal ids are equal entries; else {dense})"
    return dense, str(choice(Signal.SAMPLED))


def _is_one_vocabulary(pair: VocabPair) -> bool:
    """Whether every id means the same on both sides, including the end of a response if that is taught."""
    stops = set(pair.student_stops), set(pair.teacher_stops)
    return pair.student.pieces == pair.teacher.pieces and (not all(stops) or not stops[0].isdisjoint(stops[1]))


def _preferred(
    signal: Signal, is_one_vocabulary: Callable[[], bool], spanning_share: Callable[[], float], any_text: bool
) -> Choice:
    """The first of the candidates, best first, that the teacher can serve and the pair suits."""
    is_dense = signal is Signal.DENSE
    if is_dense and is_one_vocabulary():
        return Choice("gkd", "both models have one vocabulary, so that their whole distributions can be compared")
    share = spanning_share() if is_dense else 1.0
    if share < 1:  # or no teacher token begins with a student token, and bpm has no target
        return Choice(
            "bpm",
            f"the teacher gives whole distributions; {share:.0%} of the student's tokens lie in chunks of several "
            "teacher tokens, where its target is a bound",
        )
    if not any_text:
        why = (
            "it needs the probability of the sampled bytes alone, and every chunk that both models spell is supervised"
        )
        return Choice("dpca", why)
    why = "it compares the probabilities of whole chunks, which holds on any text"
    return Choice("alm", why, {} if is_dense else {"debias": False})  # debiasing needs whole distributions
