"""What an objective is: everything that a trainer and the reports know of a method."""

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from crossdistill.credit import assign_credit
from crossdistill.objectives.shared.inputs import AlignedBatch, LossInputs
from crossdistill.objectives.shared.vocab_pair import VocabPair
from crossdistill.ops import HiddenStates, token_logprobs
from crossdistill.signal import Signal


class LossSum(NamedTuple):
    """A loss as a sum, still to be divided by the weight of the global batch (which happens in one place).

    Attributes:
        total: scalar, differentiable.
        stats: name -> sum over the same terms, constant, for logging.
        entropy: sum of the student's entropies at its tokens in nats, if the method computes them anyway.
    """

    total: Tensor
    stats: dict[str, Tensor]
    entropy: Tensor | None = None


class PairMeasure(Protocol):
    """Figures of a pair of tokenizers on a corpus (:class:`crossdistill.inspection.Measure`).

    Attributes:
        coverage: share of the bytes that both sides can spell.
        num_chunks: chunks of the alignment. num_one_to_one: those of one token on each side.
        one_to_one_share: share of the student's tokens that lie in these.
        shared_credit_share: share of the student's tokens that share a chunk with others.
    """

    @property
    def coverage(self) -> float: ...

    @property
    def num_chunks(self) -> int: ...

    @property
    def num_one_to_one(self) -> int: ...

    @property
    def one_to_one_share(self) -> float: ...

    @property
    def shared_credit_share(self) -> float: ...


class Objective(ABC):
    """A method: from an aligned batch to a loss.

    An objective of your own is a subclass, best a frozen dataclass whose fields are its options. It is given to the
    trainer as an object or as an import path, ``"my_package.my_file:MyObjective"``.

    Attributes:
        name: what logs, reports and ``run.json`` call it.
        on_policy_only: whether it holds on the student's own samples alone, and not on text that someone else wrote.
        mixes_teachers: whether its loss reads nothing of a teacher but the advantages, so that those of several
            teachers can be averaged.
        at_sampling_temperature: whether it compares log-probabilities at the temperature of the sampling; otherwise
            they are those of temperature 1.

    Example:
        The mean squared log-ratio of each chunk::

            @dataclass(frozen=True)
            class SquaredRatio(Objective):
                name: ClassVar[str] = "squared_ratio"

                @property
                def signal(self) -> Signal:
                    return Signal.SAMPLED

                def weight(self, batch: AlignedBatch) -> float:
                    return float(batch.alignment.num_chunks)

                def loss(self, inputs: LossInputs) -> LossSum:
                    batch = inputs.batch
                    student = chunk_sums(inputs.student_logprobs(), batch.student_splits)
                    teacher = chunk_sums(batch.teacher.logprobs, batch.teacher_splits)
                    return LossSum((student - teacher).square().sum(), {})
    """

    name: ClassVar[str]
    on_policy_only: ClassVar[bool] = False
    mixes_teachers: ClassVar[bool] = False
    at_sampling_temperature: ClassVar[bool] = False

    @property
    @abstractmethod
    def signal(self) -> Signal:
        """What it needs of the teacher at each position."""

    @property
    def top_k(self) -> int:
        """Tokens a position that it needs, if its signal is TOPK."""
        return 0

    @property
    def loss_signal(self) -> Signal:
        """What :meth:`loss` needs, if :meth:`advantages` needs more."""
        return self.signal

    def describe(self, measure: PairMeasure) -> str:
        """What it can use of a pair, in words that follow its name ("learns from ..."); ``inspect`` prints it."""
        return f"supervises at most {100 * measure.coverage:.1f} % of the bytes, in {measure.num_chunks:,} chunks"

    def check(self, pair: VocabPair) -> None:
        """Raises InputError if it has no meaning for these two vocabularies."""
        return

    def attach(self, student: nn.Module) -> None:
        """Attach what is trained together with the student (module `shared/auxiliary_heads`), if anything.

        Called once, before there is an optimizer, with the model that is trained, adapters included.
        """
        return

    def advantages(self, batch: AlignedBatch) -> Tensor:
        """The advantage of each student token, computed once per rollout: nats, float32 [N_S], constant.

        By default the credit of each chunk's log-ratio, which reports show even if the loss does not read it.
        """
        return assign_credit(batch.student.logprobs, batch.teacher.logprobs, batch.alignment)

    def weight(self, batch: AlignedBatch) -> float:
        """The number of terms of these responses, by which losses are divided; student tokens by default."""
        return float(batch.alignment.student_splits[-1])

    @abstractmethod
    def loss(self, inputs: LossInputs) -> LossSum:
        """The sum over these responses, at each optimisation step; exactly 0 with zero gradient for no tokens."""

    def zero_loss(self, states: HiddenStates) -> Tensor:
        """Exactly 0 from no tokens, with a gradient for every parameter that :meth:`loss` trains, as DDP expects."""
        no_ids = torch.zeros(0, dtype=torch.long, device=states.hidden.device)
        return token_logprobs(*states, no_ids).logprobs.sum()
