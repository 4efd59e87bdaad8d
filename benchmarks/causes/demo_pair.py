"""The demo's student and teacher outside of the trainer: prompts, samples, scored batches, gradients."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from crossdistill.demo.run import asset, message
from crossdistill.demo.task import Problem
from crossdistill.distill import Distiller
from crossdistill.distill.response import ScoredBatch
from crossdistill.objectives import Objective
from crossdistill.teachers import LocalTeacher

MAX_TOKENS = 48


@dataclass(frozen=True)
class DemoPair:
    """Both models, loaded once; a study trains copies of the student.

    Attributes:
        start: the student of the demo.
        tokenizer: its tokenizer.
        teacher: the demo's teacher.
    """

    start: Any
    tokenizer: Any
    teacher: LocalTeacher

    @classmethod
    def load(cls) -> "DemoPair":
        student, teacher = (
            AutoModelForCausalLM.from_pretrained(asset(name), dtype=torch.float32).eval()
            for name in ("student", "teacher")
        )
        tokenizers = [AutoTokenizer.from_pretrained(asset(name)) for name in ("student", "teacher")]
        return cls(student, tokenizers[0], LocalTeacher(teacher, tokenizers[1], batch_tokens=16384))

    def distiller(self, objective: Objective | str, student: Any = None) -> Distiller:
        """A distiller of a student, by default of the one at the start."""
        return Distiller(self.tokenizer, self.teacher, objective, student=self.start if student is None else student)

    def student(self) -> Any:
        """A copy of the student, in evaluation mode: it has no dropout."""
        return copy.deepcopy(self.start)


@torch.no_grad()
def sample(distiller: Distiller, problems: Sequence[Problem], greedy: bool = False) -> list[list[int]]:
    """A response of the distiller's student to each problem, with its stop token if it stopped."""
    prompts = [distiller.renderer.render(message(problem)) for problem in problems]
    stops, width = list(distiller.stop_ids), max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(prompt)) + list(prompt) for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    settings = {"max_new_tokens": MAX_TOKENS, "eos_token_id": stops, "pad_token_id": stops[0]}
    settings |= {"do_sample": False} if greedy else {"do_sample": True, "top_k": 0, "top_p": 1.0, "temperature": 1.0}
    rows = distiller.student.generate(ids, attention_mask=mask, **settings)[:, width:].tolist()
    return [_until_stop(row, stops) for row in rows]


def _until_stop(row: list[int], stops: Sequence[int]) -> list[int]:
    found = next((k for k, token in enumerate(row) if token in stops), len(row))
    return row[: found + 1]


def text_of(distiller: Distiller, ids: Sequence[int]) -> str:
    """The text of a response without its stop."""
    kept = [token for token in ids if token not in distiller.stop_ids]
    return distiller.vocab.decode(kept).decode("utf-8", "replace")


def scored(distiller: Distiller, problems: Sequence[Problem], responses: Sequence[Sequence[int]]) -> ScoredBatch:
    """Responses that the student sampled, scored by the teacher."""
    return distiller.score([message(problem) for problem in problems], responses)


def loss_of(distiller: Distiller, batch: ScoredBatch) -> Tensor:
    """The loss as the trainer has it: divided by the batch's items."""
    return distiller.loss(batch, *distiller.student_states(batch)) / batch.num_items


def gradient(distiller: Distiller, batch: ScoredBatch) -> Tensor:
    """The gradient of the loss with respect to all of the student's own parameters, as one vector."""
    parameters = own_parameters(distiller.student)
    loss = loss_of(distiller, batch)
    parts = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
    return torch.cat([part.flatten() for part in parts]).double()


def own_parameters(student: Any) -> list[Tensor]:
    """Those of the model, without heads that an objective has attached."""
    return [value for name, value in student.named_parameters() if not name.startswith("auxiliary")]
