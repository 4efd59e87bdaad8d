"""Tools in several processes: each process takes as many turns as its own responses ask for."""

import os
from collections.abc import Sequence
from typing import Any

from transformers.integrations import is_deepspeed_zero3_enabled

from crossdistill.findings import Kind, Severity, When
from crossdistill.train.config import CrossTokenizerConfig

TURNS_APART = Kind(
    "tools_of_several_processes",
    Severity.REFUSAL,
    When.BEFORE_WEIGHTS,
    "{processes} processes cannot call tools with {engine}: they sample together, and each takes as many turns as its "
    "own responses ask for. Train with DDP or ZeRO-2, let each process sample with a vLLM of its own "
    '(vllm_mode = "colocate"), or use one process.',
    "the processes would wait for each other forever, or crash",
)


def asks_for_sharding(args: CrossTokenizerConfig) -> bool:
    """Whether the launch or the configuration asks for FSDP or ZeRO-3, as far as it is known before weights are read.

    Args:
        args: the trainer's configuration.
    """
    asks_for_fsdp = bool(args.fsdp) or os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"
    return is_deepspeed_zero3_enabled() or (asks_for_fsdp and args.device.type != "cpu")


def check_turns(tools: Sequence[Any] | None, args: CrossTokenizerConfig, is_sharded: bool) -> None:
    """Check that processes that sample together do not call tools.

    Args:
        tools: that the student may call.
        args: the trainer's configuration.
        is_sharded: whether each process holds a part of the student alone.

    Raises:
        FindingError: they do.
    """
    engine = _sampled_together(args, is_sharded) if tools and args.world_size > 1 else None
    if engine is not None:
        raise TURNS_APART.error(processes=args.world_size, engine=engine)


def _sampled_together(args: CrossTokenizerConfig, is_sharded: bool) -> str | None:
    """What all processes must ask for each turn; None if each samples by itself."""
    if not args.use_vllm:
        return "FSDP or ZeRO-3" if is_sharded else None
    if args.vllm_mode == "server":
        return "a vLLM server"
    size = args.vllm_tensor_parallel_size
    return f"vllm_tensor_parallel_size = {size}" if size > 1 else None
