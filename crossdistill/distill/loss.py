"""The objective on scored responses of one or several teachers."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from crossdistill.distill.aligned_batch import select
from crossdistill.distill.response import ScoredResponse
from crossdistill.errors import InputError
from crossdistill.objectives.base import LossSum, Objective
from crossdistill.objectives.shared.inputs import AlignedBatch, LossInputs
from crossdistill.ops import HiddenStates


def loss_of(
    objective: Objective, responses: Sequence[ScoredResponse], states: HiddenStates, temperature: float
) -> LossSum:
    """The loss of the responses that have a teacher's signal, as a sum; exactly 0 if none has.

    Args:
        objective: the method.
        responses: scored.
        states: those that predict the supervised tokens, response by response: [N, H].
        temperature: of the sampling.

    Returns:
        The sum. Its entropy is always set: if the objective does not compute it, it is estimated from the samples, as
        -log p is an unbiased estimate on the student's own samples. On other responses it is their surprisal.
    """
    kept = [item for item in responses if item.batch is not None]
    if not kept:  # all parameters still take part, as the other processes expect
        zero = objective.zero_loss(states)
        return LossSum(zero, {}, zero.detach())
    names = [item.teacher_name for item in kept]
    if len(set(names)) == 1:
        return _of_one_teacher(objective, kept, states, temperature)
    rows = torch.arange(len(states.hidden), device=states.hidden.device).split([int(item.mask.sum()) for item in kept])
    losses = []
    for name in dict.fromkeys(names):  # an objective looks at one pair of vocabularies at a time
        own = [k for k, other in enumerate(names) if other == name]
        of_name = states.at(torch.cat([rows[k] for k in own]))
        losses.append(_of_one_teacher(objective, [kept[k] for k in own], of_name, temperature))
    return _added(losses)


def _of_one_teacher(
    objective: Objective, items: Sequence[ScoredResponse], states: HiddenStates, temperature: float
) -> LossSum:
    batch = _together(items).to(states.hidden.device)
    advantages = torch.from_numpy(np.concatenate([item.advantages[item.mask] for item in items]))
    loss = objective.loss(LossInputs(batch, advantages.to(batch.device), states, temperature))
    if not isinstance(loss, LossSum):
        raise InputError(f"objective {objective.name!r} returned a {type(loss).__name__}: `loss` returns a LossSum.")
    entropy = -batch.student.old_logprobs.sum() if loss.entropy is None else loss.entropy.detach()
    return loss._replace(entropy=entropy)


def _together(items: Sequence[ScoredResponse]) -> AlignedBatch:
    """The responses as one batch: taken from the group that they were credited in, if they have it in common."""
    group = items[0].group
    if group is not None and all(item.group is group for item in items):
        return select(group, [item.index for item in items])
    return AlignedBatch.concatenate([item.batch for item in items if item.batch is not None])


def _added(losses: Sequence[LossSum]) -> LossSum:
    keys = dict.fromkeys(key for loss in losses for key in loss.stats)  # one without tokens may have none
    stats = {key: _sum([loss.stats[key] for loss in losses if key in loss.stats]) for key in keys}
    entropies = [loss.entropy for loss in losses if loss.entropy is not None]
    return LossSum(_sum([loss.total for loss in losses]), stats, _sum(entropies))


def _sum(values: Sequence[Tensor]) -> Tensor:
    return torch.stack([value.reshape(()) for value in values]).sum()
