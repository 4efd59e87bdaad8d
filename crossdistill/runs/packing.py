"""Examples that share a row, packed or without padding, must not see each other."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from crossdistill.errors import InputError
from crossdistill.findings import Kind, Severity, When
from crossdistill.ops.mode import in_mode

EXAMPLES_SEE_EACH_OTHER = Kind(
    "examples_see_each_other",
    Severity.REFUSAL,
    When.LOADING,
    "the student's architecture ({model}) does not keep examples apart that share a row, so that each would be learnt "
    "as a continuation of the ones before it: leave packing and padding_free out.",
    "the student learns answers to prompts that it reads after others' answers",
)


def check_packing_strategy(args: Any) -> None:
    """Check that packing keeps examples whole.

    Args:
        args: a ``trl.SFTConfig``.

    Raises:
        InputError: it would cut them.
    """
    if args.packing and args.packing_strategy == "wrapped":
        raise InputError(
            "packing_strategy = 'wrapped' cuts examples, and what is left of one follows another's end: leave it out, "
            "the default strategy packs whole examples."
        )


def check_apart(model: Any, collate: Any, ids: Sequence[int]) -> None:
    """Check on a few tokens that a model reads an example alike whatever comes before it in its row.

    Args:
        model: a Hugging Face causal language model, perhaps with adapters.
        collate: the trainer's collator, which makes one row of several examples.
        ids: token ids; at least two different ones.

    Raises:
        FindingError: it does not.
    """
    with torch.no_grad(), in_mode(model, training=False):
        logits = [_logits_of_last(model, collate, first, ids) for first in (ids, ids[::-1])]
    difference = (logits[0] - logits[1]).abs().max()
    if difference > 1e-2 * logits[0].std():
        raise EXAMPLES_SEE_EACH_OTHER.error(model=type(model).__name__)


def _logits_of_last(model: Any, collate: Any, first: Sequence[int], last: Sequence[int]) -> Tensor:
    row = collate([{"input_ids": list(ids), "labels": list(ids)} for ids in (first, last)])
    del row["labels"]
    device = next(model.parameters()).device
    inputs = {key: value.to(device) if isinstance(value, Tensor) else value for key, value in row.items()}
    logits: Tensor = model(**inputs, use_cache=False).logits[0, -len(last) :]
    return logits.float()
