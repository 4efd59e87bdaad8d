"""Headroom: a teacher must be better than the start, or there is nothing to distil."""

from collections.abc import Mapping

import numpy as np

from crossdistill.arena.cell import START, TEACHER, Cell
from crossdistill.arena.file import ArenaFile
from crossdistill.arena.outcome import Answers, Outcome
from crossdistill.errors import InputError
from crossdistill.eval.comparison.difference import Difference, paired_difference
from crossdistill.eval.comparison.recovery import has_headroom


def headroom(start: Answers, teacher: Answers) -> Difference:
    """Teacher minus start, on the same problems."""
    return paired_difference(np.array(teacher.shares), np.array(start.shares))


def check_headroom(arena: ArenaFile, outcomes: Mapping[Cell, Outcome]) -> None:
    """Check every pair's headroom on validation problems, before money is spent.

    Args:
        arena: the file.
        outcomes: of the models as they are.

    Raises:
        InputError: a model could not be evaluated, or a pair has no headroom; all of them are named with their figures.
    """
    without = []
    for pair in arena.pairs:
        start, teacher = (_outcome(Cell(pair, model, "model"), outcomes) for model in (START, TEACHER))
        for outcome in (start, teacher):
            if outcome.status != "done":
                raise InputError(
                    f"{outcome.cell.id} could not be evaluated: {outcome.reason} Once that is mended, --retry runs it "
                    "again."
                )
        assert start.validation is not None and teacher.validation is not None
        found = headroom(start.validation, teacher.validation)
        if not has_headroom(found):
            without.append(
                f"{pair}: start {start.validation.mean:.1%}, teacher {teacher.validation.mean:.1%}, difference "
                f"{found.mean:+.1%} ({found.low:+.1%} to {found.high:+.1%}; p = {found.p_value:.2g})"
            )
    if without:
        raise InputError(
            f"there is no headroom on the validation problems of {'; '.join(without)}: take a better teacher, a weaker "
            "start, other problems, or more of them."
        )


def _outcome(cell: Cell, outcomes: Mapping[Cell, Outcome]) -> Outcome:
    if cell not in outcomes:
        raise InputError(
            f"{cell.id} was stopped by a signal, and nothing is trained before it has answered: run the same command."
        )
    return outcomes[cell]
