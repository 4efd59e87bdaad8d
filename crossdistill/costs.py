"""FLOPs and tokens of a run, by part (Breaking the Tokenizer Barrier, section 5.3).

A model with N parameters spends about 2 N floating-point operations per token in a forward pass, and 6 N in a training
step, forward and backward (Kaplan et al. 2020, section 2.1). On-policy distillation pays for the student's rollout, the
teacher's prefill over it and the student's step; distillation on the teacher's own responses pays for the teacher's
rollout and the student's step. The paper's table gives only totals, so these are the usual factors.

N counts the parameters that take part in matrix products: the output head but not the embedding look-up, and in a
mixture of experts only the active ones. Tokens are prompt and response together: a rollout reads the prompt too.

The cost of attention over the context is not counted: about 2 * layers * width * context per token in a causal forward
pass. Relative to 2 N it is context / (12 * width): 3 % for 1,024 tokens at width 2,560, a third for 16,384 tokens at
width 4,096. So long reasoning traces and very small models cost more than is counted here; since every part grows, the
ratio of two methods on traces of the same length changes less than the totals. Recomputation under gradient
checkpointing (2 N more) is not counted either: it is a choice about memory, not about the method.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Part(StrEnum):
    """A part of the computation that processes tokens."""

    STUDENT_ROLLOUT = "student_rollout"
    STUDENT_SCORE = "student_score"  # a forward pass for log-probabilities only
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
    """Tokens and FLOPs by part.

    Attributes:
        student_params: the student's parameters in matrix products (:func:`matmul_parameters`).
        teacher_params: the teacher's parameters in matrix products.
        tokens: by part; parts without tokens are absent.
        flops: by part, exact integers; parts without tokens are absent.

    Example:
        >>> costs = Costs(student_params=1_000, teacher_params=5_000)
        >>> costs.add(Part.STUDENT_ROLLOUT, tokens=10)
        >>> costs.add(Part.TEACHER_PREFILL, tokens=10)
        >>> costs.total_flops
        120000
    """

    student_params: int
    teacher_params: int
    tokens: dict[Part, int] = field(default_factory=dict)
    flops: dict[Part, int] = field(default_factory=dict)

    def add(self, part: Part, tokens: int, params: int | None = None) -> None:
        """Count tokens under a part, with the FLOPs that they cost.

        Args:
            part: the part.
            tokens: number of tokens of prompt and response, without padding.
            params: parameters of the model that reads them, if there are several teachers.

        Raises:
            ValueError: the number of tokens is negative.
        """
        if tokens < 0:
            raise ValueError(f"cannot spend {tokens} tokens")
        if params is None:
            params = self.teacher_params if part in _OF_TEACHER else self.student_params
        self.include(part, tokens, FLOPS_PER_PARAMETER_AND_TOKEN[part] * params * tokens)

    def include(self, part: Part, tokens: int, flops: int) -> None:
        """Count tokens and FLOPs under a part, both as given."""
        self.tokens[part] = self.tokens.get(part, 0) + tokens
        self.flops[part] = self.flops.get(part, 0) + flops

    @property
    def total_flops(self) -> int:
        """FLOPs of all parts."""
        return sum(self.flops.values())

    def as_dict(self) -> dict[str, dict[str, int]]:
        """The ``tokens`` and ``flops`` entries of ``run.json``; ``flops`` has a ``total``."""
        tokens = {part.value: count for part, count in self.tokens.items()}
        flops = {part.value: count for part, count in self.flops.items()}
        return {"tokens": tokens, "flops": {**flops, "total": self.total_flops}}


def matmul_parameters(model: Any) -> int:
    """Number of parameters that take part in matrix products: all except an input embedding not tied to the head.

    Args:
        model: a Hugging Face causal language model.
    """
    embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    is_tied = embedding is head or (embedding.numel() > 0 and embedding.data_ptr() == head.data_ptr())
    return sum(map(_num_elements, model.parameters())) - (0 if is_tied else _num_elements(embedding))


def _num_elements(parameter: Any) -> int:
    """Also of a parameter that ZeRO-3 has partitioned, which is empty."""
    return int(getattr(parameter, "ds_numel", parameter.numel()))
