"""The evaluation tasks of a run: their problems are read, and their graders checked, before any weights are read."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from crossdistill.chat.messages import Prompt, text_of
from crossdistill.chat.prompts import as_prompt, prompt_name
from crossdistill.errors import InputError
from crossdistill.eval.grading.base import Grader
from crossdistill.eval.grading.verdict import Verdict
from crossdistill.eval.problem import Problem
from crossdistill.eval.sampling import Sampling
from crossdistill.eval.task import Task, TaskOptions
from crossdistill.extras import require
from crossdistill.findings import Finding, Kind, Severity, When
from crossdistill.runs.eval_tasks import EvalTaskTable
from crossdistill.train.whole import check_not_zero3

PROBLEMS_TRAINED_ON = Kind(
    "problems_trained_on",
    Severity.WARNING,
    When.BEFORE_WEIGHTS,
    "{count} of the {total} problems of the evaluation task {task!r} are among the training prompts, word for word: "
    "take them out of one of the two.",
    "the accuracy is that on problems which the student was trained on, and says little of new ones",
)
_OPTIONS = {field.name for field in fields(TaskOptions)} - {"source"}


@dataclass(frozen=True)
class HeldOut:
    """A task of a run, with its problems.

    Attributes:
        task: with the table's name and the problems that were read; its grader was checked.
        options: of the task.
        sampling: of its responses.
    """

    task: "ReadTask"
    options: TaskOptions
    sampling: Sampling

    @property
    def problems(self) -> list[Problem]:
        """The task's problems."""
        return self.task.problems(self.options)


class ReadTask(Task):
    """A task whose problems have been read and whose grader has been checked.

    Args:
        name: in the run.
        task: whose problems they are.
        read: the problems.
    """

    def __init__(self, name: str, task: Task, read: list[Problem]):
        self.name = name
        self.sampling = task.sampling
        self.source = task.source
        self._task = task
        self._read = read

    def all_problems(self, options: TaskOptions) -> Sequence[Problem]:
        """The problems that were read."""
        return self._read

    def problems(self, options: TaskOptions) -> list[Problem]:
        """The problems that were read."""
        return self._read

    def grader(self, options: TaskOptions) -> Grader:
        """The task's grader, without its check."""
        return _CheckedGrader(self._task.grader(options))


class _CheckedGrader(Grader):
    def __init__(self, grader: Grader):
        self._grader = grader

    def grade(self, responses: Iterable[tuple[Problem, str]]) -> Iterator[Verdict]:
        return self._grader.grade(responses)

    def __enter__(self) -> "_CheckedGrader":
        self._grader.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._grader.__exit__(*error)


def held_out(tables: Mapping[str, EvalTaskTable] | None, args: Any) -> list[HeldOut]:
    """The tasks of a run file, ready to be evaluated.

    Args:
        tables: of the run file.
        args: configuration of the trainer. The student's prompts are rendered as in training, and the first process
            grades, so it checks the graders.

    Raises:
        InputError: an unknown task, problems that cannot be read, or a grader that does not work on this machine;
            the extra `eval` is missing; or ZeRO-3, under which no process has the whole student.
    """
    if tables:
        require("eval", user="an evaluation during training (eval_tasks)")
        check_not_zero3()
    template_kwargs = getattr(args, "chat_template_kwargs", None) or {}
    return read_tasks(tables or {}, template_kwargs, is_grading=args.process_index == 0)


def read_tasks(
    tables: Mapping[str, EvalTaskTable],
    template_kwargs: Mapping[str, Any],
    is_grading: bool = True,
    above: str = "eval_tasks",
) -> list[HeldOut]:
    """Tasks with their problems.

    Args:
        tables: by name.
        template_kwargs: of the student's chat template.
        is_grading: whether this process grades, and so checks the graders.
        above: path of the table that they are in, for messages.

    Raises:
        InputError: an unknown task, problems that cannot be read, or a grader that does not work on this machine.
    """
    for name, table in tables.items():
        _check_samples(f"{above}.{name}", table)
    return [_held_out(name, table, template_kwargs, is_grading) for name, table in tables.items()]


def _check_samples(path: str, table: EvalTaskTable) -> None:
    if table.temperature == 0 and (table.k or 1) > 1:
        raise InputError(
            f"[{path}] k = {table.k} samples of temperature 0 would all be the same: set a temperature, or leave out k."
        )


def _held_out(name: str, table: EvalTaskTable, template_kwargs: Mapping[str, Any], is_grading: bool) -> HeldOut:
    task, source = _task(name, table)
    options = TaskOptions(source=source, **table.model_dump(include=_OPTIONS))
    problems = task.problems(options)
    if is_grading:
        with task.grader(options) as grader:
            grader.check(problems)
    return HeldOut(ReadTask(name, task, problems), options, table.sampling(task.sampling, template_kwargs))


def _task(name: str, table: EvalTaskTable) -> tuple[Task, str | None]:
    """The task of a table, and the source of its problems unless the task is that file itself."""
    from crossdistill.eval import tasks

    if table.task is None and table.source is not None and name not in tasks.available():
        return tasks.get(table.source), None
    return tasks.get(table.task or name), table.source


def trained_on(tasks: Iterable[HeldOut], rows: Any) -> list[Finding]:
    """A warning for each task that has problems among the training prompts.

    Args:
        tasks: of the run.
        rows: of the training data, with ``prompt``.
    """
    texts = {held.task.name: [prompt_text(problem.prompt) for problem in held.problems] for held in tasks}
    asked = {text for of_task in texts.values() for text in of_task}
    seen = {text for text in _texts(rows) if text in asked} if asked else set()
    counts = {name: sum(text in seen for text in of_task) for name, of_task in texts.items()}
    return [
        PROBLEMS_TRAINED_ON(count=count, total=len(texts[name]), task=name) for name, count in counts.items() if count
    ]


def _texts(rows: Any) -> Iterator[str]:
    return (prompt_text(as_prompt(prompt, prompt_name(number))) for number, prompt in enumerate(rows["prompt"]))


def prompt_text(prompt: Prompt) -> str:
    """What a user says in a prompt, without white space around it.

    Example:
        >>> prompt_text([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2 + 2? "}])
        '2 + 2?'
    """
    if isinstance(prompt, str):
        return prompt.strip()
    return "\n".join(text_of(message) or "" for message in prompt if message["role"] == "user").strip()
