"""What an objective is to the trainer."""

from enum import Enum
from typing import ClassVar, NamedTuple, Protocol

from torch import Tensor

from crossdistill.align import Alignment


class Signal(Enum):
    """What an objective needs of the teacher at each position, from the least to the most."""

    SAMPLED = "sampled"  # the log-probability of the realised token
    TOPK = "topk"  # the k most probable tokens and their log-probabilities
    DENSE = "dense"  # the whole distribution


class LossSum(NamedTuple):
    """A loss as a sum over tokens, still to be divided by the weight of the global batch (done in one place).

    total: scalar, differentiable. stats: name -> sum over the same tokens, constant, for logging.
    """

    total: Tensor
    stats: dict[str, Tensor]


class Objective(Protocol):
    """A method. The trainer knows nothing else of it."""

    name: ClassVar[str]
    signal: ClassVar[Signal]

    def advantages(self, student_logprobs: Tensor, teacher_logprobs: Tensor, alignment: Alignment) -> Tensor:
        """Once per rollout: [student tokens], [teacher tokens] -> one constant per student token."""
        ...

    def loss(self, logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor) -> LossSum:
        """At each optimisation step, over the supervised student tokens: three [N] tensors in nats -> sum."""
        ...
