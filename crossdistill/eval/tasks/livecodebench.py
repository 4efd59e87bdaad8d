"""LiveCodeBench (Jain et al. 2024): problems of programming contests by date, to be solved by programs."""

import json
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from crossdistill.errors import InputError
from crossdistill.eval.grading.base import Grader
from crossdistill.eval.problem import Problem
from crossdistill.eval.row import Row
from crossdistill.eval.sampling import Sampling
from crossdistill.eval.task import Task, TaskOptions
from crossdistill.eval.tasks.contest_tests import ContestTests
from crossdistill.eval.tasks.instruction import instructed
from crossdistill.eval.tasks.programs import code_grader
from crossdistill.eval.tasks.rows import is_local, reaching_hub, read_file

HUB = "livecodebench/code_generation_lite"
_FILES = ("test.jsonl", "test2.jsonl", "test3.jsonl", "test4.jsonl", "test5.jsonl", "test6.jsonl")
VERSIONS = {
    **{f"release_v{last}": _FILES[:last] for last in range(1, 7)},
    **{f"v{first}": _FILES[first - 1 : first] for first in range(1, 7)},
    **{f"v{first}_v{last}": _FILES[first - 1 : last] for first in range(1, 6) for last in range(first + 1, 7)},
}
"""Version tag -> files of the hub data set: ``release_v5`` is everything up to the fifth, ``v5`` the fifth alone."""

_STDIN = "Read the input from standard input and write the output to standard output."
_FUNCTION = "Complete this code, and keep its names:\n\n```python\n{starter}\n```"
_MODULES = (
    *("typing", "string", "re", "datetime", "collections", "heapq", "bisect", "copy", "math", "random", "statistics"),
    *("itertools", "functools", "operator", "io", "sys", "json"),
)
_IMPORTS = "".join(f"from {name} import *\n" for name in (*_MODULES, "builtins"))
_IMPORTS += f"import {', '.join(_MODULES)}\nsys.setrecursionlimit(50_000)\n"
"""What the benchmark's own judge does before a solution; the builtins restore ``pow``, which math has, too."""
_PROGRAM = "Put the complete Python program into one code block that starts with ```python."


class LiveCodeBench(Task):
    """Programs that read standard input (AtCoder, Codeforces) or methods of a class (LeetCode).

    Example:
        >>> LiveCodeBench().source
        'livecodebench/code_generation_lite'
    """

    name = "livecodebench"
    source = HUB
    sampling = Sampling(k=4, temperature=0.6, top_p=0.95, max_tokens=32_768)
    parameters = ("version", "start_date", "end_date")

    def all_problems(self, options: TaskOptions) -> Sequence[Problem]:
        """The problems of a version whose contests fell into a window of dates, both ends included."""
        version = str(options.parameters.get("version", "release_v6"))
        if version not in VERSIONS:
            raise InputError(f"LiveCodeBench has no version {version!r}: give one of {', '.join(VERSIONS)}.")
        start = _date(options.parameters.get("start_date"), "start_date") or date.min
        end = _date(options.parameters.get("end_date"), "end_date") or date.max
        instruction = _PROGRAM if options.instruction is None else options.instruction
        problems = [
            _problem(row, instruction)
            for row in _rows(options.source or HUB, version)
            if start <= _contest_date(row) <= end
        ]
        if not problems:
            raise InputError(f"LiveCodeBench {version} has no problem from {start} to {end}: widen the window.")
        return problems

    def training_reference(self, row: Row) -> Any:
        """The tests of a row that has the columns of the task's own."""
        return _problem(row, "").reference

    def grader(self, options: TaskOptions) -> Grader:
        """Of programs, which are run in a sandbox."""
        return code_grader(options)


# ---- rows -----------------------------------------------------------------------------------------------------------


def _rows(source: str | Path, version: str) -> Iterator[Row]:
    """Row by row, file by file: the hub data set comes with a loading script, which nothing runs any more."""
    for path in _paths(str(source), VERSIONS[version]):
        for number, values in enumerate(read_file(path), 1):
            yield Row(values, number, str(path))


def _paths(source: str, files: Sequence[str]) -> list[Path]:
    if not is_local(source):
        from huggingface_hub import hf_hub_download

        address, _, revision = source.partition("@")
        with reaching_hub(source):
            return [
                Path(hf_hub_download(address, name, repo_type="dataset", revision=revision or None)) for name in files
            ]
    path = Path(source).expanduser()
    if not path.is_dir():
        if not path.exists():
            raise InputError(f"there is no file {path}: give an existing file, a folder or a hub id.")
        return [path]
    absent = [name for name in files if not (path / name).exists()]
    if absent:
        raise InputError(f"the folder {path} has no {absent[0]}: give one with {', '.join(files)}, or another version.")
    return [path / name for name in files]


def _contest_date(row: Row) -> date:
    text = str(row.value("contest_date"))
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        raise InputError(f"{row.where} has {text!r} as 'contest_date': give a date such as 2024-08-01.") from None


def _date(value: Any, name: str) -> date | None:
    try:
        return None if value is None else date.fromisoformat(str(value))
    except ValueError:
        raise InputError(f"{name} is {value!r}: give a date such as 2024-08-01.") from None


# ---- problems -------------------------------------------------------------------------------------------------------


def _problem(row: Row, instruction: str) -> Problem:
    cases = ContestTests(row)
    function = _function(row) if cases.is_functional else None
    starter = str(row.values.get("starter_code") or "").rstrip()
    form = _FUNCTION.format(starter=starter) if function else _STDIN
    reference = {"kind": "io", "cases": cases, "entry_point": function, "prefix": _IMPORTS, "solution": None}
    prompt = f"{row.text('question_content').rstrip()}\n\n{form}\n"
    return Problem(str(row.value("question_id")), instructed(prompt, instruction), reference)


def _function(row: Row) -> str:
    try:
        metadata = json.loads(row.text("metadata"))
    except json.JSONDecodeError:
        metadata = {}
    name = metadata.get("func_name") if isinstance(metadata, dict) else None
    if not isinstance(name, str):
        raise InputError(f"{row.where} has functional tests and no 'func_name' in its 'metadata': restore it.")
    return name
