"""What accelerate makes of a launch: a configuration file, or the environment that ``accelerate launch`` leaves."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from crossdistill.errors import InputError
from crossdistill.inspection.memory import Engine

_UNKNOWN = "the launch asks for {asked}, which no run was made with: choose one of DDP, FSDP 2, ZeRO-2 and ZeRO-3."


@dataclass(frozen=True)
class Launch:
    """A launch.

    Attributes:
        asked: the engine that is asked for.
        num_processes: in all.
        is_on_cpu: whether it says so itself.
        offloads: whether weights or optimizer states are kept in host memory.
        precision: of matrix products, unless the run's configuration names one: "no", "bf16" or "fp16".
        is_first: whether this process speaks for all.
    """

    asked: Engine
    num_processes: int = 1
    is_on_cpu: bool = False
    offloads: bool = False
    precision: str = "no"
    is_first: bool = True

    @classmethod
    def from_file(cls, path: Path) -> "Launch":
        """Of a file that ``accelerate config`` writes.

        Raises:
            InputError: it cannot be read, or asks for what cannot run.
        """
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"the launch {path} cannot be read ({reason}): give accelerate's YAML file.") from None
        if not isinstance(values, dict) or "distributed_type" not in values:
            raise InputError(f"{path} names no distributed_type: give a file that `accelerate config` writes.")
        kind = str(values["distributed_type"])
        fsdp, deepspeed = values.get("fsdp_config") or {}, values.get("deepspeed_config") or {}
        if "deepspeed_config_file" in deepspeed:
            raise InputError(
                f"{path} leaves the stage to {deepspeed['deepspeed_config_file']}: name zero_stage in it, or start "
                "`accelerate launch --config_file FILE -m crossdistill doctor --run RUN`, which reads what it does."
            )
        offloads = [fsdp.get("fsdp_offload_params"), *(deepspeed.get(f"offload_{part}_device") for part in _PARTS)]
        return cls(
            _engine(kind, fsdp.get("fsdp_version", 1), deepspeed.get("zero_stage", 2)),
            int(values.get("num_processes", 1)),
            bool(values.get("use_cpu", False)) or kind == "MULTI_CPU",
            any(value not in (None, False, "none", "false") for value in offloads),
            str(values.get("mixed_precision", "no")),
        )

    @classmethod
    def from_environment(cls, variables: Mapping[str, str] = os.environ) -> "Launch":
        """Of this process, as ``accelerate launch`` has started it; one process by itself otherwise."""

        def is_set(name: str) -> bool:
            return variables.get(name, "false").lower() == "true"

        num_processes = int(variables.get("WORLD_SIZE", "1"))
        kind = "NO" if num_processes == 1 else "MULTI_GPU"
        for name, engine in (("ACCELERATE_USE_FSDP", "FSDP"), ("ACCELERATE_USE_DEEPSPEED", "DEEPSPEED")):
            kind = engine if is_set(name) else kind
        stages = variables.get("FSDP_VERSION", "1"), variables.get("ACCELERATE_DEEPSPEED_ZERO_STAGE", "2")
        offload = [variables.get(f"ACCELERATE_DEEPSPEED_OFFLOAD_{part.upper()}_DEVICE", "none") for part in _PARTS]
        return cls(
            _engine(kind, *stages),
            num_processes,
            is_set("ACCELERATE_USE_CPU"),
            is_set("FSDP_OFFLOAD_PARAMS") or any(device != "none" for device in offload),
            variables.get("ACCELERATE_MIXED_PRECISION", "no"),
            variables.get("RANK", "0") == "0",
        )

    def engine(self, is_on_cpu: bool) -> Engine:
        """The engine that runs: accelerate trains with DDP if FSDP is asked for on a CPU.

        Args:
            is_on_cpu: whether the run computes there.
        """
        if self.asked is Engine.FSDP and is_on_cpu:
            return Engine.DDP if self.num_processes > 1 else Engine.ONE
        return Engine.ONE if self.asked is Engine.DDP and self.num_processes == 1 else self.asked

    def sentences(self, is_on_cpu: bool) -> Iterator[str]:
        """What will run, and what is not as it was asked for.

        Args:
            is_on_cpu: whether the run computes there.
        """
        engine, count = self.engine(is_on_cpu), self.num_processes
        device = "the CPU" if is_on_cpu else ("a GPU" if count == 1 else "a GPU each")
        yield f"{engine}, {count} process{'es' if count > 1 else ''}, on {device}"
        if engine is not self.asked:
            yield f"{self.asked} was asked for: " + (
                "accelerate does not use it on a CPU, so each process holds the whole student"
                if is_on_cpu
                else "there is one process alone"
            )
        if self.offloads:
            yield "weights or optimizer are offloaded to host memory, which the estimate does not take off"


_PARTS = "optimizer", "param"


def _engine(kind: str, fsdp_version: Any, zero_stage: Any) -> Engine:
    if kind == "FSDP" and str(fsdp_version) != "2":
        raise InputError(_UNKNOWN.format(asked=f"FSDP {fsdp_version}"))
    if kind == "DEEPSPEED":
        engine = {"2": Engine.ZERO2, "3": Engine.ZERO3}.get(str(zero_stage))
    else:
        engine = {"NO": Engine.ONE, "MULTI_GPU": Engine.DDP, "MULTI_CPU": Engine.DDP, "FSDP": Engine.FSDP}.get(kind)
    if engine is None:
        raise InputError(_UNKNOWN.format(asked=f"ZeRO-{zero_stage}" if kind == "DEEPSPEED" else kind))
    return engine
