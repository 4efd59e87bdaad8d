"""Table 2 and figure 2: what SFT would take to reach as far as distillation, from the runs of the first pair."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from crossdistill.costs import Part
from crossdistill.errors import InputError
from crossdistill.eval.tasks import get
from crossdistill.flops import ModelFlops
from crossdistill.report.cost.comparison import CostReport, compare
from crossdistill.report.cost.spending import Method, Spending
from crossdistill.runs.evaluated import EVALUATION_FILE
from crossdistill.runs.forecast import without_weights
from crossdistill.runs.run_file import RUN_FILE
from crossdistill.runs.spending import read_spendings
from recipes.paper.cells import SFT, cells
from recipes.paper.settings import Settings

PAIR, METHODS = "llama", (SFT, "opd")
WRITTEN = (
    "SFT's further data counts as written by the teacher, as in the paper (section 5.3), though OpenThoughts gives the "
    "responses: as many tokens as the student reads in them"
)
PRICED = "the served teacher's FLOPs are those of its configuration, for its tokens and their mean length"


@dataclass(frozen=True)
class Compute:
    """The comparison of costs.

    Attributes:
        written: with SFT's further data written by the teacher, as the paper counts; None if the teacher's size is not
            known, or nothing was run.
        given: with responses that cost nothing; None if nothing was run.
        notes: what is missing.
    """

    written: CostReport | None = None
    given: CostReport | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def read(cls, settings: Settings) -> "Compute":
        """From the folders of the runs and their evaluations.

        Raises:
            InputError: a folder is damaged, or its evaluations are of other problems.
        """
        folders = list(_folders(settings))
        if not any((folder / RUN_FILE).exists() for folder in folders):
            return cls()
        runs, remarks = read_spendings(folders)
        task = get(settings.eval.figure).name
        if not any(run.measured(task) for run in runs):
            return cls(notes=(f"no run was evaluated on {task}",))
        try:
            teacher = ModelFlops.of(without_weights("teacher", settings.pairs[PAIR].teacher))
        except InputError as error:
            return cls(None, compare(runs, task, remarks), (f"the teacher's FLOPs are not known: {error}",))
        given = [_with_teacher(run, teacher) for run in runs]
        written = compare([_written(run, teacher) for run in given], task, remarks)
        return cls(written, compare(given, task, remarks))


def _folders(settings: Settings) -> Iterator[Path]:
    for cell in cells(settings):
        if cell.pair == PAIR and cell.method in METHODS and (cell.run / RUN_FILE).exists():
            yield cell.run
            yield from (one for one in (cell.evaluation, cell.of_checkpoint) if (one / EVALUATION_FILE).exists())


def _with_teacher(run: Spending, teacher: ModelFlops) -> Spending:
    """The FLOPs of a served teacher, whose size the run did not know."""
    part = Part.TEACHER_PREFILL
    if part not in run.unknown_parts:
        return run
    flops = teacher.forward(_lengths(run.tokens[part], run.data_points))
    return replace(run, flops={**run.flops, part: flops}, assumptions=(*run.assumptions, PRICED))


def _written(run: Spending, teacher: ModelFlops) -> Spending:
    """SFT on given responses, as if the teacher had written them."""
    part = Part.TEACHER_ROLLOUT
    if run.method is not Method.SFT or part in run.tokens:
        return run
    lengths = _lengths(run.tokens[Part.SFT_STEP] * run.num_examples // run.data_points, run.num_examples)
    tokens, flops = {**run.tokens, part: sum(lengths)}, {**run.flops, part: teacher.forward(lengths)}
    return replace(run, tokens=tokens, flops=flops, assumptions=(WRITTEN,))


def _lengths(tokens: int, rows: int) -> Sequence[int]:
    """Rows of equal length, as far as whole tokens allow."""
    length, longer = divmod(tokens, rows)
    return [length + 1] * longer + [length] * (rows - longer)
