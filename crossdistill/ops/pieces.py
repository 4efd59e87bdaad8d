"""Logits a few rows at a time, in memory that is used again.

Shapes: N positions, H hidden size, V logits of a head. A product of many rows is nearer to the rate of the machine, and
a function of a few rows stays in a CPU's cache; memory that is new costs a CPU more than most functions of it, because
the system zeroes it. So rows are multiplied by the tile, and handed out by the piece.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from crossdistill.ops.head import LMHead
from crossdistill.ops.products import raw_into

TILE_ELEMENTS = 2**24  # logits to hold at once: 64 MiB in float32
PIECE_ELEMENTS = 2**20
"""Logits of a piece on a CPU: its cache holds them."""
PIECE_ELEMENTS_ELSEWHERE = 2**24
"""On other devices, to which a function of few rows is no work."""


def pieces(rows: slice, width: int, device: torch.device) -> Iterator[slice]:
    """Consecutive rows in pieces.

    Args:
        rows: with a start and a stop.
        width: numbers in a row.
        device: where they are.

    Example:
        >>> list(pieces(slice(4, 9), PIECE_ELEMENTS // 3, torch.device("cpu")))
        [slice(4, 7, None), slice(7, 9, None)]
    """
    elements = PIECE_ELEMENTS if device.type == "cpu" else PIECE_ELEMENTS_ELSEWHERE
    step = max(1, elements // width)
    for start in range(rows.start, rows.stop, step):
        yield slice(start, min(start + step, rows.stop))


def tiles(num_rows: int, rows: int) -> Iterator[slice]:
    """All rows in tiles of at most `rows`."""
    for start in range(0, num_rows, rows):
        yield slice(start, min(start + rows, num_rows))


def autocast_now(device: torch.device) -> dict[str, Any]:
    """The arguments of ``torch.autocast`` that are in force, for a backward pass that computes logits again."""
    kind = device.type
    return {
        "device_type": kind,
        "enabled": torch.is_autocast_enabled(kind),
        "dtype": torch.get_autocast_dtype(kind),
    }


class LogitTiles:
    """Raw logits of a head, of a tile at a time.

    Args:
        head: the head.
        rows: of the largest tile.
    """

    def __init__(self, head: LMHead, rows: int):
        dtype = torch.promote_types(head.weight.dtype, torch.float32)
        self._head = head
        self._memory = torch.empty(rows, head.vocab_size, dtype=dtype, device=head.weight.device)

    def raw(self, hidden: Tensor) -> Tensor:
        """``LMHead.raw(hidden)``, [rows, V], valid until the next call; whoever gets it may write to it."""
        out = self._memory[: len(hidden)]
        raw_into(self._head, hidden, out)
        return out


@torch.no_grad()
def logit_pieces(
    hidden: Tensor, head: LMHead, temperature: float = 1.0, tile_elements: int = TILE_ELEMENTS
) -> Iterator[tuple[slice, Tensor]]:
    """The logits of a few rows at a time, divided by a temperature. No gradient.

    Args:
        hidden: [N, H].
        head: the head; the states are moved to its device.
        temperature: divides the logits.
        tile_elements: logits to hold at once.

    Yields:
        The rows, and their logits [rows, V], float32 at least, valid until the next ones; they may be written to.

    Example:
        >>> head = LMHead(torch.eye(2), scale=2.0)
        >>> [(rows, logits.tolist()) for rows, logits in logit_pieces(torch.tensor([[1.0, 3.0]]), head)]
        [(slice(0, 1, None), [[2.0, 6.0]])]
    """
    device = head.weight.device
    size = max(1, min(len(hidden), tile_elements // head.vocab_size))
    memory = LogitTiles(head, size) if len(hidden) else None
    for tile in tiles(len(hidden), size):
        assert memory is not None
        raw = memory.raw(hidden[tile].to(device))
        for piece in pieces(tile, head.vocab_size, device):
            logits = head.finish(raw[piece.start - tile.start : piece.stop - tile.start])
            yield piece, logits if temperature == 1 else logits.div_(temperature)
