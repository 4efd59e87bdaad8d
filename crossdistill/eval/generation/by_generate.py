"""Responses by transformers' ``generate``, for models whose state no row can leave or enter."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor

from crossdistill.eval.generation.choice import choose
from crossdistill.eval.generation.row import Row, Settings


class Choice(LogitsProcessor):
    """Leaves one token of each row: that of the row's own random number.

    Args:
        rows: in the order of the batch.
        settings: of the decoding.
    """

    def __init__(self, rows: Sequence[Row], settings: Settings):
        self._rows, self._settings = rows, settings

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        uniforms = [row.random.random() for row in self._rows]
        chosen = choose(scores.float(), self._settings.temperature, self._settings.top_p, uniforms)
        return torch.full_like(scores, -torch.inf).scatter(1, chosen.unsqueeze(1), 0.0)


def decode_by_generate(model: Any, rows: Sequence[Row], settings: Settings) -> Iterator[Row]:
    """Write the responses of one batch, all of which are ready when the longest is.

    Args:
        model: a Hugging Face causal language model in evaluation mode.
        rows: of the batch.
        settings: of the decoding.
    """
    from crossdistill.teachers.writing import generate_ids

    began = time.monotonic()
    prompts = [torch.tensor(row.prompt) for row in rows]
    limit = max(row.limit for row in rows)
    written = generate_ids(model, prompts, settings.stops, limit, processors=[Choice(rows, settings)])
    for row, ids in zip(rows, written.tolist(), strict=True):
        row.began = began
        end = next((k for k, token in enumerate(ids) if token in settings.stops), limit)
        row.ids = ids[: min(end + 1, row.limit)]
        yield row
