"""What ``run.json`` says of the circumstances of a run: its ``arguments`` and its ``device``."""

import inspect
import json
import os
import platform
from collections.abc import Mapping
from typing import Any

import torch
from accelerate import Accelerator
from transformers import TrainingArguments

from crossdistill.runs.config import RunConfig, SFTRunConfig

_PACKAGE = __name__.partition(".")[0]
_OF_THE_RUN = {"output_dir", "logging_dir"}
"""Fields of a trainer that a run sets by itself."""
_OUTSIDE = ("objective", "objective_options")
"""Fields of a trainer that a run file has outside its table [train]."""


def settings(
    config: RunConfig | SFTRunConfig, arguments: TrainingArguments, told: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """The settings of a run by their names in a run file, such as ``train.learning_rate``.

    Args:
        config: of the run.
        arguments: of the trainer.
        told: what `arguments` were made from: the table [train] and, if there is one, the preset.

    Returns:
        ``given``: what the run file, the command line or a preset sets, crossdistill's own keys first; ``defaults``:
        the other keys of crossdistill; ``library_defaults``: those of TRL and transformers.
    """
    values = {name: _plain(value) for name, value in arguments.to_dict().items() if name not in _OF_THE_RUN}
    top = config.model_dump(mode="json", exclude={"train", "lora", *_OUTSIDE})
    own = {**top, **{_key(name): values[name] for name in values if name in _own_fields(type(arguments))}}
    every = {**own, **{_key(name): value for name, value in values.items()}}
    set_here = config.train.keys() | (told.keys() - {"report_to"})  # which a run turns off
    given = (config.model_fields_set & top.keys()) | {_key(name) for name in set_here}
    lora = {f"lora.{name}": value for name, value in (config.lora or {}).items()}
    return {
        "given": {**{name: value for name, value in every.items() if name in given}, **lora},
        "defaults": {name: value for name, value in own.items() if name not in given},
        "library_defaults": {name: value for name, value in every.items() if name not in {*own, *given}},
    }


def device(accelerator: Accelerator) -> dict[str, Any]:
    """Where a run computes: ``device``, ``processes`` and ``mixed_precision``.

    Example:
        >>> from accelerate import Accelerator
        >>> found = device(Accelerator(cpu=True))
        >>> found["processes"], found["mixed_precision"]
        (1, 'no')
    """
    name = f"CPU, {platform.machine()}, {torch.get_num_threads()} threads of {os.cpu_count()}"
    if accelerator.device.type == "cuda":
        name = torch.cuda.get_device_name(accelerator.device)
    return {
        "device": name,
        "processes": accelerator.num_processes,
        "mixed_precision": str(accelerator.mixed_precision),
    }


def _plain(value: Any) -> Any:
    """`value` as data that JSON can hold; what it cannot hold as text."""
    return json.loads(json.dumps(value, default=str))


def _key(name: str) -> str:
    """The name in a run file of a trainer's field."""
    return name if name in _OUTSIDE else f"train.{name}"


def _own_fields(kind: type) -> set[str]:
    """The fields of a trainer's arguments that classes of this package declare."""
    own = (base for base in kind.__mro__ if base.__module__.partition(".")[0] == _PACKAGE)
    return {name for base in own for name in inspect.get_annotations(base)}
