"""FLOPs and tokens of a run, by part (Breaking the Tokenizer Barrier, section 5.3).

On-policy distillation pays for the student's rollout, the teacher's prefill over it and the student's step;
distillation on the teacher's own responses pays for the teacher's rollout and the student's step. A rollout, a prefill
and a score are forward passes, a step is forward and backward. What a pass costs is counted in
:mod:`crossdistill.flops`, attention over the context included. The paper's table gives only totals.

Tokens are prompt and response together: a rollout reads the prompt too.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from crossdistill.flops import ModelFlops


class Part(StrEnum):
    """A part of the computation that processes tokens."""

    STUDENT_ROLLOUT = "student_rollout"
    STUDENT_SCORE = "student_score"  # a forward pass for log-probabilities only
    STUDENT_STEP = "student_step"
    TEACHER_PREFILL = "teacher_prefill"
    TEACHER_ROLLOUT = "teacher_rollout"
    SFT_STEP = "sft_step"


STEPS = frozenset({Part.STUDENT_STEP, Part.SFT_STEP})
"""Parts with a backward pass."""
OF_TEACHER = frozenset({Part.TEACHER_PREFILL, Part.TEACHER_ROLLOUT})
"""Parts that a teacher computes."""


@dataclass
class Costs:
    """Tokens and FLOPs by part.

    Attributes:
        student: what the student computes.
        teacher: what the teacher computes.
        tokens: by part; parts without tokens are absent.
        flops: by part, exact integers; parts without tokens are absent.

    Example:
        >>> costs = Costs(student=ModelFlops(params=1_000), teacher=ModelFlops(params=5_000))
        >>> costs.add(Part.STUDENT_ROLLOUT, lengths=[4, 6])
        >>> costs.add(Part.TEACHER_PREFILL, lengths=[4, 6])
        >>> costs.total_flops
        120000
    """

    student: ModelFlops
    teacher: ModelFlops
    tokens: dict[Part, int] = field(default_factory=dict)
    flops: dict[Part, int] = field(default_factory=dict)

    def add(self, part: Part, lengths: Iterable[int], model: ModelFlops | None = None) -> None:
        """Count rows under a part, with the FLOPs that they cost.

        Args:
            part: the part.
            lengths: tokens of prompt and response of each row, without padding. Attention grows with the square of a
                row's length, so that a total would not do.
            model: that reads them, if it is not `student` or `teacher`.

        Raises:
            ValueError: a length is negative.
        """
        rows = list(lengths)
        if any(length < 0 for length in rows):
            raise ValueError(f"cannot spend {min(rows)} tokens")
        if model is None:
            model = self.teacher if part in OF_TEACHER else self.student
        flops = model.step(rows) if part in STEPS else model.forward(rows)
        self.include(part, sum(rows), flops)

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
