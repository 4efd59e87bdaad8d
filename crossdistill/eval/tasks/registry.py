"""Tasks by name, by import path, or from a file."""

from difflib import get_close_matches
from inspect import isabstract
from typing import Any

from crossdistill import import_path
from crossdistill.errors import InputError
from crossdistill.eval.task import Task
from crossdistill.eval.tasks.rows import is_local

_TASKS = {
    "aime24": "aime:AIME",
    "aime25": "aime:AIME",
    "aime26": "aime:AIME",
    "gpqa_diamond": "gpqa:GPQADiamond",
    "gsm8k": "gsm8k:GSM8K",
    "humaneval": "humaneval:HumanEval",
    "humaneval_plus": "humaneval:HumanEval",
    "livecodebench": "livecodebench:LiveCodeBench",
    "math500": "math500:MATH500",
    "mbpp": "mbpp:MBPP",
    "mbpp_plus": "mbpp:MBPP",
}
"""Name -> module, below ``crossdistill.eval.tasks``, and class."""
_GENERATED = "reasoning_gym"


def available() -> tuple[str, ...]:
    """Names of the tasks that come with the package, in alphabetical order; reasoning-gym's generators come on top.

    Example:
        >>> "gsm8k" in available()
        True
    """
    return tuple(sorted(_TASKS))


def get(name: str | Task) -> Task:
    """The task of this name.

    Args:
        name: one of :func:`available`; ``"reasoning_gym:NAME"`` for a generator of reasoning-gym; the path of a file
            of one's own; the import path of a :class:`Task`, such as ``"my_package.my_file:MyTask"``. A Task is given
            back.

    Raises:
        InputError: there is no such task.

    Example:
        >>> get("gsm8k").sampling.temperature
        0.0
    """
    if isinstance(name, Task):
        return name
    if name in _TASKS:
        kind = import_path.load(f"crossdistill.eval.tasks.{_TASKS[name]}", "task")
        task: Task = kind() if isinstance(vars(kind).get("name"), str) else kind(name)  # a family has several
        return task
    prefix, _, generator = name.partition(import_path.SEPARATOR)
    if prefix == _GENERATED:
        from crossdistill.eval.tasks.reasoning_gym import ReasoningGym

        return ReasoningGym(generator)
    if is_local(name):
        from crossdistill.eval.tasks.own_file import OwnFile

        return OwnFile(name)
    if import_path.is_import_path(name):
        return _own(name)
    near = get_close_matches(name, available(), n=3)
    hint = f"did you mean {', '.join(near)}?" if near else f"choose one of {', '.join(available())}."
    raise InputError(
        f"there is no task {name!r}: {hint} A generator is reasoning_gym:NAME, and a file or the import path of your "
        "own task, my_package.my_file:MyTask, is one, too."
    )


def _own(path: str) -> Task:
    found: Any = import_path.load(path, "task")
    if isinstance(found, Task):
        return found
    if not (isinstance(found, type) and issubclass(found, Task)):
        raise InputError(f"task {path!r} is not a subclass of crossdistill.eval.task.Task.")
    if isabstract(found):
        raise InputError(f"task {path!r} is abstract: implement {', '.join(sorted(found.__abstractmethods__))}.")
    return found()
