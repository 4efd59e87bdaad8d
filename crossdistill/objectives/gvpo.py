"""Group variance of whole responses (GVPO, 2504.19599; the log-variance divergence of Richter et al. 2020).

    d_i = log pi_theta(y_i) - log pi_T(y_i)           nats, over the whole response and its stop
    L = 1/2 * 1/(k - 1) * sum_i (d_i - mean of d)^2   over the k responses of a group, which answer one prompt

The mean is that of the policy that sampled, so that a response needs nothing of the others at an optimisation step:

    A_i = mean of the others' d_j, less d_i           under the policy that sampled, constant
    L = 1/k * sum_i c/2 (g_i - A_i / c)^2             c = k / (k - 1),  g_i = log pi_theta(y_i) - log pi_old(y_i)

At pi_theta = pi_old this is L, with its gradient, however a group is cut into micro-batches. At later steps of a
rollout it is L + c/2 (mean of g)^2. Value at student == teacher, as for any constant d: 0. Signal: SAMPLED. No group
of two responses: 0.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from crossdistill.credit import chunk_sums
from crossdistill.errors import InputError
from crossdistill.objectives.base import LossSum, Objective, PairMeasure
from crossdistill.objectives.shared.inputs import AlignedBatch, LossInputs
from crossdistill.objectives.shared.vocab_pair import VocabPair
from crossdistill.signal import Signal


@dataclass(frozen=True)
class GVPO(Objective):
    """Half the sample variance of the log-ratios of whole responses to one prompt.

    Nothing is aligned: each model reads the bytes of a response in its own tokens. There are no options.

    Example:
        >>> GVPO().signal.value, GVPO().compares_groups
        ('sampled', True)
    """

    name: ClassVar[str] = "gvpo"
    at_sampling_temperature: ClassVar[bool] = True
    compares_groups: ClassVar[bool] = True
    takes_rewards: ClassVar[bool] = True  # in nats a response, as A_i

    @property
    def signal(self) -> Signal:
        return Signal.SAMPLED

    def describe(self, measure: PairMeasure) -> str:
        return "compares one probability a response, without an alignment; it needs several responses to each prompt"

    def check(self, pair: VocabPair) -> None:
        """Raises InputError if the end of a response is not taught."""
        if not (pair.student_stops and pair.teacher_stops):
            raise InputError(
                "objective 'gvpo' compares whole responses, their end included: leave stop_unit on, or choose an "
                "objective that compares parts of them, such as dpca."
            )

    def advantages(self, batch: AlignedBatch) -> Tensor:
        """The A_i of the module's equation, at each token of response i: nats, [N_S]; 0 for a response that is alone.

        The batch must hold whole groups.
        """
        student, teacher = batch.student.logprobs, batch.teacher.logprobs
        tokens, theirs = _ends(batch.student_splits, batch), _ends(batch.teacher_splits, batch)
        gaps = chunk_sums(student.double(), tokens) - chunk_sums(teacher.double(), theirs)
        values = torch.zeros_like(gaps)
        if batch.groups is not None:
            _, numbers = np.unique(batch.groups.ids, return_inverse=True)
            group, sizes = (torch.as_tensor(each, device=gaps.device) for each in (numbers, batch.groups.sizes))
            totals = torch.zeros_like(gaps).index_add(0, group, gaps)[group]
            values = torch.where(sizes > 1, (totals - gaps) / (sizes - 1).clamp(min=1) - gaps, values)
        return values.repeat_interleave(tokens.diff()).to(student)

    def weight(self, batch: AlignedBatch) -> float:
        """The number of responses that are compared with others."""
        return float(len(_compared(batch)[0]))

    def loss(self, inputs: LossInputs) -> LossSum:
        """k times the module's L, summed over groups; the trainer divides by the number of responses.

        Stats: the absolute deviation of d from its mean in the group, and the absolute g, both in nats a response.
        """
        batch = inputs.batch
        tokens = _ends(batch.student_splits, batch)
        moved = chunk_sums(inputs.student_logprobs(inputs.temperature) - batch.student.logprobs, tokens)
        responses, sizes = (torch.as_tensor(each, device=batch.device) for each in _compared(batch))
        factor = sizes / (sizes - 1)
        gain, advantage = moved[responses], inputs.advantages[tokens[responses]]
        deviation = gain - advantage / factor
        stats = {"abs_deviation": deviation.detach().abs().sum(), "abs_gain": gain.detach().abs().sum()}
        return LossSum((factor / 2 * deviation.square()).sum(), stats)


def _ends(splits: Tensor, batch: AlignedBatch) -> Tensor:
    """The first token of each response, and the number of tokens: int64 [B + 1], from the splits of chunks."""
    return splits[torch.as_tensor(batch.response_splits, device=splits.device)]


def _compared(batch: AlignedBatch) -> tuple[np.ndarray, np.ndarray]:
    """The responses that are compared with others, and the sizes of their groups."""
    if batch.groups is None:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    responses = np.flatnonzero(batch.groups.sizes > 1)
    return responses, batch.groups.sizes[responses]
