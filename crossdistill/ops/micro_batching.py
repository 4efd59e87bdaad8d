"""Micro-batches: which rows run through a model at once.

Attention over rows of different lengths takes a mask, [rows, T, T] for a longest row of T tokens: flash and flex
attention never hold it, torch's (sdpa) and eager attention do, several times over. Rows of one length need none. So
long rows run alone or with rows of their own length, and the memory of a pass grows with its tokens.
"""

from collections.abc import Sequence
from typing import Any

from crossdistill.ops.backbone import causal_lm

MICRO_BATCH_TOKENS = 8192
"""Tokens of a micro-batch, padding included, by default."""
LONGEST_PADDED = 2048
"""Tokens of the longest row next to which others are padded if the attention holds a mask: the masks of a micro-batch
then take no more than 16 MiB as booleans and 64 MiB as numbers, and a longer row occupies a device by itself."""


def micro_batches(
    lengths: Sequence[int],
    max_tokens: int = MICRO_BATCH_TOKENS,
    max_rows: int | None = None,
    holds_mask: bool = True,
) -> list[list[int]]:
    """Put rows of similar length together, the longest first.

    Args:
        lengths: tokens of each row.
        max_tokens: of a micro-batch, padding included; a longer row runs alone.
        max_rows: of a micro-batch; None if there is no limit.
        holds_mask: whether the attention holds the mask of padded rows (:func:`holds_mask`).

    Returns:
        The rows of each micro-batch.

    Example:
        >>> micro_batches([10, 500, 12, 490], max_tokens=1000)
        [[1, 3], [2, 0]]
        >>> micro_batches([3000, 2999, 3000])
        [[0, 2], [1]]
    """
    batches: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        batch = batches[-1] if batches else []
        longest = lengths[batch[0]] if batch else 0
        if (
            not batch
            or longest * (len(batch) + 1) > max_tokens
            or len(batch) == max_rows
            or (holds_mask and LONGEST_PADDED < longest != lengths[row])
        ):
            batches.append([row])
        else:
            batch.append(row)
    return batches


def split_further(batches: Sequence[Sequence[int]], lengths: Sequence[int], count: int) -> list[list[int]]:
    """Halve the largest micro-batches until there are `count`, or each is a row: as many as another process has.

    Args:
        batches: the rows of each.
        lengths: tokens of each row.
        count: wanted.

    Example:
        >>> split_further([[1, 3], [2, 0]], lengths=[10, 500, 12, 490], count=3)
        [[1], [3], [2, 0]]
    """
    found = [list(batch) for batch in batches]
    while len(found) < min(count, len(lengths)):
        sizes = [lengths[batch[0]] * len(batch) if len(batch) > 1 else 0 for batch in found]
        place = sizes.index(max(sizes))
        batch = found[place]
        middle = (len(batch) + 1) // 2
        found[place : place + 1] = [batch[:middle], batch[middle:]]
    return found


def holds_mask(model: Any) -> bool:
    """Whether a model's attention holds the mask of padded rows in memory: all but flash and flex attention do.

    Args:
        model: a Hugging Face model, perhaps with adapters.

    Example:
        >>> from transformers import LlamaConfig, LlamaForCausalLM
        >>> sizes = {"hidden_size": 4, "intermediate_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1}
        >>> holds_mask(LlamaForCausalLM(LlamaConfig(vocab_size=8, **sizes)))
        True
    """
    attention = str(getattr(causal_lm(model).config, "_attn_implementation", None))
    return not ("flash" in attention or "flex" in attention)
