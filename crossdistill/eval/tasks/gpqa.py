"""GPQA-Diamond: 198 questions of biology, chemistry and physics at graduate level (Rein et al. 2023).

The authors ask that no question be published as plain text: the hub data set is read after its terms were accepted, and
nothing of it is part of this package.
"""

from collections.abc import Sequence

from crossdistill.eval.grading.base import Grader
from crossdistill.eval.problem import Problem
from crossdistill.eval.row import Row
from crossdistill.eval.sampling import Sampling
from crossdistill.eval.task import Task, TaskOptions
from crossdistill.eval.tasks.choices import choice_problem, letter
from crossdistill.eval.tasks.instruction import LETTER
from crossdistill.eval.tasks.math_rows import row_id
from crossdistill.eval.tasks.rows import HubData, read_rows

_HUB = HubData("Idavidrein/gpqa", config="gpqa_diamond", split="train")
_WRONG = ("Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")


class GPQADiamond(Task):
    """Four choices, shuffled by the seed.

    Example:
        >>> GPQADiamond().source
        'Idavidrein/gpqa'
    """

    name = "gpqa_diamond"
    source = _HUB.id
    sampling = Sampling(k=4, temperature=0.6, top_p=0.95, max_tokens=32_768)

    def all_problems(self, options: TaskOptions) -> Sequence[Problem]:
        """One problem a row, whose id is the record's."""
        instruction = LETTER if options.instruction is None else options.instruction
        return [
            choice_problem(
                row_id(row, "Record ID"),
                row.text("Question").strip(),
                [row.text(name).strip() for name in ("Correct Answer", *_WRONG)],
                0,
                options.seed,
                instruction,
            )
            for row in read_rows(_HUB, options.source)
        ]

    def training_reference(self, row: Row) -> str:
        """The letter of the right choice, as the row's own prompt names it."""
        return letter(row, "ABCD")

    def grader(self, options: TaskOptions) -> Grader:
        """Of letters."""
        from crossdistill.eval.grading.choice import ChoiceGrader

        return ChoiceGrader("ABCD")
