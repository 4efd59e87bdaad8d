"""What an evaluation on the command line is made of."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from crossdistill.errors import InputError
from crossdistill.eval.presets import preset
from crossdistill.eval.sampling import Sampling
from crossdistill.eval.task import TaskOptions
from crossdistill.eval.tasks import available, get
from crossdistill.runs.config import read_config, set_value
from crossdistill.runs.planned_task import PlannedTask
from crossdistill.teachers.served.options import ServedOptions

TIMEOUT_S = 3600
"""Seconds for one answer, unless the settings name others: a response of 32,768 tokens comes in one piece."""


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
    names: Sequence[str],
    preset_name: str | None,
    sampling: Mapping[str, Any],
    options: TaskOptions,
    sources: Mapping[str, Any],
) -> list[PlannedTask]:
    """The tasks of an evaluation, with their problems.

    Args:
        names: of the tasks; none takes those of the preset.
        preset_name: of a preset, which says how its tasks are sampled; None takes each task's own settings.
        sampling: fields of :class:`Sampling` that override these.
        options: of all tasks; each takes the parameters that it has.
        sources: task -> where its problems are, in place of the task's own.

    Raises:
        InputError: there are no tasks, an unknown one, or one twice; problems cannot be read; or settings cannot be.
    """
    settings = preset(preset_name).tasks if preset_name is not None else {}
    if not names and not settings:
        raise InputError(f"there is nothing to evaluate: name a task with --task, such as {', '.join(available())}.")
    tasks = {}
    for name in names or settings:
        task = get(name)
        if task.name in tasks:
            raise InputError(
                f"two tasks are called {task.name!r}, as the file of its samples is: name each once, give files "
                "different names, or evaluate them in two folders."
            )
        if settings and task.name not in settings:
            raise InputError(f"preset {preset_name!r} is of the tasks {', '.join(settings)}: leave {task.name!r} out.")
        tasks[task.name] = task
    strangers = [name for name in sources if name not in tasks]
    if strangers:
        raise InputError(f"--source names {strangers[0]!r}, which is none of the tasks {', '.join(tasks)}.")
    known = [parameter for task in tasks.values() for parameter in task.parameters]
    unknown = [name for name in options.parameters if name not in known]
    if unknown:
        takes = f"they take {', '.join(known)}" if known else "they take none"
        raise InputError(f"--param names {unknown[0]!r}, which is a parameter of none of {', '.join(tasks)}: {takes}.")
    return [
        PlannedTask.of(
            task,
            replace(
                options,
                source=str(sources[name]) if name in sources else None,
                parameters={key: value for key, value in options.parameters.items() if key in task.parameters},
            ),
            checked(replace(settings.get(name, task.sampling), **sampling)),
        )
        for name, task in tasks.items()
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
    if not math.isfinite(sampling.temperature):
        raise InputError(f"the temperature is {sampling.temperature}: give a finite one, such as 0.6.")
    if sampling.k > 1 and sampling.temperature == 0:
        raise InputError(f"{sampling.k} samples of each problem at temperature 0 are all the same: set --temperature.")
    if not 0 < sampling.top_p <= 1:
        raise InputError(f"top_p is {sampling.top_p}: give a probability above 0 and at most 1.")
    return sampling
