"""Whether training can change the student: trainable weights, of a precision in which a step is not rounded away."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from crossdistill.findings import Finding, Kind, Severity, When
from crossdistill.ops.sharded import full_shape

NOTHING_TRAINABLE = Kind(
    "nothing_trainable",
    Severity.REFUSAL,
    When.LOADING,
    "none of the student's {count:,} weights is trainable (requires_grad is False): load an adapter with "
    "is_trainable = True, or call model.requires_grad_().",
    "nothing is learnt",
)
STEPS_ROUNDED_AWAY = Kind(
    "steps_rounded_away",
    Severity.WARNING,
    When.LOADING,
    "the student's trainable weights are {dtype}, and {share:.1%} of them are so large that a step of learning_rate = "
    "{rate:g} is rounded away: load them in float32 (model_init_kwargs = {{dtype = 'float32'}}, or dtype=torch.float32 "
    "of from_pretrained; bf16 = true computes in bfloat16 all the same), or raise learning_rate.",
    "these weights never change, however long the run, and no figure shows it",
)

_MOST = 0.5  # share of the weights that may be rounded away without a word
_SAMPLE = 65_536  # weights of a parameter that are looked at


def trainable_findings(model: nn.Module, args: Any, is_sharded: bool = False) -> Iterator[Finding]:
    """What keeps training from changing a model.

    Args:
        model: the student, perhaps with adapters.
        args: the trainer's configuration.
        is_sharded: whether FSDP or DeepSpeed trains it, which step on weights of their own in float32.

    Yields:
        A refusal if nothing is trainable; a warning if most weights would not change.
    """
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trainable:
        yield NOTHING_TRAINABLE(count=sum(math.prod(full_shape(parameter)) for parameter in model.parameters()))
    if not trainable or is_sharded or "stochastic" in str(args.optim_args):
        return
    total = sum(parameter.numel() for parameter in trainable)
    fixed = sum(_share_fixed(parameter, args.learning_rate) * parameter.numel() for parameter in trainable)
    if fixed > _MOST * total:
        dtypes = sorted({str(parameter.dtype).removeprefix("torch.") for parameter in trainable})
        yield STEPS_ROUNDED_AWAY(dtype=" and ".join(dtypes), share=fixed / total, rate=args.learning_rate)


def _share_fixed(parameter: Tensor, rate: float) -> float:
    """Share of a parameter's weights that a step away from zero, of Adam's size, leaves as they are."""
    weights = parameter.detach().flatten()[:: max(1, parameter.numel() // _SAMPLE)]
    if weights.dtype not in (torch.bfloat16, torch.float16):
        return 0.0
    stepped = weights.float() + torch.full_like(weights, rate, dtype=torch.float32).copysign(weights)
    return float((stepped.to(weights.dtype) == weights).float().mean())
