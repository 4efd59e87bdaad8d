"""The objective of a run: the one that is named, or the one that suits all its teachers."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from crossdistill.inspection.choice import AUTO, Choice, choose
from crossdistill.inspection.measure import Measure, read_documents
from crossdistill.objectives import VocabPair
from crossdistill.signal import Signal
from crossdistill.teachers import Teacher
from crossdistill.train.config import CrossTokenizerConfig

_LOGGER = logging.getLogger("crossdistill")


def choice_for(
    args: CrossTokenizerConfig, teachers: Sequence[tuple[Teacher, VocabPair]], mixes: bool = False
) -> Choice:
    """The objective that the configuration names, or the one that suits all teachers if it says "auto".

    Args:
        args: the trainer's configuration.
        teachers: each with its and the student's vocabulary.
        mixes: whether advantages of several sources are put together, so that the loss must read nothing else.
    """
    if args.objective != AUTO:
        reason = "the default" if args.objective == CrossTokenizerConfig.objective else "named in the configuration"
        return Choice(args.objective, reason, cast(dict[str, Any], args.objective_options or {}))
    any_text = args.on_policy_share < 1
    found = [_choice(teacher, pair, any_text) for teacher, pair in teachers]
    agree = all((one.objective, one.options) == (found[0].objective, found[0].options) for one in found)
    chosen = found[0] if agree and not mixes else _common_choice(teachers[0][1], any_text)
    _LOGGER.info("objective %s: %s", chosen.objective, chosen.reason)
    return chosen


def _choice(teacher: Teacher, pair: VocabPair, any_text: bool) -> Choice:
    def measure() -> Measure:
        return Measure.of(read_documents(pair.student, pair.teacher))

    return choose(teacher.signal, pair, measure, any_text)


def _common_choice(pair: VocabPair, any_text: bool) -> Choice:
    """An objective that needs no more than any teacher gives, whatever its tokenizer."""
    choice = choose(Signal.SAMPLED, pair, Measure, any_text)
    return replace(choice, reason=f"one for all teachers of the run: {choice.reason}")
