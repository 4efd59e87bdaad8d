"""Byte-level distillation (Singh et al., arXiv 2604.07466).

    L = sum over bytes b of D( S_b, T_b )  [ + byte_nll * -log S_b(b) + token_nll * -log pi_S(token) ]

Student token i is predicted from state h_i; light linear heads k = 0, 1, ... read its bytes off the same state,
S_{i,k} = softmax(W_k h_i + c_k), over the 256 values and the end of the response. They are trained together with the
student and thrown away: the student's own output layer gets no gradient from D, which reaches the trunk alone.

T is the teacher's distribution over its next token, turned into one over the next byte: if the bytes `read` of the
teacher's realised token are known, T(x) is the probability of its tokens that begin with read + x, over that of all its
tokens that continue beyond `read`. The realised tokens are the path that is followed (a beam of one).

The minimum of D is 0. At student == teacher L has no fixed value, because the heads have to learn first, and a state
does not know the bytes between itself and byte k. Signal: DENSE. No bytes: 0.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from crossdistill.errors import InputError
from crossdistill.objectives.base import LossSum, Objective, PairMeasure
from crossdistill.objectives.shared import auxiliary_heads
from crossdistill.objectives.shared.bytewise.byte_heads import ByteHeads, per_byte
from crossdistill.objectives.shared.bytewise.byte_prefixes import to_tensor
from crossdistill.objectives.shared.bytewise.next_bytes import ByteSlots, NextBytes, next_bytes
from crossdistill.objectives.shared.divergence import Divergence, check_not_negative, check_positive
from crossdistill.objectives.shared.inputs import AlignedBatch, LossInputs
from crossdistill.ops import HiddenStates, Share, full_shape, tiled_sum
from crossdistill.ops.backbone import causal_lm
from crossdistill.signal import Signal


class _Attachment:
    """The heads of the last :meth:`BLD.attach`: the only part of the objective that changes."""

    heads: ByteHeads | None = None


@dataclass(frozen=True)
class BLD(Objective):
    """A divergence between byte distributions; the student's come from heads that :meth:`attach` adds to it.

    Attributes:
        divergence: its name, see :mod:`crossdistill.objectives.shared.divergence`.
        mix: the share of a distribution in its mixture.
        num_bytes: the number of heads; bytes of a student token beyond these are left out.
        head_speed: how much faster than the trunk the heads learn, see
            :class:`crossdistill.objectives.shared.bytewise.byte_heads.ByteHeads`.
        byte_nll: weight of the cross-entropy of the text's next byte, a term of the paper. It means something on text
            that the student did not write.
        token_nll: weight of the cross-entropy of the text's next token, likewise.

    Example:
        >>> BLD(num_bytes=4).signal.value
        'dense'
    """

    name: ClassVar[str] = "bld"

    divergence: str = "forward"
    mix: float = 0.5
    num_bytes: int = 8
    head_speed: float = 100.0
    byte_nll: float = 0.0
    token_nll: float = 0.0
    _attachment: _Attachment = field(default_factory=_Attachment, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        Divergence(self.divergence, self.mix)
        if not 1 <= self.num_bytes <= 256:
            raise InputError(f"num_bytes, the number of heads, must lie in 1 ... 256, not {self.num_bytes}.")
        check_positive(head_speed=self.head_speed)
        check_not_negative(byte_nll=self.byte_nll, token_nll=self.token_nll)

    @property
    def signal(self) -> Signal:
        return Signal.DENSE

    def describe(self, measure: PairMeasure) -> str:
        return f"compares the next byte, {100 * measure.coverage:.1f} % of the bytes: no entry need be shared"

    def attach(self, student: nn.Module) -> None:
        """Add new heads to the student, on its device, in float32 at least; they replace those of an earlier call."""
        weight = causal_lm(student).get_output_embeddings().weight
        heads = ByteHeads(full_shape(weight)[1], self.num_bytes, self.head_speed)
        heads.to(weight.device, torch.promote_types(weight.dtype, torch.float32))
        auxiliary_heads.attach(student, heads)
        self._attachment.heads = heads

    @property
    def heads(self) -> ByteHeads:
        """The heads that :meth:`attach` added last."""
        heads = self._attachment.heads
        if heads is None:
            raise InputError(
                "objective 'bld' trains heads that are attached to the student: make the Distiller with student=MODEL, "
                "or call attach(student) before the optimizer is made."
            )
        return heads

    def weight(self, batch: AlignedBatch) -> float:
        """The number of bytes that the heads predict."""
        return float(len(ByteSlots.of(batch, self.num_bytes).tokens))

    def zero_loss(self, states: HiddenStates) -> Tensor:
        heads = tiled_sum(lambda logits, numbers: Share(logits.sum(-1)), states.hidden[:0], self.heads())
        return super().zero_loss(states) + heads.total

    def loss(self, inputs: LossInputs) -> LossSum:
        """The sum over bytes.

        The student's output layer takes part with no rows, so that every parameter has a gradient, as DDP expects.

        Stats: byte_nll, of the heads; ended, the teacher's probability that its token would have ended before the byte;
        ruled_out, the number of bytes that the teacher ruled out; left_out, the number of bytes without a term.
        """
        batch, states = inputs.batch, inputs.student
        slots = ByteSlots.of(batch, self.num_bytes)
        teacher = next_bytes(slots, batch.pair, batch.teacher.dense, batch.device)
        byte_sum = tiled_sum(self._function(slots, teacher), states.hidden, self.heads())
        total = byte_sum.total + super().zero_loss(states)
        if self.token_nll:
            total = total - self.token_nll * inputs.student_logprobs().sum()
        stats = {
            **byte_sum.stats,
            "ended": teacher.ended.sum(),
            "ruled_out": (~teacher.usable).sum(),
            "left_out": torch.tensor(float(slots.num_left_out)),
        }
        return LossSum(total, stats)

    def _function(self, slots: ByteSlots, teacher: NextBytes) -> Callable[..., Share]:
        divergence = Divergence(self.divergence, self.mix)
        device = teacher.log_probs.device
        tokens, indices, symbols = (to_tensor(part, device) for part in (slots.tokens, slots.indices, slots.symbols))
        num_symbols = teacher.log_probs.shape[1]

        def share(logits: Tensor, numbers: Tensor) -> Share:
            first, last = numbers[[0, -1]].tolist()
            part = slice(int(slots.splits[first]), int(slots.splits[last + 1]))
            rows = tokens[part] - first
            log_probs = per_byte(logits, num_symbols)[rows, indices[part]].log_softmax(-1)
            nll = -log_probs.gather(1, symbols[part, None])[:, 0]
            loss = divergence(log_probs, teacher.log_probs[part]) * teacher.usable[part] + self.byte_nll * nll
            return Share(loss.new_zeros(len(logits)).index_add(0, rows, loss), {"byte_nll": nll})

        return share
