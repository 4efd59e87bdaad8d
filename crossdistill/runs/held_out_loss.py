"""The loss on held-out rows of SFT: nats per token that is learnt, each row counted once."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from crossdistill.runs.before import interval

HELD_OUT_LOSS = "held-out loss, nats per token"
"""The metric of a run of SFT."""


@dataclass
class LossOfRows:
    """Sums over held-out rows.

    Attributes:
        rows: nats and tokens of each.

    Example:
        >>> loss = LossOfRows([(2.0, 2), (8.0, 4)])
        >>> round(loss.mean, 4), round(loss.error, 4)
        (1.6667, 0.4444)
    """

    rows: list[tuple[float, float]] = field(default_factory=list)

    @property
    def tokens(self) -> float:
        return sum(tokens for _, tokens in self.rows)

    @property
    def mean(self) -> float:
        """Nats per token; 0 without any."""
        return sum(nats for nats, _ in self.rows) / max(1.0, self.tokens)

    @property
    def error(self) -> float | None:
        """Standard error of the mean over rows (ratio estimator); None for fewer than two rows."""
        count = sum(tokens > 0 for _, tokens in self.rows)
        if count < 2:
            return None
        residual = math.fsum((nats - self.mean * tokens) ** 2 for nats, tokens in self.rows)
        return math.sqrt(residual * count / (count - 1)) / self.tokens

    def metrics(self, prefix: str) -> dict[str, float]:
        """The figures of a trainer's log.

        Args:
            prefix: of their names, such as "eval".
        """
        error = {} if self.error is None else {f"{prefix}_loss_se": self.error}
        return {f"{prefix}_loss": self.mean, **error}


class Watched:
    """A model whose latest output is kept.

    Args:
        model: to call.

    Attributes:
        output: of the latest call.
    """

    def __init__(self, model: Any):
        self._model = model
        self.output: Any = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.output = self._model(*args, **kwargs)
        return self.output

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


def row_sums(log_probs: Tensor, is_learnt: Tensor, lengths: Sequence[int]) -> Tensor:
    """Nats and tokens of each example of a batch, float64 [examples, 2].

    Args:
        log_probs: of each next token, nats [rows, length - 1], 0 where nothing is learnt.
        is_learnt: bool, likewise.
        lengths: tokens of each example: one a row, or all in one row.

    Example:
        >>> nats, learnt = torch.tensor([[-1.0, -2.0, 0.0, -4.0]]), torch.tensor([[True, True, False, True]])
        >>> row_sums(nats, learnt, [3, 2]).tolist()
        [[3.0, 2.0], [4.0, 1.0]]
    """
    values = torch.stack([-log_probs.double(), is_learnt.double()], dim=-1)
    if len(values) == len(lengths):
        return values.sum(1)
    parts = torch.cat([values[0], values.new_zeros(1, 2)]).split(list(lengths))  # the last token predicts none
    return torch.stack([part.sum(0) for part in parts])


def held_out_loss(trainer: Any) -> dict[str, Any]:
    """The loss on the held-out rows, with its 95 % interval over rows; every process must call it.

    Args:
        trainer: of the run, with an ``eval_dataset``.
    """
    metrics = trainer.evaluate()
    return interval(metrics["eval_loss"], metrics.get("eval_loss_se"), len(trainer.eval_dataset))
