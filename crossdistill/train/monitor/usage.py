"""What a run has spent and covered so far; it survives a resume."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crossdistill.align import Coverage, DropReason
from crossdistill.costs import Costs, Part
from crossdistill.distill.response import ScoredResponse
from crossdistill.teachers import LocalTeacher, Teacher

FILE_NAME = "ledger.json"


@dataclass
class Usage:
    """coverage: of every sampled token. costs: tokens and FLOPs by part. seconds: of training.

    teacher_params: by the teachers' names (see :class:`crossdistill.costs.Costs`), 0 where they are not known.
    """

    costs: Costs
    teacher_params: dict[str, int] = field(default_factory=dict)
    coverage: Coverage = field(default_factory=Coverage)
    seconds: float = 0.0

    @classmethod
    def of(cls, student: Any, teachers: Mapping[str, Teacher]) -> "Usage":
        """Of models of which nothing was asked yet. Of several teachers the first counts where none is named."""
        params = {
            name: matmul_parameters(teacher.model) if isinstance(teacher, LocalTeacher) else 0
            for name, teacher in teachers.items()
        }
        return cls(Costs(matmul_parameters(student), next(iter(params.values()))), params)

    def record(
        self,
        scored: list[ScoredResponse],
        coverage: Coverage,
        prompt_tokens: int,
        num_iterations: int,
        writer: Part | None,
        rescored: bool,
    ) -> None:
        """Count one batch of rollouts, on which `num_iterations` optimisation steps are made.

        prompt_tokens: of the student's prompts; a rollout reads them too. writer: whose rollout it is; None where the
        responses were given. rescored: whether the student's log-probabilities took a forward pass of their own (vLLM
        gives them along).
        """
        student_tokens = prompt_tokens + sum(len(item.response.ids) for item in scored)
        self.coverage.add(coverage)
        if writer is Part.STUDENT_ROLLOUT:
            self.costs.add(writer, student_tokens)
        elif writer is not None:
            self.costs.add(writer, sum(item.num_teacher_tokens for item in scored))
        self.costs.add(Part.STUDENT_SCORE, student_tokens if rescored else 0)
        self.costs.add(Part.STUDENT_STEP, student_tokens * num_iterations)
        for judgement in (one for item in scored for one in (item, *item.others)):
            params = self.teacher_params.get(judgement.teacher_name)
            self.costs.add(Part.TEACHER_PREFILL, judgement.num_teacher_tokens, params)

    def as_dict(self) -> dict[str, Any]:
        """``coverage``, ``tokens``, ``flops`` and ``seconds`` as in ``run.json``."""
        return {"coverage": self.coverage.as_dict(), **self.costs.as_dict(), "seconds": self.seconds}

    def add(self, entry: dict[str, Any]) -> None:
        """Add what another ledger's :meth:`as_dict` gave: another process's, or an earlier part of the run."""
        for part, tokens in entry["tokens"].items():
            self.costs.include(Part(part), tokens, entry["flops"][part])
        coverage = entry["coverage"]
        self.coverage.supervise(coverage["supervised_tokens"], coverage["supervised_bytes"])
        for reason, tokens in coverage["dropped_tokens"].items():
            self.coverage.drop(DropReason(reason), tokens, coverage["dropped"][reason])
        self.seconds = max(self.seconds, entry["seconds"])  # processes run side by side

    def load(self, checkpoint: str | Path) -> None:
        """Go on from the ledger of a checkpoint."""
        entry = json.loads((Path(checkpoint) / FILE_NAME).read_text())
        self.add(entry)

    def save(self, checkpoint: str | Path) -> None:
        Path(checkpoint).mkdir(parents=True, exist_ok=True)
        (Path(checkpoint) / FILE_NAME).write_text(json.dumps(self.as_dict(), indent=2))


def matmul_parameters(model: Any) -> int:
    """Parameters that take part in matrix products: all but an input embedding that is not tied to the head."""
    embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    tied = embedding.data_ptr() == head.data_ptr()
    return sum(parameter.numel() for parameter in model.parameters()) - (0 if tied else embedding.numel())
