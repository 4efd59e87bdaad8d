"""Old log-probabilities that a training loop of one's own brings along."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from crossdistill.distill.checks import checked_logprobs
from crossdistill.distill.rollout import Rollout
from crossdistill.distill.student import StudentLogprobs
from crossdistill.errors import InputError


def given_logprobs(
    rollout: Rollout,
    stop_positions: Sequence[int | None],
    old: Sequence[Any] | Tensor,
    stops: Sequence[float | None] | None,
) -> StudentLogprobs:
    """The log-probabilities of a rollout's turns, as the engine that sampled them gives them.

    Args:
        rollout: sampled.
        stop_positions: position of each turn's stop token in the turn, None if it has none.
        old: nats of each sampled token of each completion; a padded tensor [B, C] or a row each.
        stops: log of the total probability of all stop tokens at the end of each turn that stopped, else None; by
            default that of the sampled stop stands in for it (decision 4).

    Raises:
        InputError: something is missing, or is no log-probability.
    """
    completions = rollout.completion_ids
    if len(old) != len(completions):
        raise InputError(f"old_logprobs has {len(old)} rows for {len(completions)} completions.")
    tokens = rollout.gather([checked_logprobs(old[row], ids, row) for row, ids in enumerate(completions)])
    if stops is None:
        stops = [None if k is None else float(row[k]) for row, k in zip(tokens, stop_positions, strict=True)]
    if [stop is None for stop in stops] != [k is None for k in stop_positions]:
        raise InputError("stop_logprobs must hold a value for each turn that stopped, and None for each other one.")
    return StudentLogprobs(tokens, stops)


def check_ends(rollout: Rollout, stop_ids: Sequence[int]) -> None:
    """Check that no completion goes on after a stop token.

    An engine ends a turn at its first stop token; what follows is padding, which would be taught.

    Raises:
        InputError: one does.
    """
    for turn in rollout.turns:
        if any(token in stop_ids for token in turn.ids[:-1]):
            raise InputError(
                f"the completion of row {turn.row} goes on after a stop token: give what was sampled, up to the stop "
                "token and without padding."
            )
