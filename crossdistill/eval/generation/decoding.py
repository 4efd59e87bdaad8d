"""Decodes many responses in a batch that changes: a finished row leaves it at once, and a waiting one takes its place.

``generate`` of transformers ends with its longest row, and its continuous batching (``generate_batch``) draws the
samples of all requests from one seed and hands them over at the end. Here a response depends on its own random numbers
alone, up to the rounding of floating-point sums, and is handed over when it ends.
"""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from crossdistill.eval.generation import rows_of_cache
from crossdistill.eval.generation.by_generate import decode_by_generate
from crossdistill.eval.generation.choice import choose
from crossdistill.eval.generation.row import Row, Settings
from crossdistill.ops.contiguous import contiguous_head_input

_ALIKE = 0.8  # of the length of a prompt
_FREE_SHARE = 4  # new rows enter if a quarter of the batch is free: each entry copies the cache once


class Batch:
    """Rows that are decoded side by side.

    Args:
        model: a Hugging Face causal language model in evaluation mode, whose cache's rows can be changed.
        settings: of the decoding.

    Attributes:
        rows: that are not finished.
    """

    def __init__(self, model: Any, settings: Settings):
        self.rows: list[Row] = []
        self._model, self._settings = model, settings
        self._arguments = rows_of_cache.arguments_of(model)
        self._cache = rows_of_cache.new_cache(model.config)
        self._mask = torch.zeros(0, 0, dtype=torch.long)  # [rows, length], 1 at tokens
        self._logits = torch.zeros(0)  # float32 [rows, vocabulary], of each row's next token

    def enter(self, waiting: deque[Row]) -> None:
        """Take rows from the front of `waiting`, as many as have room, unless the batch is still full enough."""
        free = num_entering(waiting, self.rows, self._settings.batch_tokens)
        if free > 0 and free * _FREE_SHARE >= free + len(self.rows):
            for rows in alike([waiting.popleft() for _ in range(free)]):
                self._add(rows)

    def step(self) -> list[Row]:
        """Write one token of each row; the rows that end with it leave the batch."""
        uniforms = [row.random.random() if self._settings.temperature else 0.0 for row in self.rows]
        chosen = choose(self._logits, self._settings.temperature, self._settings.top_p, uniforms)
        for row, token in zip(self.rows, chosen.tolist(), strict=True):
            row.ids.append(token)
        finished = [row for row in self.rows if self._is_finished(row)]
        if finished:
            kept = [k for k, row in enumerate(self.rows) if not self._is_finished(row)]
            self._keep(kept)
            chosen = chosen[kept]
        if self.rows:
            self._mask = torch.cat([self._mask, self._mask.new_ones(len(self.rows), 1)], dim=1)
            self._logits = self._forward(chosen.unsqueeze(1), self._mask, self._cache)
        return finished

    def _is_finished(self, row: Row) -> bool:
        return row.ids[-1] in self._settings.stops or len(row.ids) == row.limit

    def _keep(self, kept: list[int]) -> None:
        self.rows = [self.rows[k] for k in kept]
        if not self.rows:
            return
        index = torch.tensor(kept, device=self._mask.device)
        rows_of_cache.keep(self._cache, index)
        self._mask = self._mask[index]
        padding = int((self._mask.cumsum(dim=1) == 0).sum(dim=1).min())
        if padding:
            rows_of_cache.cut(self._cache, padding)
            self._mask = self._mask[:, padding:]

    def _add(self, rows: list[Row]) -> None:
        """Read the prompts of rows; those with the same prompt, one after the other, share the reading."""
        firsts = [k for k, row in enumerate(rows) if k == 0 or row.prompt != rows[k - 1].prompt]
        prompts = [torch.tensor(rows[k].prompt) for k in firsts]
        now = time.monotonic()
        for row in rows:
            row.began = now
        device = self._model.device
        ids = pad_sequence(prompts, batch_first=True, padding_side="left").to(device)
        mask = pad_sequence([torch.ones_like(ids) for ids in prompts], batch_first=True, padding_side="left").to(device)
        cache = rows_of_cache.new_cache(self._model.config)
        logits = self._forward(ids, mask, cache)
        counts = np.diff([*firsts, len(rows)])
        owner = torch.arange(len(firsts), device=device).repeat_interleave(torch.tensor(counts, device=device))
        rows_of_cache.keep(cache, owner)
        self._join(rows, cache, mask[owner], logits[owner])

    def _join(self, rows: list[Row], cache: Any, mask: Tensor, logits: Tensor) -> None:
        if not self.rows:
            self.rows, self._cache, self._mask, self._logits = rows, cache, mask, logits
            return
        rows_of_cache.join(self._cache, cache)
        length = max(mask.shape[1], self._mask.shape[1])
        padded = [torch.nn.functional.pad(one, (length - one.shape[1], 0)) for one in (self._mask, mask)]
        self.rows = [*self.rows, *rows]
        self._mask, self._logits = torch.cat(padded), torch.cat([self._logits, logits])

    def _forward(self, ids: Tensor, mask: Tensor, cache: Any) -> Tensor:
        """Logits of the token after `ids`, float32 [rows, vocabulary]; the cache takes up `ids`."""
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        optional = {"position_ids": positions, "logits_to_keep": 1}
        known = {name: value for name, value in optional.items() if name in self._arguments}
        output = self._model(input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True, **known)
        return output.logits[:, -1].float()


def num_entering(waiting: Sequence[Row], rows: Sequence[Row], batch_tokens: int) -> int:
    """Number of waiting rows that have room beside those of a batch; one if it is empty, whatever its length.

    Args:
        waiting: in order.
        rows: of the batch.
        batch_tokens: most tokens of the batch: rows times the room of the largest.
    """
    largest, num_rows = max((row.room for row in rows), default=0), len(rows)
    for row in waiting:
        largest = max(largest, row.room)
        if num_rows and (num_rows + 1) * largest > batch_tokens:
            break
        num_rows += 1
    return num_rows - len(rows)


def alike(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Rows in groups whose prompts are about as long, so that little padding is read along with them.

    Args:
        rows: in order; at least one.

    Example:
        >>> [len(group) for group in alike([Row(0, [1] * n, 1, np.random.default_rng()) for n in (100, 90, 70, 69, 5)])]
        [2, 2, 1]
    """
    group: list[Row] = []
    for row in rows:
        lengths = [len(row.prompt), *(len(one.prompt) for one in group[:1])]
        if min(lengths) < _ALIKE * max(lengths):
            yield group
            group = []
        group.append(row)
    yield group


@torch.no_grad()
def decode(model: Any, rows: Sequence[Row], settings: Settings) -> Iterator[Row]:
    """Write responses.

    Args:
        model: a Hugging Face causal language model in evaluation mode.
        rows: in the order in which they enter; those of the same prompt side by side.
        settings: of the decoding.

    Returns:
        The rows, in the order in which they end.
    """
    waiting = deque(rows)
    if not rows_of_cache.can_change(model):
        # RWKV and the like write other responses in a batch
        batch_tokens = settings.batch_tokens if model._supports_default_dynamic_cache() else 0
        while waiting:
            first = [waiting.popleft() for _ in range(num_entering(waiting, [], batch_tokens))]
            yield from decode_by_generate(model, first, settings)
        return
    batch = Batch(model, settings)
    with contiguous_head_input(model):
        while waiting or batch.rows:
            batch.enter(waiting)
            yield from batch.step()
