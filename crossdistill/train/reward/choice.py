"""The reward that a configuration names: a task, a file of one's own, or a function."""

import inspect
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from crossdistill import import_path
from crossdistill.errors import InputError
from crossdistill.eval import tasks
from crossdistill.eval.task import Task, TaskOptions
from crossdistill.eval.tasks.rows import is_local
from crossdistill.train.reward.base import Reward
from crossdistill.train.reward.by_function import FunctionReward
from crossdistill.train.reward.by_task import TaskReward


class RewardOptions(BaseModel):
    """Options of a reward that is a task: ``reward_options``.

    Example:
        >>> RewardOptions(workers=2).workers
        2
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    parameters: dict[str, Any] = Field(default_factory=dict, description="Of the task itself.")
    seed: int = Field(default=0, ge=0, description="Of a task that makes its problems.")
    sandbox: str | None = Field(default=None, description="What holds code that is run.")
    workers: int | None = Field(default=None, ge=1, description="Responses graded at once by each process.")


def reward_of(given: Any, options: Mapping[str, Any] | None) -> Reward:
    """The reward that was named or given. The code of responses is run in a sandbox alone.

    Args:
        given: a name as `crossdistill eval --task` takes it, the import path of a function, a Task or a function.
        options: of a task.

    Raises:
        InputError: there is no such task, it is something else, or options that it does not take.

    Example:
        >>> reward_of("gsm8k", {"workers": 1}).name
        'gsm8k'
        >>> reward_of(lambda completions, **columns: [len(text) for text in completions], None).name
        '<lambda>'
    """
    found = _found(given) if isinstance(given, str) else given
    if isinstance(found, Reward):
        _refuse_options(found.name, options)
        return found
    if isinstance(found, Task):
        return TaskReward(found, _task_options(found, options))
    name = given if isinstance(given, str) else getattr(given, "__name__", type(given).__name__)
    if not callable(found) or isinstance(found, type):
        kind = "a class" if isinstance(found, type) else f"an object of type {type(found).__name__}"
        raise InputError(
            f"the reward {name!r} is {kind}: give a task of `crossdistill eval`, a file of your own, a function, or "
            "the import path of one."
        )
    if inspect.iscoroutinefunction(found):
        raise InputError(f"the reward {name!r} is an async function, which is not awaited here: give one that returns.")
    _refuse_options(name, options)
    return FunctionReward(found, name)


def _found(name: str) -> Any:
    """The task or function of this name; a class of a task is made an object by the registry."""
    if name in tasks.available() or is_local(name) or not import_path.is_import_path(name):
        return tasks.get(name)
    if name.partition(import_path.SEPARATOR)[0] == "reasoning_gym":
        return tasks.get(name)
    found = import_path.load(name, "reward")
    return tasks.get(name) if isinstance(found, type) and issubclass(found, Task) else found


def _task_options(task: Task, options: Mapping[str, Any] | None) -> TaskOptions:
    try:
        parsed = RewardOptions.model_validate(dict(options or {}))
    except ValidationError as error:
        first = error.errors()[0]
        known = ", ".join(RewardOptions.model_fields)
        raise InputError(
            f"reward_options: {'.'.join(map(str, first['loc']))}: {first['msg'].lower()}; a task takes {known}, and "
            "the code of responses is always run in a sandbox."
        ) from None
    made = TaskOptions(**parsed.model_dump())
    task.check_parameters(made)
    return made


def _refuse_options(name: str, options: Mapping[str, Any] | None) -> None:
    if options:
        raise InputError(f"reward_options are for a task, and the reward {name!r} is none: leave them out.")
