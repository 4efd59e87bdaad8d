"""What becomes of the parts of a text that an objective supervises, and of those that it does not.

A text in both models' tokens has four kinds of student tokens: those of 1:1 chunks, the first token of any other chunk,
its later tokens, and the stop. Strict supervises the first kind and the stop; shared_vocab, uld, multilevel_ot and
simct all but the later tokens (simct these too, as a part of the unit).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from benchmarks.causes.demo_pair import DemoPair, loss_of, sample, scored, text_of
from crossdistill.align import Alignment
from crossdistill.demo.task import Problem, grade
from crossdistill.distill import Distiller
from crossdistill.distill.response import ScoredBatch, ScoredResponse
from crossdistill.objectives import Objective
from crossdistill.objectives.shared.inputs import AlignedBatch
from crossdistill.ops import HiddenStates

KINDS = ("one_to_one", "first", "later", "stop")


def kinds_of(alignment: Alignment, stopped: bool) -> np.ndarray:
    """The kind of each student token, as an index of KINDS; a stop is a last token of its own, if `stopped`."""
    sizes = np.diff(alignment.student_splits)
    kinds = np.repeat(np.where(alignment.is_one_to_one, 0, 2), sizes)
    firsts = alignment.student_splits[:-1][~alignment.is_one_to_one]
    kinds[firsts] = 1
    return np.append(kinds, 3) if stopped else kinds


@dataclass(frozen=True)
class Reference:
    """The teacher's greedy responses, in the student's own tokens: a text that no method trains on.

    Attributes:
        problems: of the test split.
        responses: ids of the student.
    """

    problems: Sequence[Problem]
    responses: list[list[int]]

    @classmethod
    def of(cls, pair: DemoPair, problems: Sequence[Problem]) -> "Reference":
        teacher = pair.teacher
        writer = Distiller(teacher.tokenizer, teacher, "alm", student=teacher.model)
        distiller = pair.distiller("alm")
        texts = [text_of(writer, ids) for ids in sample(writer, problems, greedy=True)]
        stop = distiller.stop_ids[0]
        return cls(problems, [[*distiller.vocab.encode(text.encode()).ids.tolist(), stop] for text in texts])

    def measure(self, pair: DemoPair, student: Any) -> dict[str, Any]:
        """The student's surprisal at these texts by kind, and both models' probability off the shared entries."""
        distiller = pair.distiller("shared_vocab", student)
        prompts = [[{"role": "user", "content": problem.prompt}] for problem in self.problems]
        batch = distiller.score(prompts, self.responses, is_sampled=False)
        return {"surprisal": surprisal(batch), "off_shared": off_shared(distiller, batch)}


def surprisal(batch: ScoredBatch) -> dict[str, float]:
    """-log p of the student a token, of each kind; nats."""
    parts = [(-item.student_logprobs[item.mask], _kinds(item)) for item in batch.responses]
    return _means(parts)


def gap(batch: ScoredBatch) -> dict[str, float]:
    """log p - log q a token, of each kind: what the teacher holds against the student's own samples; nats."""
    parts = [(-item.advantages[item.mask], _kinds(item)) for item in batch.responses]
    return _means(parts)


def _kinds(item: ScoredResponse) -> np.ndarray:
    return kinds_of(item.alignment, int(item.mask.sum()) > len(item.aligned.student_positions))


def _means(parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    values, kinds = (np.concatenate(column) for column in zip(*parts, strict=True))
    return {name: float(values[kinds == k].mean()) for k, name in enumerate(KINDS) if (kinds == k).any()}


@torch.no_grad()
def off_shared(distiller: Distiller, batch: ScoredBatch) -> dict[str, float]:
    """Each side's probability of entries that only it has, at the starts of chunks; the mean over chunks."""
    states, head = distiller.student_states(batch)
    aligned = AlignedBatch.concatenate([item.batch for item in batch.responses if item.batch is not None])
    columns = aligned.pair.shared()
    sides = {
        "student": (HiddenStates(states, head).at(aligned.student_splits[:-1]), columns.student),
        "teacher": (aligned.teacher.dense.at(aligned.teacher_splits[:-1]), columns.teacher),
    }
    return {
        name: float(1 - groups.select(side.head.logits(side.hidden).log_softmax(-1)).exp().sum(-1).mean())
        for name, (side, groups) in sides.items()
    }


@dataclass(frozen=True)
class Training:
    """A short run as the demo trains: AdamW, 5 steps of warm-up, a linear decay, the trainer's clip.

    Attributes:
        rate: learning rate.
        max_norm: gradients are clipped to it; 0 for no clip.
        steps: of the schedule.
        batch_size: responses a step.
        check_at: the steps after which the student is measured.
    """

    rate: float = 3e-4
    max_norm: float = 1.0
    steps: int = 20
    batch_size: int = 64
    check_at: tuple[int, ...] = (10, 20)

    def run(
        self, pair: DemoPair, objective: Objective, prompts: Sequence[Problem], reference: Reference, seed: int
    ) -> dict[str, Any]:
        """Train a copy of the student; figures of each step, and of the student at `check_at`."""
        torch.manual_seed(seed)
        student = pair.student()
        distiller = pair.distiller(objective, student)
        parameters = list(student.parameters())
        optimizer = torch.optim.AdamW(parameters, lr=self.rate, weight_decay=0.0)
        checks, steps = [], []
        for step in range(self.steps):
            batch = scored(distiller, *self._rollout(distiller, prompts, step))
            optimizer.zero_grad()
            loss_of(distiller, batch).backward()
            norm = float(torch.nn.utils.clip_grad_norm_(parameters, self.max_norm or torch.inf))
            for group in optimizer.param_groups:
                group["lr"] = self.rate * self._share(step)
            optimizer.step()
            steps.append({"grad_norm": norm} | self._of_batch(batch, distiller))
            if step + 1 in self.check_at:
                checks.append({"step": step + 1} | check(pair, student, reference))
        return {"checks": checks, "steps": steps}

    def _rollout(
        self, distiller: Distiller, prompts: Sequence[Problem], step: int
    ) -> tuple[Sequence[Problem], list[list[int]]]:
        chosen = prompts[step * self.batch_size : (step + 1) * self.batch_size]
        return chosen, sample(distiller, chosen)

    def _share(self, step: int) -> float:
        """Of the rate: up in 5 steps, then down to 0 at the end."""
        return min((step + 1) / 5, (self.steps - step) / max(1, self.steps - 5))

    @staticmethod
    def _of_batch(batch: ScoredBatch, distiller: Distiller) -> dict[str, Any]:
        lengths = [len(item.response.ids) for item in batch.responses]
        stops = [item.response.stop_position is not None for item in batch.responses]
        return {"tokens": float(np.mean(lengths)), "stop_rate": float(np.mean(stops))}


def check(pair: DemoPair, student: Any, reference: Reference) -> dict[str, Any]:
    """Exact match, stop rate and length of greedy and of sampled responses, with the reference's measures."""
    distiller = pair.distiller("dpca", student)
    problems = reference.problems
    responses = sample(distiller, problems, greedy=True)
    right = [grade(one, text_of(distiller, ids)) for one, ids in zip(problems, responses, strict=True)]
    drawn = scored(distiller, problems, sample(distiller, problems))
    stopped = [ids[-1] in distiller.stop_ids for ids in responses if ids]
    return {
        "exact_match": float(np.mean(right)),
        "greedy_stop_rate": float(np.mean(stopped)),
        "greedy_tokens": float(np.mean([len(ids) for ids in responses])),
        "sampled_stop_rate": float(np.mean([item.response.stop_position is not None for item in drawn.responses])),
        "gap": gap(drawn),
        "example": text_of(distiller, responses[0]),
    } | reference.measure(pair, student)
