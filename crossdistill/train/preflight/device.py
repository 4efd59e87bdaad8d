"""Where a run computes if its configuration leaves it open: without an accelerator on the CPU, in float32."""

import platform
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from crossdistill.findings import Finding, Kind, Severity, When

ON_CPU = Kind(
    "on_cpu",
    Severity.WARNING,
    When.BEFORE_WEIGHTS,
    "torch sees no GPU here, so this computes on the CPU, in {precision}. If there is one, install a torch for it "
    "(`crossdistill doctor`); to be told nothing, set use_cpu and bf16.",
    "a run that is meant for a GPU takes many times as long",
)
SLOW_BFLOAT16 = Kind(
    "slow_bfloat16",
    Severity.WARNING,
    When.BEFORE_WEIGHTS,
    "this computes in bfloat16 on a CPU without instructions for it (torch uses its {capability}): set bf16 = false to "
    "compute in float32.",
    "a matrix product takes 75 times as long as in float32 (0.84 against 63 GFLOP/s, one core of an AMD EPYC)",
)
_PRECISIONS = {"no": "float32", "bf16": "bfloat16", "fp16": "float16"}


def cpu_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that a trainer on the CPU needs, which those of transformers and TRL do not have by default.

    Args:
        options: of the trainer; ``use_cpu`` and ``bf16`` are read.

    Returns:
        ``use_cpu`` and ``bf16``; nothing if the options say where to compute, or if there is an accelerator.

    Example:
        >>> cpu_options({"use_cpu": False})
        {}
    """
    if options.get("use_cpu") is not None or torch.accelerator.is_available():
        return {}
    return {"use_cpu": True, "bf16": bool(options.get("bf16"))}


def device_findings(options: Mapping[str, Any], precision: str) -> Iterator[Finding]:
    """A CPU that nobody asked for, or that has no instructions for the precision.

    Args:
        options: as given, before :func:`cpu_options` was added.
        precision: of matrix products: "no", "bf16" or "fp16".
    """
    if cpu_options(options):
        yield ON_CPU(precision=_PRECISIONS.get(precision, precision))
    is_on_cpu = options.get("use_cpu") or not torch.accelerator.is_available()
    if is_on_cpu and precision == "bf16" and not multiplies_bfloat16():
        yield SLOW_BFLOAT16(capability=torch.backends.cpu.get_cpu_capability())


def multiplies_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 at a speed of its own: oneDNN needs AVX-512 for that on x86."""
    is_x86 = platform.machine().lower() in ("x86_64", "amd64")
    return not is_x86 or torch.backends.cpu.get_cpu_capability() not in ("DEFAULT", "AVX2")
