"""A task from a file of one's own."""

import ast
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from crossdistill.chat.messages import Prompt, text_of
from crossdistill.errors import InputError
from crossdistill.eval.grading.base import Grader
from crossdistill.eval.problem import Problem
from crossdistill.eval.row import Row
from crossdistill.eval.task import Task, TaskOptions
from crossdistill.eval.tasks.answers import answer_texts
from crossdistill.eval.tasks.choices import choice_problem, letter
from crossdistill.eval.tasks.instruction import BOXED, LETTER, PROGRAM, instructed
from crossdistill.eval.tasks.math_rows import row_id
from crossdistill.eval.tasks.programs import code_grader
from crossdistill.eval.tasks.rows import HubData, read_rows

_QUESTIONS = ("prompt", "question", "problem")


class OwnFile(Task):
    """Problems of a .jsonl, .json, .csv or .parquet file, one a row.

    A row has a ``prompt`` (or ``question``) and an ``answer``; with ``choices``, the answer is one of them or its
    letter; or it has ``tests`` in place of an answer. ``id`` is optional. docs/tasks.md has the columns.

    Args:
        path: of the file, or of a folder of a data set.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder) / "sums.jsonl"
        ...     _ = path.write_text('{"prompt": "What is 2 + 2?", "answer": 4}')
        ...     task = OwnFile(path)
        ...     problems = task.problems(TaskOptions(instruction=""))
        >>> task.name, problems
        ('sums', [Problem(id='0', prompt='What is 2 + 2?', reference='4')])
    """

    def __init__(self, path: str | Path) -> None:
        self.source = str(path)
        self.name = Path(path).name.partition(".")[0] or str(path)

    def all_problems(self, options: TaskOptions) -> Sequence[Problem]:
        """One problem a row."""
        if str(options.source or self.source) != self.source:
            raise InputError(f"task {self.name!r} is the file {self.source} itself: leave the source out.")
        make = {"tests": _program, "choices": _choice, "answer": _answer}[self._kind]
        return [make(row, options) for row in self._rows]

    def grader(self, options: TaskOptions) -> Grader:
        """Of programs, letters or expressions, as the file's columns say."""
        if self._kind == "tests":
            return code_grader(options)
        if self._kind == "choices":
            from crossdistill.eval.grading.choice import ChoiceGrader

            return ChoiceGrader(self._letters)
        from crossdistill.eval.grading.math_answer import MathGrader

        return MathGrader(options.workers)

    def training_reference(self, row: Row) -> Any:
        """As of the file's own rows; of a choice, the letter by which the row's own prompt names it."""
        if self._kind == "choices":
            return letter(row, self._letters)
        return {"tests": _program, "answer": _answer}[self._kind](row, TaskOptions()).reference

    @property
    def _letters(self) -> str:
        return ascii_uppercase[: max(len(_choices(row)) for row in self._rows)]

    @cached_property
    def _rows(self) -> list[Row]:
        return read_rows(HubData(str(self.source)), self.source)

    @cached_property
    def _kind(self) -> str:
        """The column that tells how responses are graded: the same in each row."""
        kinds = [_kind(row) for row in self._rows]
        if not any(kinds):
            columns = ", ".join(repr(name) for name in self._rows[0].values)
            raise InputError(
                f"{self.source} has no answers: give each row an 'answer' or 'tests' beside {columns or 'a prompt'}."
            )
        for row, kind in zip(self._rows, kinds, strict=True):
            if kind is None:
                raise InputError(f"{row.where} has no 'answer' and no 'tests': add one, or leave the row out.")
            if kind != kinds[0]:
                raise InputError(
                    f"{row.where} has {kind!r} and row 1 has {kinds[0]!r}: give each kind of problem a file of its own."
                )
        return str(kinds[0])


def _kind(row: Row) -> str | None:
    """The column by which responses to a row are graded, if it has an answer."""
    given = {name for name in ("answer", "choices", "tests") if row.values.get(name) not in (None, "")}
    if "tests" in given:
        if "answer" in given:
            raise InputError(f"{row.where} has both an 'answer' and 'tests': keep one.")
        return "tests"
    if row.values.get("answer") is None:
        return None
    return "choices" if "choices" in given else "answer"


# ---- kinds of problems ----------------------------------------------------------------------------------------------


def _answer(row: Row, options: TaskOptions) -> Problem:
    return Problem(row_id(row, "id"), instructed(_prompt(row), _said(options, BOXED)), answer_texts(row, "answer"))


def _choice(row: Row, options: TaskOptions) -> Problem:
    choices, answer = _choices(row), answer_texts(row, "answer")
    letters = ascii_uppercase[: len(choices)]
    if answer in choices:
        right = choices.index(str(answer))
    elif isinstance(answer, str) and answer in letters and len(answer) == 1:
        right = letters.index(answer)
    else:
        raise InputError(f"{row.where} has {answer!r} as 'answer': give one of its choices, or a letter of {letters}.")
    problem_id = row_id(row, "id")
    return choice_problem(problem_id, row.text(*_QUESTIONS), choices, right, options.seed, _said(options, LETTER))


def _choices(row: Row) -> list[str]:
    value = row.value("choices")
    values = value if isinstance(value, list) and all(isinstance(one, str | int | float) for one in value) else []
    texts = [str(one).strip() for one in values]
    if not 2 <= len(texts) <= len(ascii_uppercase) or len({*texts}) < len(texts) or not all(texts):
        raise InputError(f"{row.where} has {value!r} as 'choices': give a list of 2 to 26 different texts.")
    return texts


def _program(row: Row, options: TaskOptions) -> Problem:
    tests = row.value("tests")
    reference: dict[str, Any] = {name: _optional(row, name) for name in ("prefix", "entry_point", "solution")}
    reference["prefix"] = reference["prefix"] or ""
    if isinstance(tests, list) and tests and all(map(_is_case, tests)):
        cases = [{"input": case["input"], "output": case["output"]} for case in tests]
        reference = {"kind": "io", "cases": cases, **reference}
    elif isinstance(tests, list) and tests and all(isinstance(test, str) for test in tests):
        reference = {"kind": "asserts", "tests": "\n".join(tests), **reference}
    elif isinstance(tests, str) and tests.strip():
        reference = {"kind": "asserts", "tests": tests, **reference}
    else:
        raise InputError(
            f"{row.where} has {tests!r} as 'tests': give code that fails if the program is wrong, a list of such "
            "lines, or a list of objects with the texts 'input' and 'output'."
        )
    _check_tests(row, reference)
    return Problem(row_id(row, "id"), instructed(_prompt(row), _said(options, PROGRAM)), reference)


def _check_tests(row: Row, reference: dict[str, Any]) -> None:
    """Check that tests can be read at all: every response would fail those that cannot."""
    try:
        if reference["kind"] == "asserts":
            ast.parse(reference["tests"])
        elif reference["entry_point"] is not None:
            for case in reference["cases"]:
                for line in (*filter(str.strip, case["input"].splitlines()), case["output"]):
                    json.loads(line)
    except (SyntaxError, ValueError, RecursionError) as error:
        raise InputError(
            f"{row.where} has 'tests' that cannot be read ({error}): give Python code, or beside an 'entry_point' "
            "inputs and outputs as lines of JSON."
        ) from None


def _optional(row: Row, name: str) -> str | None:
    return row.text(name) if row.values.get(name) not in (None, "") else None


def _is_case(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(name), str) for name in ("input", "output"))


def _said(options: TaskOptions, usual: str) -> str:
    return usual if options.instruction is None else options.instruction


def _prompt(row: Row) -> Prompt:
    """A text, or messages that end with the user's."""
    value = row.value(*_QUESTIONS)
    if not isinstance(value, list):
        return row.text(*_QUESTIONS)
    if not value or not all(map(_is_message, value)):
        raise InputError(f"{row.where} has a prompt that is no list of messages: give each a role and a content.")
    if value[-1]["role"] != "user":
        raise InputError(f"{row.where} has a prompt whose last message is of {value[-1]['role']!r}: end with the user.")
    if not (text_of(value[-1]) or "").strip():
        raise InputError(f"{row.where} has a prompt whose last message is empty: fill it, or leave the row out.")
    return value


def _is_message(value: Any) -> bool:
    if not isinstance(value, dict) or not {"role", "content"} <= value.keys():
        return False
    return isinstance(value["role"], str) and isinstance(value["content"], str | list | None)
