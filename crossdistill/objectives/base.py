"""The interface of an objective: everything that a trainer and the reports know of a method."""

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from crossdistill.credit import assign_credit
from crossdistill.errors import InputError
from crossdistill.objectives.shared.inputs import AlignedBatch, LossInputs
from crossdistill.objectives.shared.vocab_pair import VocabPair
from crossdistill.ops import HiddenStates, token_logprobs
from crossdistill.signal import Signal


class LossSum(NamedTuple):
    """A loss as a sum; the trainer divides it by the weight of the global batch.

    Attributes:
        total: scalar, differentiable.
        stats: name -> sum over the same terms, constant, for logging.
        entropy: sum of the student's entropies at its tokens in nats, if the method computes them anyway.

    Example:
        >>> loss = LossSum(torch.tensor(3.0), {"clipped": torch.tensor(1.0)})
        >>> (loss.total / 2).item()
        1.5
    """

    total: Tensor
    stats: dict[str, Tensor]
    entropy: Tensor | None = None


class PairMeasure(Protocol):
    """Figures of a pair of tokenizers on a corpus (:class:`crossdistill.inspection.Measure`).

    Attributes:
        coverage: share of the student's bytes that the teacher can supervise.
        num_chunks: chunks of the alignment.
        num_one_to_one: chunks of one token on each side.
        one_to_one_share: share of the student's tokens in chunks of one token on each side.
        shared_credit_share: share of the student's tokens in chunks of several student tokens.
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
    """A method: maps an aligned batch to a loss.

    An objective of your own is a subclass, best a frozen dataclass whose fields are its options. Give it to the trainer
    as an object or as an import path, ``"my_package.my_file:MyObjective"``.

    Attributes:
        name: its name in logs, reports and ``run.json``.
        on_policy_only: whether it holds only on the student's own samples, and not on text that someone else wrote.
        mixes_teachers: whether its loss reads only the advantages of a teacher, so that those of several teachers can
            be averaged and a reference's subtracted.
        takes_rewards: whether its loss is that of a policy with these advantages, to which a reward's can be added.
        at_sampling_temperature: whether it compares log-probabilities at the temperature of the sampling; otherwise
            they are those of temperature 1.
        compares_groups: whether it compares whole responses to one prompt with each other, so that each prompt needs
            several. A response that is not scored whole leaves its group.

    Example:
        The mean squared log-ratio of the chunks:

        >>> from dataclasses import dataclass
        >>> from typing import ClassVar
        >>> from crossdistill.credit import chunk_sums
        >>> from crossdistill.objectives import AlignedBatch, LossInputs, LossSum, Objective, Signal
        >>> @dataclass(frozen=True)
        ... class SquaredRatio(Objective):
        ...     name: ClassVar[str] = "squared_ratio"
        ...
        ...     @property
        ...     def signal(self) -> Signal:
        ...         return Signal.SAMPLED
        ...
        ...     def weight(self, batch: AlignedBatch) -> float:
        ...         return float(batch.alignment.num_chunks)
        ...
        ...     def loss(self, inputs: LossInputs) -> LossSum:
        ...         batch = inputs.batch
        ...         student = chunk_sums(inputs.student_logprobs(), batch.student_splits)
        ...         teacher = chunk_sums(batch.teacher.logprobs, batch.teacher_splits)
        ...         return LossSum((student - teacher).square().sum(), {})
        >>> SquaredRatio().signal.value
        'sampled'
    """

    name: ClassVar[str]
    on_policy_only: ClassVar[bool] = False
    mixes_teachers: ClassVar[bool] = False
    takes_rewards: ClassVar[bool] = False
    at_sampling_temperature: ClassVar[bool] = False
    compares_groups: ClassVar[bool] = False

    @property
    @abstractmethod
    def signal(self) -> Signal:
        """The signal that it needs from the teacher at each position."""

    @property
    def top_k(self) -> int:
        """The number of tokens that it needs at each position, if its signal is TOPK."""
        return 0

    @property
    def num_named(self) -> int:
        """The number of tokens that the teacher is asked to name at each position; by default `top_k`."""
        return self.top_k

    @property
    def loss_signal(self) -> Signal:
        """The signal that :meth:`loss` needs; less than :attr:`signal` if only :meth:`advantages` needs that much."""
        return self.signal

    def describe(self, measure: PairMeasure) -> str:
        """How much of a pair it can use, in words that follow its name ("learns from ..."); ``inspect`` prints them."""
        return f"supervises at most {100 * measure.coverage:.1f} % of the bytes, in {measure.num_chunks:,} chunks"

    def check(self, pair: VocabPair) -> None:
        """Raises InputError if it means nothing for these two vocabularies."""
        return

    def attach(self, student: nn.Module) -> None:
        """Attach modules that are trained together with the student (`shared/auxiliary_heads`), if there are any.

        Called once, before there is an optimizer, with the model that is trained, adapters included.
        """
        return

    def advantages(self, batch: AlignedBatch) -> Tensor:
        """The advantage of each student token, computed once per rollout: nats, float32 [N_S], constant.

        By default the shares of each chunk's log-ratio, which reports show even if the loss does not read them.
        """
        return assign_credit(batch.student.logprobs, batch.teacher.logprobs, batch.alignment)

    def bounded(self, advantages: Tensor) -> Tensor:
        """The advantages that the loss reads, of those of all teachers together; by default the same.

        Args:
            advantages: nats, of any shape.
        """
        return advantages

    def weight(self, batch: AlignedBatch) -> float:
        """The number of terms of these responses, by which losses are divided; by default the student tokens."""
        return float(batch.alignment.student_splits[-1])

    @abstractmethod
    def loss(self, inputs: LossInputs) -> LossSum:
        """The loss as a sum over these responses, at each optimisation step.

        Exactly 0 with zero gradient if there are no tokens.
        """

    def zero_loss(self, states: HiddenStates) -> Tensor:
        """Exactly 0 from no tokens, with a gradient for every parameter that :meth:`loss` trains, as DDP expects."""
        no_ids = torch.zeros(0, dtype=torch.long, device=states.hidden.device)
        return token_logprobs(*states, no_ids).logprobs.sum()


def check_objective(objective: object) -> Objective:
    """Return the objective, if it has what every objective must have.

    Raises:
        InputError: it is not an instance of :class:`Objective`; or one without a `name`, or one whose signal is TOPK
            and whose `top_k` is not above 0.
    """
    if not isinstance(objective, Objective):
        is_class = isinstance(objective, type) and issubclass(objective, Objective)
        raise InputError(
            f"the objective is {objective!r}: give "
            f"{'an instance of it' if is_class else 'a name, an import path or an Objective'}."
        )
    kind = type(objective).__name__
    if not isinstance(getattr(objective, "name", None), str):
        raise InputError(f"the objective {kind} has no `name`: set it in the class, name: ClassVar[str] = ...")
    if objective.signal is Signal.TOPK and not objective.num_named > 0:
        raise InputError(
            f"the objective {kind} needs the teacher's top k and does not say how many: declare an option, "
            "top_k: int = 16."
        )
    return objective
