"""Checks before an asynchronous run."""

from collections.abc import Mapping
from typing import Any

import torch

from crossdistill.distill import Distiller
from crossdistill.errors import InputError
from crossdistill.findings import Kind, Severity, When
from crossdistill.objectives.dpca import DPCA
from crossdistill.ops.backbone import backbone_of, causal_lm
from crossdistill.ops.mode import in_mode
from crossdistill.ops.rounding import rounding
from crossdistill.train.unsupported import check_unsupported

PACKED_TOGETHER = Kind(
    "packed_together",
    Severity.REFUSAL,
    When.LOADING,
    "{model} does not keep two responses in one row apart (its states differ by {difference}): load it with another "
    "attention, model_init_kwargs = {{'attn_implementation': 'sdpa'}}, or train synchronously.",
    "a response would be scored as if it went on from another one",
)
_OF_THE_SAMPLER = "the sampler that the worker was given has it"
_OF_TRL = "it belongs to TRL's own divergence, and the objective is the Distiller's"

UNSUPPORTED: Mapping[str, str] = {
    "add_tail_bucket": _OF_TRL,
    "beta": _OF_TRL,
    "teacher_temperature": _OF_TRL,
    "teacher_top_k": _OF_TRL,
    "chat_template_kwargs": "they are the Distiller's template_kwargs",
    "log_completions": "the worker keeps no texts",
    "max_completion_length": _OF_THE_SAMPLER,
    "max_inflight_tasks": "the pace follows from max_staleness and the samples of a step",
    "min_p": "samples come from the whole distribution",
    "queue_maxsize": "the pace bounds the queue",
    "repetition_penalty": "samples come from the whole distribution",
    "temperature": "it is the Distiller's, and the sampler's",
    "top_k": "samples come from the whole distribution",
    "top_p": "samples come from the whole distribution",
}
"""Fields of ``AsyncDistillationConfig`` -> why they are refused."""


def check_objective(distiller: Distiller) -> DPCA:
    """The objective, if its loss reads nothing but advantages.

    Raises:
        InputError: its loss reads what is not kept: the teacher's distributions, or groups.
    """
    objective = distiller.objective
    if not isinstance(objective, DPCA):
        raise InputError(
            f"objective {objective.name!r} has a loss of its own, and here only the "
            "advantages of each token reach the trainer: use objective 'dpca', or train synchronously."
        )
    return objective


def check_args(args: Any) -> None:
    """Raises InputError for settings that are not honoured here, or with which no staleness could be bounded."""
    check_unsupported(args, UNSUPPORTED)
    if args.max_staleness < 0:
        raise InputError(f"max_staleness must be at least 0, not {args.max_staleness}.")
    if args.token_budget is not None and args.token_budget > 0:
        raise InputError(
            "token_budget cannot be set here: a step must have a known number of samples, so that none gets too old; "
            "bound the memory by per_device_train_batch_size = 1 and gradient_accumulation_steps."
        )


@torch.no_grad()
def check_packing(model: Any) -> None:
    """Check that a row of two sequences has the states that each has alone.

    Args:
        model: a Hugging Face causal language model, perhaps with adapters.

    Raises:
        FindingError: it has others.
    """
    backbone, device = backbone_of(causal_lm(model)), next(model.parameters()).device
    size = model.get_input_embeddings().weight.shape[0]
    ids = torch.arange(3, 13, device=device)[None] % size
    positions = torch.arange(5, device=device)[None]

    def states(ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        output = backbone(input_ids=ids, position_ids=positions, use_cache=False)
        return output.last_hidden_state[0].float()

    with in_mode(model, training=False):
        alone = torch.cat([states(part, positions) for part in ids.split(5, dim=1)])
        together = states(ids, positions.repeat(1, 2))
    difference = (alone - together).abs().max().item()
    dtype = next(model.parameters()).dtype
    if not difference <= (1e-3 if rounding(dtype) < 1e-6 else 0.1) * max(1.0, alone.abs().max().item()):
        raise PACKED_TOGETHER.error(model=type(causal_lm(model)).__name__, difference=f"{difference:.2g}")
