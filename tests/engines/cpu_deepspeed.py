"""DeepSpeed on a CPU, with models so small that ZeRO-3 would partition none of their weights."""

from typing import Any

import torch
from accelerate.utils import DeepSpeedPlugin
from transformers import training_args

ON_A_CPU = {"use_cpu": False, "ddp_backend": "gloo"}
"""Options of a trainer."""


def allow_deepspeed() -> None:
    """From now on DeepSpeed runs over gloo alone, also in bfloat16, and ZeRO-3 partitions every weight."""
    import deepspeed

    training_args.is_torch_bf16_gpu_available = lambda: True  # transformers asks for a GPU unless use_cpu is set
    # collectives over shared memory are compiled as it starts, which takes minutes and a compiler
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    DeepSpeedPlugin.__post_init__ = _with_small_partitions(DeepSpeedPlugin.__post_init__)


def _with_small_partitions(init: Any) -> Any:
    def with_small_partitions(self: Any) -> None:
        init(self)
        if self.zero_stage == 3:
            self.deepspeed_config["zero_optimization"]["stage3_param_persistence_threshold"] = 0

    return with_small_partitions


def exact(parameter: torch.nn.Parameter) -> torch.Tensor:
    """The whole weight in float32, in which DeepSpeed steps if it computes in bfloat16. Every process must call it."""
    from deepspeed.utils import safe_get_full_fp32_param

    whole = safe_get_full_fp32_param(parameter) if parameter.requires_grad else None
    return parameter.detach() if whole is None else whole
