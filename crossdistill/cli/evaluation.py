"""What an evaluation on the command line is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from crossdistill.errors import InputError
from crossdistill.eval.sampling import Sampling
from crossdistill.eval.task import TaskOptions
from crossdistill.eval.tasks import available, get
from crossdistill.runs.config import read_config, set_value
from crossdistill.runs.planned_task import PlannedTask
from crossdistill.teachers.served.options import ServedOptions

PRESETS: dict[str, dict[str, Any]] = {"paper": {"k": 8, "temperature": 0.6, "top_p": 0.95, "max_tokens": 32_768}}
"""Name -> settings of sampling."""
TIMEOUT_S = 3600
"""Seconds for one answer, unless the settings name others: a response of 32,768 tokens comes in one piece."""


def preset_of(name: str | None) -> dict[str, Any]:
    """The settings of a preset; none without a name.

    Raises:
        InputError: there is no such preset.

    Example:
        >>> preset_of("paper")["k"], preset_of(None)
        (8, {})
    """
    if name is None:
        return {}
    if name not in PRESETS:
        raise InputError(f"there is no preset {name!r}: choose one of {', '.join(PRESETS)}.")
    return PRESETS[name]


def values_of(given: Sequence[str]) -> dict[str, Any]:
    """Values from ``name=value``.

    Raises:
        InputError: one is of another form.

    Example:
        >>> values_of(["size=50", "gsm8k=problems.jsonl"])
        {'size': 50, 'gsm8k': 'problems.jsonl'}
    """
    values: dict[str, Any] = {}
    for one in given:
        set_value(values, one)
    return values


def server_options(given: Sequence[str]) -> ServedOptions:
    """Settings of a server from ``key=value``.

    Raises:
        InputError: an unknown setting, or a value that it cannot have.

    Example:
        >>> server_options(["max_in_flight=64"]).timeout_s
        3600.0
    """
    return read_config(ServedOptions, None, [f"timeout_s={TIMEOUT_S}", *given], {})


def plan(
    names: Sequence[str], sampling: Mapping[str, Any], options: TaskOptions, sources: Mapping[str, Any]
) -> list[PlannedTask]:
    """The tasks of an evaluation, with their problems.

    Args:
        names: of the tasks.
        sampling: fields of :class:`Sampling` that differ from each task's own.
        options: of all tasks.
        sources: task -> where its problems are, in place of the task's own.

    Raises:
        InputError: there are no tasks, an unknown one, one twice, or problems that cannot be read; or settings that no
            sampling can have.
    """
    if not names:
        raise InputError(f"there is nothing to evaluate: name a task with --task, such as {', '.join(available())}.")
    tasks = [get(name) for name in names]
    by_name = {task.name: task for task in tasks}
    if len(by_name) < len(tasks):
        raise InputError(f"a task is named twice among {', '.join(names)}: name each once.")
    strangers = [name for name in sources if name not in by_name]
    if strangers:
        raise InputError(f"--source names {strangers[0]!r}, which is none of the tasks {', '.join(by_name)}.")
    return [
        PlannedTask.of(
            task,
            replace(options, source=str(sources[task.name]) if task.name in sources else None),
            checked(replace(task.sampling, **sampling)),
        )
        for task in tasks
    ]


def checked(sampling: Sampling) -> Sampling:
    """Settings of sampling that are possible and go together.

    Raises:
        InputError: they are not.

    Example:
        >>> checked(Sampling(k=4))
        Traceback (most recent call last):
        crossdistill.errors.InputError: 4 samples of each problem at temperature 0 are all the same: set --temperature.
    """
    if sampling.k > 1 and sampling.temperature == 0:
        raise InputError(f"{sampling.k} samples of each problem at temperature 0 are all the same: set --temperature.")
    if not 0 < sampling.top_p <= 1:
        raise InputError(f"top_p is {sampling.top_p}: give a probability above 0 and at most 1.")
    return sampling
