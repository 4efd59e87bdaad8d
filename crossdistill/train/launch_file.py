"""What describes a launch (accelerate's file, DeepSpeed's, the trainer's options), as the variables of its processes.

``accelerate launch`` tells its processes by environment variables what it was asked for, so these are one form for all.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from crossdistill.errors import InputError

Variables = dict[str, str]
PARTS = "optimizer", "param"
"""What DeepSpeed can keep in host memory."""
UNKNOWN = "the launch asks for {asked}, which no run was made with: choose one of DDP, FSDP 2, ZeRO-2 and ZeRO-3."
_KINDS = "NO", "MULTI_GPU", "MULTI_CPU", "FSDP", "DEEPSPEED"


def of_file(path: Path) -> Variables:
    """Of a file that ``accelerate config`` writes.

    Raises:
        InputError: it cannot be read, or asks for what cannot run.
    """
    values = _read(path, "the launch", "accelerate's YAML file", yaml.safe_load)
    if "distributed_type" not in values:
        raise InputError(f"{path} names no distributed_type: give a file that `accelerate config` writes.")
    kind = _text(values["distributed_type"])
    if kind not in _KINDS:
        raise InputError(UNKNOWN.format(asked=kind))
    compiled = (values.get("dynamo_config") or {}).get("dynamo_backend", values.get("dynamo_backend"))
    variables = {
        "ACCELERATE_USE_CPU": _flag(values.get("use_cpu") or kind == "MULTI_CPU"),
        "ACCELERATE_MIXED_PRECISION": _text(values.get("mixed_precision")),
        "ACCELERATE_DYNAMO_BACKEND": _text(compiled),
    }
    if kind != "NO":
        count = values.get("num_processes", 1)
        if not isinstance(count, int) or count < 1:
            raise InputError(f"{path} has num_processes: {count}: give the number of GPUs.")
        variables["WORLD_SIZE"] = str(count)
    if kind == "FSDP":
        fsdp = values.get("fsdp_config") or {}
        variables |= _fsdp(fsdp.get("fsdp_version", 1), fsdp.get("fsdp_offload_params"))
    if kind == "DEEPSPEED":
        variables |= _deepspeed_of_accelerate(values.get("deepspeed_config") or {})
    return variables


def of_options(options: Mapping[str, Any]) -> Variables:
    """Of the trainer's options, which hold before those of ``accelerate launch``.

    Raises:
        InputError: a file that they name cannot be read.
    """
    variables = {}
    if options.get("use_cpu"):
        variables["ACCELERATE_USE_CPU"] = "true"
    if asked := options.get("fsdp"):
        config = _table(options.get("fsdp_config") or {}, "fsdp_config")
        fsdp = {name.removeprefix("fsdp_"): value for name, value in config.items()}
        variables |= _fsdp(fsdp.get("version", 2), fsdp.get("cpu_offload") or "offload" in str(asked))
    if options.get("deepspeed"):
        variables |= of_deepspeed(options["deepspeed"])
    return variables


def of_deepspeed(config: Any) -> Variables:
    """Of DeepSpeed's own configuration, or its file.

    Raises:
        InputError: it cannot be read.
    """
    config = _table(config, "DeepSpeed's configuration")
    zero = config.get("zero_optimization") or {}
    devices = [(part, (zero.get(f"offload_{part}") or {}).get("device")) for part in PARTS]
    variables = {
        "ACCELERATE_USE_DEEPSPEED": "true",
        "ACCELERATE_USE_FSDP": "false",
        "ACCELERATE_DEEPSPEED_ZERO_STAGE": str(zero.get("stage", 0)),
        **{f"ACCELERATE_DEEPSPEED_OFFLOAD_{part.upper()}_DEVICE": _text(device) for part, device in devices},
    }
    for precision in ("bf16", "fp16"):
        if (config.get(precision) or {}).get("enabled") is True:
            variables["ACCELERATE_MIXED_PRECISION"] = precision
    return variables


def _deepspeed_of_accelerate(table: Mapping[str, Any]) -> Variables:
    if "deepspeed_config_file" in table:
        return of_deepspeed(table["deepspeed_config_file"])
    devices = {f"ACCELERATE_DEEPSPEED_OFFLOAD_{part.upper()}_DEVICE": f"offload_{part}_device" for part in PARTS}
    return {
        "ACCELERATE_USE_DEEPSPEED": "true",
        "ACCELERATE_DEEPSPEED_ZERO_STAGE": str(table.get("zero_stage", 2)),
        **{variable: _text(table.get(name)) for variable, name in devices.items()},
    }


def _fsdp(version: Any, offloads: Any) -> Variables:
    return {
        "ACCELERATE_USE_FSDP": "true",
        "FSDP_VERSION": str(version),
        "FSDP_OFFLOAD_PARAMS": _flag(offloads),
    }


def _table(given: Any, name: str) -> Mapping[str, Any]:
    """A table that is given itself, as JSON, or by its file."""
    if isinstance(given, Mapping):
        return given
    if str(given).startswith("{"):
        return _parsed(str(given), name, "a table or a JSON file", json.loads)
    return _read(Path(given), name, "a JSON file", json.loads)


def _read(path: Path, name: str, wanted: str, parse: Callable[[str], Any]) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{name} {path} cannot be read ({error}): give {wanted}.") from None
    return _parsed(text, f"{name} {path}", wanted, parse)


def _parsed(text: str, name: str, wanted: str, parse: Callable[[str], Any]) -> dict[str, Any]:
    try:
        values = parse(text)
    except (ValueError, yaml.YAMLError) as error:
        raise InputError(f"{name} cannot be read ({str(error).splitlines()[0]}): give {wanted}.") from None
    if not isinstance(values, dict):
        raise InputError(f"{name} cannot be read (it holds no table): give {wanted}.")
    return values


def _text(value: Any) -> str:
    """A word of a file; YAML reads an unquoted NO as False."""
    return "NO" if value is None or value is False else str(value)


def _flag(value: Any) -> str:
    return "false" if str(value or False).lower() in ("false", "none") else "true"
