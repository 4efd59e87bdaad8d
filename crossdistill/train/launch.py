"""What accelerate makes of a launch: of its file or this process's environment, and of the trainer's options."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from crossdistill.errors import InputError
from crossdistill.inspection.memory import Engine
from crossdistill.train.launch_file import PARTS, UNKNOWN, of_deepspeed, of_file, of_options
from crossdistill.train.preflight.launch import APART, check_launch, is_set


@dataclass(frozen=True)
class Launch:
    """A launch.

    Attributes:
        asked: the engine that is asked for.
        engine: the one that runs.
        num_processes: in all.
        is_on_cpu: whether the run computes there.
        offloads: whether weights or optimizer states are kept in host memory.
        precision: of matrix products, unless the run's configuration names one: "no", "bf16" or "fp16".
        is_first: whether this process speaks for all.
    """

    asked: Engine
    engine: Engine
    num_processes: int = 1
    is_on_cpu: bool = False
    offloads: bool = False
    precision: str = "no"
    is_first: bool = True

    @classmethod
    def of(cls, options: Mapping[str, Any], file: Path | None = None) -> "Launch":
        """Of a run.

        Args:
            options: of its trainer: ``deepspeed``, ``fsdp``, ``fsdp_config``, ``use_cpu`` and ``ddp_backend`` are read.
            file: that ``accelerate config`` has written; None: as this process was started, on its devices.

        Raises:
            InputError: a file cannot be read, or the launch asks for what cannot run.
            FindingError: each process would train by itself.
        """
        if file is not None:
            return cls.of_variables(of_file(file), options)
        return cls.of_variables(os.environ, options, torch.accelerator.is_available())

    @classmethod
    def of_variables(
        cls, variables: Mapping[str, str], options: Mapping[str, Any], has_device: bool = True
    ) -> "Launch":
        """Of the variables that ``accelerate launch`` sets.

        Args:
            variables: of the environment.
            options: as above.
            has_device: whether there is a GPU.

        Raises:
            InputError, FindingError: as above.
        """
        check_launch(variables)
        if config := variables.get("ACCELERATE_DEEPSPEED_CONFIG_FILE"):
            variables = {**variables, **of_deepspeed(config)}
        variables = {**variables, **of_options(options)}
        is_left_open = options.get("use_cpu") is None and not has_device  # the trainer then computes on the CPU
        count, uses_cpu = int(variables.get("WORLD_SIZE", "1")), is_set("ACCELERATE_USE_CPU", variables) or is_left_open
        asked = _asked(variables, count)
        if count > 1 and not (uses_cpu or has_device or (asked.is_deepspeed and options.get("ddp_backend") == "gloo")):
            raise APART.error(launched=count)
        devices = [variables.get(f"ACCELERATE_DEEPSPEED_OFFLOAD_{part.upper()}_DEVICE", "none") for part in PARTS]
        can_shard = not uses_cpu and (asked.is_deepspeed or (has_device and "WORLD_SIZE" in variables))
        return cls(
            asked,
            _running(asked, count, can_shard),
            count,
            uses_cpu or not has_device,
            is_set("FSDP_OFFLOAD_PARAMS", variables) or any(device.lower() not in ("none", "no") for device in devices),
            variables.get("ACCELERATE_MIXED_PRECISION", "no").lower(),
            variables.get("RANK", "0") == "0",
        )

    def sentences(self) -> Iterator[str]:
        """What will run, and what is not as it was asked for."""
        count = self.num_processes
        device = "the CPU" if self.is_on_cpu else ("a GPU" if count == 1 else "a GPU each")
        yield f"{self.engine}, {count} process{'es' if count > 1 else ''}, on {device}"
        if self.engine is not self.asked:
            yield f"{self.asked} was asked for: " + (
                "accelerate does not use it on a CPU, so each process holds the whole student"
                if self.is_on_cpu
                else "there is one process alone"
            )
        if self.offloads:
            yield "weights or optimizer are offloaded to host memory, which the estimate does not take off"


def _asked(variables: Mapping[str, str], count: int) -> Engine:
    if is_set("ACCELERATE_USE_MEGATRON_LM", variables):
        raise InputError(UNKNOWN.format(asked="Megatron-LM"))
    if is_set("ACCELERATE_USE_DEEPSPEED", variables):
        return _known(_ZERO, variables.get("ACCELERATE_DEEPSPEED_ZERO_STAGE", "2"), "ZeRO-{}")
    if is_set("ACCELERATE_USE_FSDP", variables):
        return _known(_FSDP, variables.get("FSDP_VERSION", "1"), "FSDP {}")
    return Engine.DDP if count > 1 else Engine.ONE


_ZERO = {"2": Engine.ZERO2, "3": Engine.ZERO3}
_FSDP = {"2": Engine.FSDP}


def _known(engines: Mapping[str, Engine], version: str, name: str) -> Engine:
    if version not in engines:
        raise InputError(UNKNOWN.format(asked=name.format(version)))
    return engines[version]


def _running(asked: Engine, count: int, can_shard: bool) -> Engine:
    """The engine that runs: if that which is asked for cannot, accelerate trains with DDP."""
    if can_shard and asked not in (Engine.ONE, Engine.DDP):
        return asked
    return Engine.DDP if count > 1 else Engine.ONE
