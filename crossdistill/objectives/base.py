"""What an objective is to the trainer."""

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from crossdistill.credit import assign_credit
from crossdistill.objectives.shared.inputs import AlignedBatch, LossInputs
from crossdistill.objectives.shared.vocab_pair import VocabPair
from crossdistill.ops import HiddenStates, token_logprobs
from crossdistill.signal import Signal


class LossSum(NamedTuple):
    """A loss as a sum, still to be divided by the weight of the global batch (done in one place).

    total: scalar, differentiable. stats: name -> sum of the same weight, constant, for logging. entropy: sum of the
    student's entropies at its tokens in nats, where the method computes them anyway.
    """

    total: Tensor
    stats: dict[str, Tensor]
    entropy: Tensor | None = None


class Objective(ABC):
    """A method. The trainer knows nothing else of it.

    name: in the registry. on_policy_only: whether it holds for the student's own samples alone, and not for text that
    someone else wrote. mixes_teachers: whether all that its loss reads of a teacher are the advantages, so that several
    teachers' can be averaged. at_sampling_temperature: whether log-probabilities of both models are those of the
    temperature that was sampled at; else they are those of temperature 1.
    """

    name: ClassVar[str]
    on_policy_only: ClassVar[bool] = False
    mixes_teachers: ClassVar[bool] = False
    at_sampling_temperature: ClassVar[bool] = False

    @property
    @abstractmethod
    def signal(self) -> Signal:
        """What it needs of the teacher; an attribute of the class where no option decides."""

    @property
    def top_k(self) -> int:
        """Tokens a position that it needs where its signal is TOPK."""
        return 0

    @property
    def loss_signal(self) -> Signal:
        """What :meth:`loss` needs, where :meth:`advantages` needs more."""
        return self.signal

    def check(self, pair: VocabPair) -> None:
        """Raises InputError where it means nothing for these two vocabularies."""
        return

    def attach(self, student: nn.Module) -> None:
        """Hang into the student what is trained beside it, if anything
        (:mod:`crossdistill.objectives.shared.auxiliary_heads`).

        Called once, before there is an optimizer, with the model that is trained, adapters included.
        """
        return

    def advantages(self, evidence: AlignedBatch) -> Tensor:
        """Once per rollout: what each student token is told, nats, float32 [N_S], constant.

        The credit of the chunk's log-ratio, which reports show; an objective that trains on it says which.
        """
        return assign_credit(evidence.student.logprobs, evidence.teacher.logprobs, evidence.alignment)

    def weight(self, evidence: AlignedBatch) -> float:
        """By how much the sum over these responses counts: the number of its terms. Student tokens by default."""
        return float(evidence.alignment.student_splits[-1])

    @abstractmethod
    def loss(self, supervision: LossInputs) -> LossSum:
        """At each optimisation step: the sum over these responses; exactly 0 with zero gradient for no tokens."""

    def nothing(self, states: HiddenStates) -> Tensor:
        """Exactly 0, from no tokens: every parameter that :meth:`loss` trains has a gradient, as DDP expects."""
        return token_logprobs(*states, torch.zeros(0, dtype=torch.long, device=states.hidden.device)).logprobs.sum()
