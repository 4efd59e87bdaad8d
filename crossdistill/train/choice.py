"""The objective of a run: the one that its configuration names, or one that suits its pairs."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from crossdistill.inspection.choice import AUTO, Choice, choose
from crossdistill.inspection.measure import Measure, read_documents
from crossdistill.objectives import Signal, VocabPair
from crossdistill.teachers import Teacher
from crossdistill.train.config import CrossTokenizerConfig

_LOGGER = logging.getLogger("crossdistill")


def choice_for(args: CrossTokenizerConfig, teachers: Sequence[tuple[Teacher, VocabPair]]) -> Choice:
    """What the configuration names, or asks to have chosen for teachers, each with its and the student's vocabulary."""
    if args.objective != AUTO:
        return Choice(args.objective, "named in the configuration", cast(dict[str, Any], args.objective_options or {}))
    any_text = args.on_policy_share < 1
    found = [_choice(teacher, pair, any_text) for teacher, pair in teachers]
    alike = all((one.objective, one.options) == (found[0].objective, found[0].options) for one in found)
    chosen = found[0] if alike and not args.teacher_weights else _common(teachers[0][1], any_text)
    _LOGGER.info("objective %s: %s", chosen.objective, chosen.reason)
    return chosen


def _choice(teacher: Teacher, pair: VocabPair, any_text: bool) -> Choice:
    measure = lambda: Measure.of(read_documents(pair.student, pair.teacher))  # noqa: E731
    return choose(teacher.signal, teacher.max_top_k, pair, measure, any_text)


def _common(pair: VocabPair, any_text: bool) -> Choice:
    """What every teacher can give, whatever its tokenizer."""
    choice = choose(Signal.SAMPLED, None, pair, Measure, any_text)
    return replace(choice, reason=f"one for all teachers of the run: {choice.reason}")
