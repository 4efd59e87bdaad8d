"""HumanEval (Chen et al. 2021): 164 functions to complete; HumanEval+ (Liu et al. 2023) has more tests for each."""

from crossdistill.eval.problem import Problem
from crossdistill.eval.row import Row
from crossdistill.eval.tasks.programs import ProgramTask, asserted
from crossdistill.eval.tasks.rows import HubData

_HUB = {"humaneval": HubData("openai/openai_humaneval"), "humaneval_plus": HubData("evalplus/humanevalplus")}


class HumanEval(ProgramTask):
    """Without an instruction the prompt is the start of the function alone, as for a base model.

    Example:
        >>> HumanEval("humaneval_plus").source
        'evalplus/humanevalplus'
    """

    def __init__(self, name: str) -> None:
        super().__init__(name, _HUB[name])

    def problem(self, row: Row, instruction: str) -> Problem:
        """The problem of a row of ``task_id``, ``prompt``, ``entry_point``, ``test`` and ``canonical_solution``."""
        start, entry_point = row.text("prompt"), row.text("entry_point")
        return asserted(
            row.text("task_id"),
            f"Complete this function:\n\n```python\n{start.rstrip()}\n```\n" if instruction else start,
            instruction,
            prefix=start,
            tests=f"{row.text('test').rstrip()}\n\ncheck({entry_point})\n",
            entry_point=entry_point,
            solution=start + row.text("canonical_solution"),
        )
