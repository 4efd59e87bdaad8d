"""Multimodal students: what no text reaches (a vision tower, say) gets no gradient and stays as it is."""

import math
from collections.abc import Iterator
from typing import Any

from crossdistill.findings import Finding, Kind, Severity, When
from crossdistill.ops.backbone import causal_lm
from crossdistill.ops.sharded import full_shape

UNREACHED = Kind(
    "parts_that_no_text_reaches",
    Severity.NOTICE,
    When.LOADING,
    "the student is multimodal, and text reaches all of it but {parts}: these {number} parameters stay as they are.",
    "nothing; the rest of the student is trained",
)


def is_multimodal(config: Any) -> bool:
    """Whether a model has a configuration for text and one for something else."""
    return config.get_text_config() is not config


def look_for_unreached(args: Any, config: Any) -> None:
    """Have DDP expect parameters without gradients, as TRL does for a student with a processor.

    Args:
        args: a configuration of TRL; one that says how to find unused parameters is kept.
        config: of the student.
    """
    reenters = (args.gradient_checkpointing_kwargs or {}).get("use_reentrant")
    if is_multimodal(config) and args.ddp_find_unused_parameters is None and not reenters:
        args.ddp_find_unused_parameters = True


def unreached_findings(student: Any) -> Iterator[Finding]:
    """The trainable parts of a student that no text reaches, if it has any.

    Args:
        student: with or without adapters.
    """
    model = causal_lm(student)
    if not is_multimodal(model.config):
        return
    layers = (model.get_decoder(), model.get_input_embeddings(), model.get_output_embeddings())
    reached = {id(value) for layer in layers for value in layer.parameters()}
    rest = {
        name.removeprefix("model."): math.prod(full_shape(value))
        for name, value in model.named_parameters()
        if value.requires_grad and id(value) not in reached
    }
    if rest:
        parts = ", ".join(dict.fromkeys(name.split(".")[0] for name in rest))
        yield UNREACHED(parts=parts, number=f"{sum(rest.values()):,}")
