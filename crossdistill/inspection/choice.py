"""Which objective suits a pair, by what its teacher can give and what its tokenizers have in common."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from crossdistill.inspection.measure import Measure
from crossdistill.objectives import VocabPair
from crossdistill.signal import Signal

AUTO = "auto"
"""The name under which a run file asks for the choice."""
ENOUGH_ONE_TO_ONE = 0.5
"""Share of the student's tokens in 1:1 chunks from which on a method that learns from these alone is taken."""
NUM_TOP = 128
"""Most probable tokens that are asked for of a teacher that names some: what it puts on others costs nothing."""
FEWEST_TOP = 2
"""Of fewer no distribution can be made."""


@dataclass(frozen=True)
class Choice:
    """An objective by name, its options, and why it was taken."""

    objective: str
    reason: str
    options: dict[str, Any] = field(default_factory=dict)


def choose(
    signal: Signal, max_top_k: int | None, pair: VocabPair, measure: Callable[[], Measure], any_text: bool = False
) -> Choice:
    """The objective for a pair.

    Args:
        signal: the most that the teacher gives. max_top_k: tokens a position where that is TOPK; None: any number.
        measure: of the shipped corpus; asked for where it decides.
        any_text: whether it must hold on text that the student did not sample, too.
    """
    if signal is Signal.SAMPLED:
        return _of_samples(any_text)
    if signal is Signal.DENSE and _is_one_vocabulary(pair):
        return Choice("gkd", "both models have one vocabulary, so that their whole distributions can be compared")
    if signal is Signal.TOPK and max_top_k is not None and max_top_k < FEWEST_TOP:
        return _of_samples(any_text)
    share = measure().one_to_one_share if pair.num_shared else 0.0
    if share >= ENOUGH_ONE_TO_ONE:
        return _strict(signal, max_top_k, share)
    if signal is Signal.DENSE:
        return Choice(
            "bpm",
            f"the teacher gives whole distributions and only {share:.0%} of the student's tokens lie in 1:1 chunks: "
            "its mass is carried over to the student's tokens by their bytes, so that every token is supervised",
        )
    return _of_samples(any_text)


def _is_one_vocabulary(pair: VocabPair) -> bool:
    """Whether every id means the same on both sides, the end of a response too, where it is taught."""
    stops = set(pair.student_stops), set(pair.teacher_stops)
    return pair.student.pieces == pair.teacher.pieces and (not all(stops) or not stops[0].isdisjoint(stops[1]))


def _strict(signal: Signal, max_top_k: int | None, share: float) -> Choice:
    why = (
        f"{share:.0%} of the student's tokens lie in 1:1 chunks, where both models' distributions over shared tokens "
        "are compared as they are; a comparison of three pairs found that ahead of methods that also use other chunks"
    )
    if signal is Signal.DENSE:
        return Choice("strict", f"the teacher gives whole distributions and {why}")
    num = NUM_TOP if max_top_k is None else min(NUM_TOP, max_top_k)
    return Choice("strict", f"the teacher names its most probable tokens and {why}", {"top_k": num})


def _of_samples(any_text: bool) -> Choice:
    if any_text:
        why = "it compares the probabilities of whole chunks, which holds on any text"
        return Choice("alm", why, {"debias": False})  # debiasing needs whole distributions
    return Choice(
        "dpca",
        "it needs the probability of the sampled bytes alone, and every chunk that both models spell is supervised",
    )
