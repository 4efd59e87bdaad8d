"""What a launch asked for, against what accelerate does."""

import os
from collections.abc import Iterator, Mapping

from accelerate.utils import DistributedType

from crossdistill.errors import InputError
from crossdistill.findings import Finding, Kind, Severity, When

OTHER_ENGINE = Kind(
    "other_engine",
    Severity.WARNING,
    When.LOADING,
    "{asked} was asked for, and accelerate does not use it here ({does}): each process holds the whole student, with "
    "its gradients and optimizer. {asked} needs GPUs, and use_cpu = false.",
    "memory is not shared between processes, and checkpoints have another layout than the launch asks for",
)
APART = Kind(
    "processes_apart",
    Severity.REFUSAL,
    When.BEFORE_WEIGHTS,
    "{launched} processes were launched, and accelerate lets each train by itself, because they have no GPU to "
    'communicate with: leave use_cpu out or set it to true, or with DeepSpeed on a CPU add ddp_backend = "gloo".',
    "each trains a student of its own, and they write over each other's files",
)
_ASKED_BY = {"ACCELERATE_USE_FSDP": "FSDP", "ACCELERATE_USE_DEEPSPEED": "DeepSpeed"}
_DOES = {
    DistributedType.NO: "one process trains by itself",
    DistributedType.MULTI_CPU: "on a CPU it trains with DDP",
}


def engine_findings(engine: DistributedType) -> Iterator[Finding]:
    """An engine that the launch asked for and that does not run.

    Args:
        engine: the accelerator's.
    """
    used = {DistributedType.FSDP: "FSDP", DistributedType.DEEPSPEED: "DeepSpeed"}.get(engine)
    for variable, asked in _ASKED_BY.items():
        if is_set(variable) and asked != used:
            yield OTHER_ENGINE(asked=asked, does=_DOES.get(engine, f"it trains with {engine.value}"))


def check_together(num_processes: int) -> None:
    """Check that processes that were launched together train together.

    Args:
        num_processes: that accelerate knows of.

    Raises:
        FindingError: each trains by itself.
    """
    launched = int(os.environ.get("WORLD_SIZE", "1")) if "LOCAL_RANK" in os.environ else 1
    if launched > num_processes:
        raise APART.error(launched=launched)


def check_launch(variables: Mapping[str, str] = os.environ) -> None:
    """Check that the launch does not ask for a compiled student.

    Args:
        variables: of the environment, as ``accelerate launch`` sets them.

    Raises:
        InputError: it does.
    """
    if variables.get("ACCELERATE_DYNAMO_BACKEND", "no").lower() != "no":
        raise InputError(
            "the launch asks for a compiled student (dynamo_backend), and nothing would be compiled: the loss is "
            "computed inside the student's forward pass, in its place. Launch with --dynamo_backend no."
        )


def is_set(variable: str, variables: Mapping[str, str] = os.environ) -> bool:
    """Whether a variable says so."""
    return variables.get(variable, "false").lower() == "true"
