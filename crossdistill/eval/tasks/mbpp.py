"""MBPP (Austin et al. 2021): 500 small functions from a sentence and three tests; MBPP+ (Liu et al. 2023) has 378 of
them with more tests.
"""

import ast
import re
from typing import Any

from crossdistill.errors import InputError
from crossdistill.eval.problem import Problem
from crossdistill.eval.row import Row
from crossdistill.eval.tasks.programs import ProgramTask, asserted
from crossdistill.eval.tasks.rows import HubData

_HUB = {
    "mbpp": HubData("google-research-datasets/mbpp", config="full"),
    "mbpp_plus": HubData("evalplus/mbppplus"),
}


class MBPP(ProgramTask):
    """The prompt shows the three tests of the original, without which the function's name could not be known.

    Example:
        >>> MBPP("mbpp_plus").source
        'evalplus/mbppplus'
    """

    def __init__(self, name: str) -> None:
        super().__init__(name, _HUB[name])

    def problem(self, row: Row, instruction: str) -> Problem:
        """The problem of a row.

        It has ``task_id``, ``text`` (``prompt`` in the sanitised version and MBPP+), ``code``, ``test_list``,
        ``test_setup_code`` or ``test_imports`` and, in MBPP+, all tests as one program in ``test``.
        """
        shown = "\n".join(_list(row, "test_list"))
        solution = row.text("code")
        setup = row.values.get("test_setup_code") or "\n".join(row.values.get("test_imports") or ())
        tests = row.text("test") if row.values.get("test") else shown
        return asserted(
            str(row.value("task_id")),
            f"{row.text('text', 'prompt').strip()}\n\nThe program has to pass these tests:\n\n"
            f"```python\n{shown}\n```\n",
            instruction,
            prefix=f"{setup}\n" if setup else "",
            tests=f"{setup}\n\n{tests}\n" if setup else f"{tests}\n",
            entry_point=_tested(shown, solution, row),
            solution=solution,
        )


def _list(row: Row, name: str) -> list[str]:
    value: Any = row.value(name)
    if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
        raise InputError(f"{row.where} has {value!r} as {name!r}: give a list of assertions.")
    return value


def _tested(tests: str, solution: str, row: Row) -> str:
    """The function of the solution that the tests call."""
    try:
        defined = [node.name for node in ast.parse(solution).body if isinstance(node, ast.FunctionDef)]
    except SyntaxError as error:
        raise InputError(f"{row.where} has a 'code' that is no Python ({error.msg}): repair it.") from None
    for name in defined:
        if re.search(rf"\b{name}\s*\(", tests):
            return name
    raise InputError(f"{row.where} has tests that call no function of its 'code': repair one of them.")
