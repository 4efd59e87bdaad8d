"""FLOPs and tokens of a run, by part (Breaking the Tokenizer Barrier, section 5.3).

A model of N parameters spends about 2 N floating-point operations on a token in a forward pass, and 6 N in a training
step, forward and backward (Kaplan et al. 2020, section 2.1). On-policy distillation pays for the student's rollout, the
teacher's prefill over it and the student's step; distillation on the teacher's own responses pays for the teacher's
rollout and the student's step. The paper's table gives totals only, so the factors are the usual ones.

N counts the parameters that take part in matrix products: the output head, not the embedding look-up; of a mixture of
experts the active ones. Tokens are prompt and response together: a rollout reads the prompt too.

Left out is what attention spends on looking back, about 2 * layers * width * context a token in a causal forward
pass. Relative to 2 N it is context / (12 * width): 3 % for 1,024 tokens at width 2,560, a third for 16,384 tokens at
width 4,096. Long reasoning traces and very small models thus cost more than is counted here; as every part grows, the
ratio of two methods on traces of one length changes less than the totals. Recomputation under gradient checkpointing
(2 N more) is left out too: it is a choice of memory, not of method.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Part(StrEnum):
    """What tokens are spent on."""

    STUDENT_ROLLOUT = "student_rollout"
    STUDENT_SCORE = "student_score"  # a forward pass for log-probabilities alone
    STUDENT_STEP = "student_step"
    TEACHER_PREFILL = "teacher_prefill"
    TEACHER_ROLLOUT = "teacher_rollout"
    SFT_STEP = "sft_step"


FLOPS_PER_PARAMETER_AND_TOKEN: dict[Part, int] = {
    Part.STUDENT_ROLLOUT: 2,
    Part.STUDENT_SCORE: 2,
    Part.STUDENT_STEP: 6,
    Part.TEACHER_PREFILL: 2,
    Part.TEACHER_ROLLOUT: 2,
    Part.SFT_STEP: 6,
}
_OF_TEACHER = {Part.TEACHER_PREFILL, Part.TEACHER_ROLLOUT}


@dataclass
class Costs:
    """Tokens by part, and the FLOPs they come to.

    student_params, teacher_params: parameters in matrix products (see the module's text). flops: exact integers, parts
    without tokens left out.
    """

    student_params: int
    teacher_params: int
    tokens: dict[Part, int] = field(default_factory=dict)
    flops: dict[Part, int] = field(default_factory=dict)

    def add(self, part: Part, tokens: int, params: int | None = None) -> None:
        """Count `tokens` (prompt and response, no padding) under `part`.

        params: of the model that reads them, where there are several teachers.
        """
        if tokens < 0:
            raise ValueError(f"cannot spend {tokens} tokens")
        if params is None:
            params = self.teacher_params if part in _OF_TEACHER else self.student_params
        self.include(part, tokens, FLOPS_PER_PARAMETER_AND_TOKEN[part] * params * tokens)

    def include(self, part: Part, tokens: int, flops: int) -> None:
        """Count what is known to have been spent."""
        self.tokens[part] = self.tokens.get(part, 0) + tokens
        self.flops[part] = self.flops.get(part, 0) + flops

    @property
    def total_flops(self) -> int:
        return sum(self.flops.values())

    def as_dict(self) -> dict[str, dict[str, int]]:
        """The ``tokens`` and ``flops`` entries of ``run.json``; the latter with its ``total``."""
        tokens = {part.value: count for part, count in self.tokens.items()}
        flops = {part.value: count for part, count in self.flops.items()}
        return {"tokens": tokens, "flops": {**flops, "total": self.total_flops}}


def matmul_parameters(model: Any) -> int:
    """Parameters that take part in matrix products: all but an input embedding that is not tied to the head.

    Args:
        model: a Hugging Face causal language model.
    """
    embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    tied = embedding.data_ptr() == head.data_ptr()
    return sum(parameter.numel() for parameter in model.parameters()) - (0 if tied else embedding.numel())
