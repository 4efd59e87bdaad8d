"""Generalised knowledge distillation, for two models of one vocabulary (GKD, Agarwal et al. 2306.13649, section 3).

    L = sum_c JSD_beta( T_c || S_c ),   JSD_beta = beta KL(T || M) + (1 - beta) KL(S || M),   M = beta T + (1 - beta) S

S_c and T_c are softmax(z / tau) of the two models' logits at the start of chunk c. With one vocabulary a chunk is one
token of each side, unless the student sampled a spelling that the tokenizer would not have chosen. JSD_beta fades to 0
at either end of beta; there, as in TRL, the loss is the divergence that it becomes when divided by beta or by 1 - beta:
KL(T || S) for beta = 0, KL(S || T) for beta = 1. At student == teacher it is 0. Signal: DENSE. No chunks: 0.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from crossdistill.errors import InputError
from crossdistill.objectives.base import LossSum, Objective, PairMeasure
from crossdistill.objectives.shared.divergence import Divergence, check_positive
from crossdistill.objectives.shared.inputs import AlignedBatch, LossInputs
from crossdistill.objectives.shared.vocab_pair import VocabPair
from crossdistill.ops import Share, tiled_sum
from crossdistill.signal import Signal

_OTHERS = 'choose an objective for two tokenizers, such as "dpca", "bpm" or "shared_vocab".'


def generalised_jsd(beta: float) -> Divergence:
    """JSD_beta of the module, or the divergence that replaces it at an end of beta.

    Raises:
        InputError: beta lies outside [0, 1].

    Example:
        >>> generalised_jsd(0.0).name, generalised_jsd(0.3).name, generalised_jsd(1.0).name
        ('forward', 'jsd', 'reverse')
    """
    if not 0 <= beta <= 1:
        raise InputError(f"beta, the teacher's share in the mixture, lies in [0, 1], not {beta}.")
    if beta in (0, 1):
        return Divergence("reverse" if beta else "forward")
    return Divergence("jsd", beta)


@dataclass(frozen=True)
class GKD(Objective):
    """The generalised Jensen-Shannon divergence: the reference for two models with the same tokenizer.

    Attributes:
        beta: the teacher's share in the mixture; 0 is the forward divergence, 1 the reverse one.
        temperature: divides both models' logits.

    Example:
        >>> GKD(beta=1.0).signal.value
        'dense'
    """

    name: ClassVar[str] = "gkd"

    beta: float = 0.5
    temperature: float = 1.0

    def __post_init__(self) -> None:
        check_positive(temperature=self.temperature)
        generalised_jsd(self.beta)

    @property
    def signal(self) -> Signal:
        return Signal.DENSE

    def describe(self, measure: PairMeasure) -> str:
        return "is for two models of one vocabulary alone"

    def check(self, pair: VocabPair) -> None:
        """Check that the two vocabularies are one.

        Raises:
            InputError: an id has other bytes on the other side, or no stop token ends a response of both.
        """
        for token_id, (ours, theirs) in enumerate(zip(pair.student.pieces, pair.teacher.pieces, strict=False)):
            if ours != theirs:
                raise InputError(
                    f"objective 'gkd' compares id with id, and id {token_id} is {ours!r} to the student and {theirs!r} "
                    f"to the teacher: {_OTHERS}"
                )
        short, long = sorted((pair.student.pieces, pair.teacher.pieces), key=len)
        if any(long[len(short) :]):
            raise InputError(
                f"objective 'gkd' compares id with id, and one vocabulary has text beyond the {len(short)} ids of the "
                f"other: {_OTHERS}"
            )
        if pair.student_stops and pair.teacher_stops and not set(pair.student_stops) & set(pair.teacher_stops):
            raise InputError(
                "objective 'gkd' compares id with id, and no stop token of the teacher ends the student's response: "
                f"{_OTHERS}"
            )

    def weight(self, batch: AlignedBatch) -> float:
        """The number of chunks."""
        return float(batch.alignment.num_chunks)

    def loss(self, inputs: LossInputs) -> LossSum:
        """The sum over chunks."""
        student, teacher = inputs.at_chunk_starts()
        total, stats = tiled_sum(self._divergences, *student, *teacher)
        return LossSum(total, stats)

    def _divergences(self, student: Tensor, teacher: Tensor, _numbers: Tensor) -> Share:
        """Over the ids that both heads have; further ids of one head are padding."""
        width = min(student.shape[1], teacher.shape[1])
        ours, theirs = (torch.log_softmax(z[:, :width] / self.temperature, -1) for z in (student, teacher))
        return Share(generalised_jsd(self.beta)(ours, theirs))
