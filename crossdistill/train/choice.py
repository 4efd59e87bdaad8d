"""The objective of a run: the one that its configuration names, or one that suits its pair."""

import logging
from typing import Any, cast

from crossdistill.inspection.choice import AUTO, Choice, choose
from crossdistill.inspection.measure import Measure, read_documents
from crossdistill.objectives import VocabPair
from crossdistill.teachers import Teacher
from crossdistill.train.config import CrossTokenizerConfig

_LOGGER = logging.getLogger("crossdistill")


def choice_for(args: CrossTokenizerConfig, pair: VocabPair, teacher: Teacher) -> Choice:
    """What the configuration names, or asks to have chosen for `pair`."""
    if args.objective != AUTO:
        return Choice(args.objective, "named in the configuration", cast(dict[str, Any], args.objective_options or {}))
    any_text = args.on_policy_share < 1
    measure = lambda: Measure.of(read_documents(pair.student, pair.teacher))  # noqa: E731
    found = choose(teacher.signal, teacher.max_top_k, pair, measure, any_text)
    _LOGGER.info("objective %s: %s", found.objective, found.reason)
    return found
