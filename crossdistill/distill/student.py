"""The student's forward passes: log-probabilities of its samples, and the states that predict them.

Shapes: B responses, C longest response, L longest sequence, H hidden size. Sequences (prompt, then response) are padded
on the right. Response token k of row b stands at ``prompt_lengths[b] + k`` and is predicted by the state before it.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple, TypedDict, cast

import numpy as np
import torch
from torch import Tensor

from crossdistill.distill.rollout import Rollout
from crossdistill.findings import FindingError, Kind, Severity, When
from crossdistill.ops import (
    HiddenStates,
    LMHead,
    holds_mask,
    last_hidden_states,
    log_mass,
    micro_batches,
    token_logprobs,
)
from crossdistill.ops.mode import in_mode

NOT_FINITE = Kind(
    "student_not_finite",
    Severity.REFUSAL,
    When.DURING,
    "the student's numbers are not finite after step {step}: {where} overflowed. Go back to an earlier "
    "checkpoint with a lower learning_rate or max_grad_norm, or train in bfloat16 or float32 instead of float16.",
    "every gradient would be NaN",
)


class StudentInputs(TypedDict):
    """A batch of rollouts as tensors.

    input_ids, attention_mask: [B, L]. prompt_lengths: [B]. completion_ids: [B, C]. completion_mask: bool [B, C].
    """

    input_ids: Tensor
    attention_mask: Tensor
    prompt_lengths: Tensor
    completion_ids: Tensor
    completion_mask: Tensor


class StudentLogprobs(NamedTuple):
    """Log-probabilities of the turns of a rollout under the policy that sampled them, in nats.

    Attributes:
        tokens: float32 [sampled tokens] of each turn.
        stops: log of the total probability of all stop tokens at the end of each turn that stopped, else None.
    """

    tokens: Sequence[np.ndarray]
    stops: Sequence[float | None]


Forward = Callable[[StudentInputs, Tensor], tuple[Tensor, Tensor]]


def collate(
    prompt_ids: Sequence[Sequence[int]],
    completion_ids: Sequence[Sequence[int]],
    pad_id: int,
    device: torch.device | str = "cpu",
) -> StudentInputs:
    """Prompts and responses as tensors on `device`."""
    sequences = [[*p, *c] for p, c in zip(prompt_ids, completion_ids, strict=True)]
    (input_ids, attention_mask), (ids, mask) = _padded(sequences, pad_id), _padded(completion_ids, pad_id)
    return {
        "input_ids": input_ids.to(device),
        "attention_mask": attention_mask.long().to(device),
        "prompt_lengths": torch.tensor([len(ids) for ids in prompt_ids], device=device),
        "completion_ids": ids.to(device),
        "completion_mask": mask.to(device),
    }


def _padded(rows: Sequence[Sequence[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """Rows of ids padded on the right, int64 [B, L], and which of them are their own, bool [B, L]."""
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    own = np.arange(lengths.max(initial=0)) < lengths[:, None]
    padded = np.full(own.shape, pad_id, dtype=np.int64)
    padded[own] = np.fromiter(chain.from_iterable(rows), dtype=np.int64, count=int(lengths.sum()))
    return torch.from_numpy(padded), torch.from_numpy(own)


def supervised_states(model: Any, inputs: StudentInputs, loss_mask: Tensor) -> HiddenStates:
    """The states that predict the response tokens of bool [B, C] `loss_mask`, row by row: [N, H], with gradient."""
    return HiddenStates(_predicting_states(_hidden(model, inputs), inputs, loss_mask), LMHead.from_model(model))


@torch.no_grad()
def supervised_logprobs(model: Any, inputs: StudentInputs, loss_mask: Tensor, temperature: float) -> Tensor:
    """Log-probabilities of the response tokens of bool [B, C] `loss_mask`, row by row: nats, [N], without gradient."""
    states = supervised_states(model, inputs, loss_mask)
    return token_logprobs(*states, inputs["completion_ids"][loss_mask], temperature).logprobs


@torch.no_grad()
def logprobs_with_stop_mass(
    model: Any, inputs: StudentInputs, stop_mask: Tensor, stop_ids: Sequence[int], temperature: float
) -> tuple[Tensor, Tensor]:
    """One forward pass of the student.

    Args:
        model: a Hugging Face causal language model, perhaps with adapters.
        inputs: prompts and responses.
        stop_mask: bool [B, C], the positions whose stop mass is wanted, K in all.
        stop_ids: the token ids that end a turn.
        temperature: divides the logits.

    Returns:
        Log-probabilities of all response tokens, float32 [B, C], 0 at padding; and the log of the total probability
        of the stop tokens at the positions in `stop_mask`, [K], row by row.
    """
    states = supervised_states(model, inputs, inputs["completion_mask"])
    return _logprobs_with_stop_mass(states, inputs, stop_mask, stop_ids, temperature)


def student_logprobs(
    rollout: Rollout,
    inputs: StudentInputs,
    stop_positions: Sequence[int | None],
    batches: Sequence[Sequence[int]],
    forward: Forward,
) -> StudentLogprobs:
    """Log-probabilities of a rollout's turns, computed in micro-batches.

    Args:
        rollout: completions cut into turns.
        inputs: its rows.
        stop_positions: position of each turn's stop token in the turn, None if it has none.
        batches: the rows of each forward pass; together all rows.
        forward: gives what :func:`logprobs_with_stop_mass` does, of some rows and their stop mask.
    """
    stop_mask = torch.zeros_like(inputs["completion_mask"])
    for turn, stop in zip(rollout.turns, stop_positions, strict=True):
        if stop is not None:
            stop_mask[turn.row, turn.start + stop] = True
    of_row: dict[int, np.ndarray] = {}
    masses: dict[int, Iterator[float]] = {}
    for batch in batches:
        part: Any = {key: value[list(batch)] for key, value in cast(dict[str, Tensor], inputs).items()}
        mask = stop_mask[list(batch)]
        logprobs, mass = forward(part, mask)
        of_row.update(zip(batch, logprobs.cpu().numpy(), strict=True))
        # within a row from left to right: the order of its turns
        masses.update(zip(batch, map(iter, mass.cpu().split(mask.sum(1).tolist())), strict=True))
    stops = [
        None if stop is None else float(next(masses[turn.row]))
        for turn, stop in zip(rollout.turns, stop_positions, strict=True)
    ]
    return StudentLogprobs(rollout.gather(of_row), stops)


class StudentModel:
    """A student in this process, for a training loop of one's own.

    Args:
        model: a Hugging Face causal language model, perhaps with adapters.
    """

    def __init__(self, model: Any):
        self._model = model
        self._device = next(model.parameters()).device

    def logprobs(
        self, rollout: Rollout, stop_positions: Sequence[int | None], stop_ids: Sequence[int], temperature: float
    ) -> StudentLogprobs:
        """Log-probabilities of a rollout's turns in evaluation mode, in micro-batches."""

        def forward(part: StudentInputs, stop_mask: Tensor) -> tuple[Tensor, Tensor]:
            return logprobs_with_stop_mass(self._model, part, stop_mask, stop_ids, temperature)

        batches = micro_batches(rollout.lengths, holds_mask=holds_mask(self._model))
        with in_mode(self._model, training=False):
            return student_logprobs(rollout, self._inputs(rollout), stop_positions, batches, forward)

    def states(self, rollout: Rollout, loss_mask: Tensor) -> HiddenStates:
        """The states that predict the supervised tokens, with gradient; see :func:`supervised_states`."""
        return supervised_states(self._model, self._inputs(rollout), loss_mask.to(self._device))

    def sampled_states(self, rollout: Rollout) -> "SampledStates":
        """The states that predict every token of the completions, with gradient: for old log-probs and loss."""
        inputs = self._inputs(rollout)
        return SampledStates(rollout, inputs, supervised_states(self._model, inputs, inputs["completion_mask"]))

    def _inputs(self, rollout: Rollout) -> StudentInputs:
        return collate(rollout.prompt_ids, rollout.completion_ids, 0, self._device)  # padding is masked


class SampledStates(NamedTuple):
    """What one pass of the student over a rollout gives.

    Attributes:
        rollout, inputs: what it read.
        states: those that predict every token of the completions, row by row, with gradient.
    """

    rollout: Rollout
    inputs: StudentInputs
    states: HiddenStates

    @torch.no_grad()
    def logprobs(
        self, stop_positions: Sequence[int | None], stop_ids: Sequence[int], temperature: float
    ) -> StudentLogprobs:
        """Log-probabilities of the rollout's turns, without gradient; arguments as :meth:`StudentModel.logprobs`."""

        def forward(inputs: StudentInputs, stop_mask: Tensor) -> tuple[Tensor, Tensor]:
            return _logprobs_with_stop_mass(self.states, inputs, stop_mask, stop_ids, temperature)

        every_row = [range(len(self.rollout.prompts))]
        return student_logprobs(self.rollout, self.inputs, stop_positions, every_row, forward)

    def supervised(self, loss_mask: Tensor) -> HiddenStates:
        """The states that predict the tokens of bool [B, C] `loss_mask`, row by row: [N, H]."""
        mask = self.inputs["completion_mask"]
        return self.states.at(loss_mask.to(mask.device)[mask])


def check_finite(logprobs: Sequence[np.ndarray], error: Callable[[], FindingError]) -> None:
    """Check the student's log-probabilities during a run: if they have overflowed, every gradient is NaN.

    Args:
        logprobs: of its samples.
        error: finds the weight or layer that has overflowed.

    Raises:
        FindingError: NaN or infinity in one of the rows.
    """
    if not all(np.isfinite(row).all() for row in logprobs):
        raise error()


def _hidden(model: Any, inputs: StudentInputs) -> Tensor:
    longest = int(inputs["attention_mask"].sum(1).max())  # a slice of a larger batch may be padded further
    return last_hidden_states(model, inputs["input_ids"][:, :longest], inputs["attention_mask"][:, :longest])


def _logprobs_with_stop_mass(
    states: HiddenStates, inputs: StudentInputs, stop_mask: Tensor, stop_ids: Sequence[int], temperature: float
) -> tuple[Tensor, Tensor]:
    """As :func:`logprobs_with_stop_mass`, from the states that predict all response tokens."""
    mask = inputs["completion_mask"]
    logprobs = torch.zeros(mask.shape, dtype=torch.float32, device=mask.device)
    logprobs[mask] = token_logprobs(*states, inputs["completion_ids"][mask], temperature).logprobs.float()
    ids = torch.tensor(stop_ids, device=mask.device)
    return logprobs, log_mass(*states.at(stop_mask[mask]), ids, temperature)


def _predicting_states(hidden: Tensor, inputs: StudentInputs, mask: Tensor) -> Tensor:
    rows, columns = mask.nonzero(as_tuple=True)
    return hidden[rows, inputs["prompt_lengths"][rows] + columns - 1]
