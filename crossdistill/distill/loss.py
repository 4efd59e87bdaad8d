"""The objective on the responses of a micro-batch."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from crossdistill.distill.response import ScoredResponse
from crossdistill.objectives import AlignedBatch, LossInputs, LossSum, Objective
from crossdistill.ops import HiddenStates


def loss_of(
    objective: Objective, responses: Sequence[ScoredResponse], states: HiddenStates, temperature: float
) -> tuple[LossSum, Tensor]:
    """The sum over the responses that have a teacher's signal, and that of the student's entropies in nats.

    states: those that predict the supervised tokens, response by response. Where the objective does not compute the
    entropy, it is estimated from the samples: -log p is its unbiased estimate on the student's own. On responses that
    it did not sample it is how surprising these are.
    """
    kept = [item for item in responses if item.batch is not None]
    if not kept:  # all parameters still take part, as the other processes expect
        nothing = objective.zero_loss(states)
        return LossSum(nothing, {}), nothing.detach()
    rows = torch.arange(len(states.hidden), device=states.hidden.device).split([int(item.mask.sum()) for item in kept])
    names = [item.teacher_name for item in kept]
    parts = []
    for name in dict.fromkeys(names):  # an objective looks at one pair of vocabularies at a time
        own = [k for k, other in enumerate(names) if other == name]
        hidden = states.hidden if len(own) == len(kept) else states.hidden[torch.cat([rows[k] for k in own])]
        parts.append(_of_one_teacher(objective, [kept[k] for k in own], states._replace(hidden=hidden), temperature))
    losses = [loss for loss, _ in parts]
    keys = dict.fromkeys(key for loss in losses for key in loss.stats)  # one of no rows may have none
    stats = {key: _sum([loss.stats[key] for loss in losses if key in loss.stats]) for key in keys}
    return LossSum(_sum([loss.total for loss in losses]), stats), _sum([nats for _, nats in parts])


def _sum(values: Sequence[Tensor]) -> Tensor:
    return torch.stack([value.reshape(()) for value in values]).sum()


def _of_one_teacher(
    objective: Objective, items: Sequence[ScoredResponse], states: HiddenStates, temperature: float
) -> tuple[LossSum, Tensor]:
    device = states.hidden.device
    together = AlignedBatch.concatenate([item.batch for item in items if item.batch is not None]).to(device)
    advantages = torch.from_numpy(np.concatenate([item.advantages[item.mask] for item in items])).to(device)
    loss = objective.loss(LossInputs(together, advantages, states, temperature))
    return loss, -together.student.old_logprobs.sum() if loss.entropy is None else loss.entropy.detach()
