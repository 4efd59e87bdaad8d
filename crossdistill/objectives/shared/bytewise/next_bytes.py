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
from crossdistill.objectives.shared.bytewise.byte_prefixes import on, prefixes_of
from crossdistill.objectives.shared.bytewise.token_offsets import TokenOffsets
from crossdistill.objectives.shared.inputs import AlignedBatch
from crossdistill.objectives.shared.vocab_pair import VocabPair
from crossdistill.ops import HiddenStates
from crossdistill.ops.logprobs import TILE_ELEMENTS

_TILE_COPIES = 4  # of a tile of logits, most of them in float64
NEGLIGIBLE = 1e-12
"""Where the teacher gives what was read less than this, what it says of the next byte is not used: differences of
cumulated probabilities would be rounding."""


@dataclass(frozen=True)
class ByteSlots:
    """The bytes that heads predict, in the order of the student's tokens.

    Attributes:
        tokens: int64 [B], the student token that each byte is of. places: int64 [B], which of its bytes.
        rows: int64 [B], the teacher token that it is of. prefixes: the bytes of that token before it.
        symbols: int64 [B], what it is; STOP at a stop unit.
        splits: int64 [N_S + 1], the bytes of each student token.
        num_left_out: bytes that are none of these: beyond the heads, or inside a teacher token whose normaliser
            rewrote it, so that nothing is known of its inside.
    """

    tokens: np.ndarray
    places: np.ndarray
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
        places = np.arange(len(tokens)) - np.repeat(np.cumsum(counts) - counts, counts)
        positions, chunks = token_offsets.starts[tokens] + places, token_offsets.chunks[tokens]
        begins_chunk = positions == alignment.byte_splits[chunks]
        rows = np.searchsorted(token_offsets.teacher_ends, positions, side="right")
        rows = np.where(begins_chunk, alignment.teacher_splits[chunks], rows)  # where a token without bytes comes first
        offsets = positions - np.append(0, token_offsets.teacher_ends)[rows]
        symbols = np.frombuffer(token_offsets.data, dtype=np.uint8)[positions].astype(np.int64)
        symbols[batch.is_stop[chunks]] = STOP
        known = (offsets == 0) | token_offsets.spelled[chunks]
        tokens, places, rows, symbols = tokens[known], places[known], rows[known], symbols[known]
        spans = zip((positions - offsets)[known].tolist(), positions[known].tolist(), strict=True)
        prefixes = [token_offsets.data[start:end] for start, end in spans]
        splits = np.searchsorted(tokens, np.arange(len(counts) + 1))
        return cls(tokens, places, rows, prefixes, symbols, splits, int(lengths.sum()) - len(tokens))


class NextBytes(NamedTuple):
    """What the teacher says of each byte, constant.

    log_probs: nats, [B, 257] or, where the end is not taught, [B, 256]; each row sums to 1. ended: probability, [B],
    that its token would have ended before this byte, which is left out of them. usable: bool [B], see NEGLIGIBLE;
    elsewhere the row means nothing.
    """

    log_probs: Tensor
    ended: Tensor
    usable: Tensor


class ByteBounds:
    """Where, among a teacher's tokens in the order of their bytes, those begin that go on with each byte.

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
        """Where each part of the tokens that begin with `prefix` begins in `order`, and the last ends: int64 [258].

        First what equals it, then what goes on with each of the 256 values.
        """
        low, high = self._tables.within(prefix)
        size = len(prefix)
        longer = low + int((self._lengths[low:high] == size).sum())  # what equals the prefix stands first
        following = self._bytes[self._starts[longer:high] + size]
        return np.concatenate([[low], longer + np.searchsorted(following, np.arange(256)), [high]])


_BOUNDS: "WeakKeyDictionary[VocabPair, ByteBounds]" = WeakKeyDictionary()


def bounds_of(pair: VocabPair) -> ByteBounds:
    """Those of a pair's teacher, made once."""
    if pair not in _BOUNDS:
        _BOUNDS[pair] = ByteBounds(pair)
    return _BOUNDS[pair]


class _NextByteQueries:
    """The slots as tensors: bounds int64 [U, 258] of the U prefixes, on the device of the teacher's head."""

    def __init__(self, slots: ByteSlots, pair: VocabPair, device: torch.device):
        bounds, number = bounds_of(pair), {prefix: k for k, prefix in enumerate(dict.fromkeys(slots.prefixes))}
        table = np.array([bounds(prefix) for prefix in number], dtype=np.int64)
        which = np.fromiter((number[prefix] for prefix in slots.prefixes), dtype=np.int64, count=len(slots.prefixes))
        self._bounds, self._which = on(table.reshape(-1, 258), device), on(which, device)
        self._begins = on(np.array([not prefix for prefix in slots.prefixes], dtype=bool), device)
        stops = np.array(pair.teacher_stops, dtype=np.int64)
        self._columns = on(np.concatenate([[0], bounds.order, stops]), device)  # the first is a place-holder
        self._num_spelled = len(bounds.order)

    def masses(self, logits: Tensor, rows: Tensor, asked: Tensor) -> Tensor:
        """Probability of what equals the prefix, of what goes on with each byte, and of the end: float64 [Q, 258].

        logits: [R, V_T]. rows, asked: int64 [Q], of each question the row and the slot.
        """
        spelled = logits.index_select(1, self._columns)  # control tokens are ruled out
        spelled[:, 0] = -torch.inf  # up to the first token there is nothing
        upto = spelled.softmax(-1, dtype=torch.float64).cumsum_(-1)
        parts = upto[rows[:, None], self._bounds[self._which[asked]]].diff(dim=-1)
        stop = (upto[:, -1] - upto[:, self._num_spelled])[rows]
        return torch.cat([parts, torch.where(self._begins[asked], stop, 0.0)[:, None]], dim=-1).clamp_(min=0)


@torch.no_grad()
def next_bytes(
    slots: ByteSlots, pair: VocabPair, states: HiddenStates, device: torch.device, tile_elements: int = TILE_ELEMENTS
) -> NextBytes:
    """P(byte = x) = mass(prefix + x) / sum over y of mass(prefix + y).

    mass(b) is the probability of the tokens that begin with b. At the first byte of a teacher's token the end of the
    response, by any of the teacher's stop tokens, is one more symbol. Every teacher row that is asked for is computed
    once, and a tile of logits lives at a time.
    """
    head, source = states.head, states.head.weight.device
    questions = _NextByteQueries(slots, pair, source)
    dtype = torch.promote_types(head.weight.dtype, torch.float32)
    masses = torch.empty(len(slots.rows), NUM_SYMBOLS + 1, dtype=dtype, device=device)
    reached = torch.empty(len(slots.rows), dtype=torch.float64, device=device)
    used, row_of = np.unique(slots.rows, return_inverse=True)
    by_row = np.argsort(row_of, kind="stable")
    token_offsets = np.searchsorted(row_of[by_row], np.arange(len(used) + 1))
    step = max(1, tile_elements // (_TILE_COPIES * head.vocab_size))
    for start in range(0, len(used), step):
        asked = by_row[token_offsets[start] : token_offsets[min(start + step, len(used))]]
        hidden = states.hidden[on(used[start : start + step], states.hidden.device)].to(source)
        found = questions.masses(head.logits(hidden), on(row_of[asked] - start, source), on(asked, source))
        whole = found[:, 1:].sum(-1, keepdim=True)
        found /= torch.cat([found[:, :1] + whole, whole.expand(-1, NUM_SYMBOLS)], dim=-1)
        masses[on(asked, device)] = found.to(masses)
        reached[on(asked, device)] = whole[:, 0].to(device)
    usable = reached > NEGLIGIBLE
    log_probs = masses[:, 1:].log().masked_fill_(~usable[:, None], 0.0)
    num_symbols = NUM_SYMBOLS if pair.teacher_stops else STOP
    return NextBytes(log_probs[:, :num_symbols], masses[:, 0].masked_fill(~usable, 0.0), usable)
