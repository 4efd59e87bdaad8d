"""The objective on the responses of a micro-batch."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from crossdistill.objectives import Evidence, LossSum, Objective, States, Supervision
from crossdistill.train.rollout import ScoredResponse


def loss_of(
    objective: Objective, responses: Sequence[ScoredResponse], states: States, temperature: float
) -> tuple[LossSum, Tensor]:
    """The sum over the responses that have a teacher's signal, and that of the student's entropies in nats.

    states: those that predict the supervised tokens, response by response. Where the objective does not compute the
    entropy, it is estimated from the samples: -log p is its unbiased estimate.
    """
    kept = [item for item in responses if item.evidence is not None]
    evidence = [item.evidence for item in kept if item.evidence is not None]
    device = states.hidden.device
    if not evidence:  # all parameters still take part, as the other processes expect
        nothing = objective.nothing(states)
        return LossSum(nothing, {}), nothing.detach()
    together = Evidence.concatenate(evidence).to(device)
    advantages = torch.from_numpy(np.concatenate([item.advantages[item.mask] for item in kept])).to(device)
    loss = objective.loss(Supervision(together, advantages, states, temperature))
    return loss, -together.student.sampled_logprobs.sum() if loss.entropy is None else loss.entropy.detach()
