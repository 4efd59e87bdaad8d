"""A teacher's distribution over its next token as one over the next byte.

Shapes: N_S student tokens, N_T teacher tokens, B bytes, V_T vocabulary, M teacher tokens that carry bytes.
"""

from dataclasses import dataclass
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from crossdistill.objectives.shared.bytewise.byte_heads import NUM_SYMBOLS, STOP
from crossdistill.objectives.shared.bytewise.byte_prefixes import prefixes_of, to_tensor
from crossdistill.objectives.shared.bytewise.token_offsets import TokenOffsets
from crossdistill.objectives.shared.inputs import AlignedBatch
from crossdistill.objectives.shared.vocab_pair import VocabPair
from crossdistill.ops import HiddenStates
from crossdistill.ops.pieces import TILE_ELEMENTS, logit_pieces

NEGLIGIBLE = 1e-12
"""If the teacher gives the bytes read so far less probability than this, its next-byte distribution is not used:
differences of cumulative probabilities would be rounding."""


@dataclass(frozen=True)
class ByteSlots:
    """The bytes that heads predict, in the order of the student's tokens.

    Attributes:
        tokens: int64 [B], the student token of each byte.
        indices: int64 [B], the index of the byte in that token.
        rows: int64 [B], the teacher token of each byte.
        prefixes: the bytes of that teacher token before it.
        symbols: int64 [B], the byte; STOP at a stop unit.
        splits: int64 [N_S + 1], the bytes of each student token.
        num_left_out: bytes of the text that are not predicted: beyond the heads, or inside a teacher token whose
            normaliser rewrote it, so that nothing is known of its inside.
    """

    tokens: np.ndarray
    indices: np.ndarray
    rows: np.ndarray
    prefixes: list[bytes]
    symbols: np.ndarray
    splits: np.ndarray
    num_left_out: int

    @classmethod
    def of(cls, batch: AlignedBatch, num_bytes: int) -> "ByteSlots":
        """The first `num_bytes` bytes of every student token."""
        alignment, token_offsets = batch.alignment, TokenOffsets.of(batch)
        lengths = np.diff(batch.student.ends.cpu().numpy(), prepend=0)
        counts = np.minimum(lengths, num_bytes)
        tokens = np.repeat(np.arange(len(counts)), counts)
        indices = np.arange(len(tokens)) - np.repeat(np.cumsum(counts) - counts, counts)
        positions, chunks = token_offsets.starts[tokens] + indices, token_offsets.chunks[tokens]
        begins_chunk = positions == alignment.byte_splits[chunks]
        rows = np.searchsorted(token_offsets.teacher_ends, positions, side="right")
        rows = np.where(begins_chunk, alignment.teacher_splits[chunks], rows)  # a token without bytes may come first
        offsets = positions - np.append(0, token_offsets.teacher_ends)[rows]
        symbols = np.frombuffer(token_offsets.data, dtype=np.uint8)[positions].astype(np.int64)
        symbols[batch.is_stop[chunks]] = STOP
        known = (offsets == 0) | token_offsets.is_verbatim[chunks]
        tokens, indices, rows, symbols = tokens[known], indices[known], rows[known], symbols[known]
        spans = zip((positions - offsets)[known].tolist(), positions[known].tolist(), strict=True)
        prefixes = [token_offsets.data[start:end] for start, end in spans]
        splits = np.searchsorted(tokens, np.arange(len(counts) + 1))
        return cls(tokens, indices, rows, prefixes, symbols, splits, int(lengths.sum()) - len(tokens))


class NextBytes(NamedTuple):
    """The teacher's distribution at each byte, constant.

    Attributes:
        log_probs: nats, [B, 257], or [B, 256] if the end is not taught; each row sums to 1.
        ended: probability, [B], that the teacher's token would have ended before this byte; `log_probs` leaves it out.
        usable: bool [B], see NEGLIGIBLE; the other rows mean nothing.
    """

    log_probs: Tensor
    ended: Tensor
    usable: Tensor


class ByteBounds:
    """Ranges of a teacher's tokens, sorted by their bytes, that continue a prefix with each byte.

    Attributes:
        order: int64 [M], see :class:`crossdistill.objectives.shared.bytewise.byte_prefixes.BytePrefixes`.
    """

    def __init__(self, pair: VocabPair):
        self._tables = prefixes_of(pair)
        self.order = self._tables.order
        pieces = [pair.teacher.pieces[token_id] for token_id in self.order.tolist()]
        self._lengths = np.fromiter(map(len, pieces), dtype=np.int64, count=len(pieces))
        self._starts = np.cumsum(self._lengths) - self._lengths
        self._bytes = np.frombuffer(b"".join(pieces), dtype=np.uint8)

    def __call__(self, prefix: bytes) -> np.ndarray:
        """Where each range of the tokens that begin with `prefix` begins in `order`, and the last ends: int64 [258].

        The first range equals the prefix, the others continue it with each of the 256 values.
        """
        low, high = self._tables.within(prefix)
        size = len(prefix)
        longer = low + int((self._lengths[low:high] == size).sum())  # tokens that equal the prefix come first
        following = self._bytes[self._starts[longer:high] + size]
        return np.concatenate([[low], longer + np.searchsorted(following, np.arange(256)), [high]])


_BOUNDS: "WeakKeyDictionary[VocabPair, ByteBounds]" = WeakKeyDictionary()


def bounds_of(pair: VocabPair) -> ByteBounds:
    """The bounds of a pair's teacher, built once."""
    if pair not in _BOUNDS:
        _BOUNDS[pair] = ByteBounds(pair)
    return _BOUNDS[pair]


class _NextByteQueries:
    """The slots as tensors: bounds int64 [U, 258] of the U prefixes, on the device of the teacher's head."""

    def __init__(self, slots: ByteSlots, pair: VocabPair, device: torch.device):
        bounds, number = bounds_of(pair), {prefix: k for k, prefix in enumerate(dict.fromkeys(slots.prefixes))}
        table = np.array([bounds(prefix) for prefix in number], dtype=np.int64)
        which = np.fromiter((number[prefix] for prefix in slots.prefixes), dtype=np.int64, count=len(slots.prefixes))
        self._bounds, self._which = to_tensor(table.reshape(-1, 258), device), to_tensor(which, device)
        self._begins = to_tensor(np.array([not prefix for prefix in slots.prefixes], dtype=bool), device)
        stops = np.array(pair.teacher_stops, dtype=np.int64)
        self._columns = to_tensor(np.concatenate([[0], bounds.order, stops]), device)  # the first is a place-holder
        self._num_with_bytes = len(bounds.order)

    def probs(self, logits: Tensor, rows: Tensor, slots: Tensor) -> Tensor:
        """Probability of tokens that equal the prefix, that continue it with each byte, and of the end.

        Args:
            logits: [R, V_T].
            rows: int64 [Q], the row of each query.
            slots: int64 [Q], the slot of each query.

        Returns:
            float64 [Q, 258].
        """
        chosen = logits.index_select(1, self._columns)  # control tokens are ruled out
        chosen[:, 0] = -torch.inf  # there is nothing before the first token
        cumulative = chosen.sub_(chosen.amax(-1, keepdim=True)).exp_().cumsum(-1, dtype=torch.float64)
        cumulative /= cumulative[:, -1:].clone()
        parts = cumulative[rows[:, None], self._bounds[self._which[slots]]].diff(dim=-1)
        stop = (cumulative[:, -1] - cumulative[:, self._num_with_bytes])[rows]
        return torch.cat([parts, torch.where(self._begins[slots], stop, 0.0)[:, None]], dim=-1).clamp_(min=0)


@torch.no_grad()
def next_bytes(
    slots: ByteSlots, pair: VocabPair, states: HiddenStates, device: torch.device, tile_elements: int = TILE_ELEMENTS
) -> NextBytes:
    """P(byte = x) = M(prefix + x) / sum over y of M(prefix + y), with M(b) the probability of tokens that begin with b.

    At the first byte of a teacher's token the end of the response, by any of the teacher's stop tokens, is one more
    symbol. Each teacher row in use is computed once, and one tile of logits is held at a time.

    Args:
        slots: the bytes to predict.
        pair: both vocabularies.
        states: the teacher's states.
        device: where the result goes.
        tile_elements: numbers of a tile.
    """
    head, source = states.head, states.head.weight.device
    queries = _NextByteQueries(slots, pair, source)
    dtype = torch.promote_types(head.weight.dtype, torch.float32)
    probs = torch.empty(len(slots.rows), NUM_SYMBOLS + 1, dtype=dtype, device=device)
    reached = torch.empty(len(slots.rows), dtype=torch.float64, device=device)
    used, row_of = np.unique(slots.rows, return_inverse=True)
    by_row = np.argsort(row_of, kind="stable")
    splits = np.searchsorted(row_of[by_row], np.arange(len(used) + 1))
    hidden = states.hidden[to_tensor(used, states.hidden.device)]
    for piece, logits in logit_pieces(hidden, head, tile_elements=tile_elements):
        in_piece = by_row[splits[piece.start] : splits[piece.stop]]
        rows = to_tensor(row_of[in_piece] - piece.start, source)
        found = queries.probs(logits, rows, to_tensor(in_piece, source))
        total = found[:, 1:].sum(-1, keepdim=True)
        found /= torch.cat([found[:, :1] + total, total.expand(-1, NUM_SYMBOLS)], dim=-1)
        probs[to_tensor(in_piece, device)] = found.to(probs)
        reached[to_tensor(in_piece, device)] = total[:, 0].to(device)
    usable = reached > NEGLIGIBLE
    log_probs = probs[:, 1:].log().masked_fill_(~usable[:, None], 0.0)
    num_symbols = NUM_SYMBOLS if pair.teacher_stops else STOP
    return NextBytes(log_probs[:, :num_symbols], probs[:, 0].masked_fill(~usable, 0.0), usable)
