"""Group variance on the language that can be enumerated: its log-ratios, and its gradient against the exact one.

Over all groups, weighted with their probability under the student, the gradient of the loss is that of the reverse KL.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from crossdistill.chat import ensure_template, stop_ids
from crossdistill.distill import Distiller, ScoredBatch
from crossdistill.objectives.gvpo import GVPO
from crossdistill.teachers import LocalTeacher
from tests.oracles import gvpo as oracle
from tests.seam import toy_models
from tests.seam.pipeline import ASCII, PROMPTS
from tests.seam.source import Outcome, Source, outcomes
from tests.seam.test_seam import NATS, SEPARABLE, P, Q


class Student:
    """The student of the language, what it sampled, and both ends of the pipeline."""

    def __init__(self, source: Source, teacher: Source, **options: Any):
        self.model, self.tokenizer = toy_models.student(source, ASCII)
        ensure_template(self.tokenizer)
        scorer = LocalTeacher(*toy_models.teacher(teacher, ASCII), batch_tokens=4096)
        self.distiller = Distiller(self.tokenizer, scorer, GVPO(), student=self.model, **options)
        self.stops = stop_ids(self.tokenizer, self.model.generation_config.eos_token_id)

    def ids(self, outcome: Outcome, number: int = 0) -> list[int]:
        """The stops take turns."""
        text = self.tokenizer(outcome.text).input_ids
        return [*text, self.stops[number % len(self.stops)]] if outcome.stopped else text

    def score(self, sampled: Sequence[Outcome], groups: Sequence[int]) -> ScoredBatch:
        ids = [self.ids(outcome, number) for number, outcome in enumerate(sampled)]
        return self.distiller.score([PROMPTS[group % 2] for group in groups], ids, groups=groups)

    def log_probability(self, table: Tensor, outcome: Outcome) -> Tensor:
        """Of one outcome under a table of log-probabilities, by its tokens: any stop ends it."""
        before = [self.distiller.renderer.render(PROMPTS[0])[-1], *self.ids(outcome)]
        steps = [table[a, b] for a, b in itertools.pairwise(before[: len(outcome.text) + 1])]
        if outcome.stopped:
            steps.append(table[before[len(outcome.text)], list(self.stops)].logsumexp(0))
        return torch.stack(steps).sum() if steps else table.new_zeros(())


def log_ratio(outcome: Outcome, student: Source, teacher: Source) -> float:
    return math.log(outcome.probability(student) / outcome.teacher_probability(teacher))


@pytest.mark.parametrize(("student", "teacher"), [(P, Q), (Q, P)])
def test_log_ratios_are_those_of_the_strings(student, teacher):
    """Truncated responses among them: how much less than the others' a response deviates, at each of its tokens."""
    sampled = outcomes(5)
    groups = [number % 7 for number in range(len(sampled))]
    batch = Student(student, teacher).score(sampled, groups)
    for group in range(7):
        rows = [row for row, other in enumerate(groups) if other == group]
        values = [log_ratio(sampled[row], student, teacher) for row in rows]
        for row, expected in zip(rows, oracle.advantages(values), strict=True):
            item = batch.responses[row]
            assert item.mask.all()
            np.testing.assert_allclose(item.advantages, expected, rtol=0, atol=NATS)
    assert batch.weight == len(sampled)


def test_the_same_source_in_other_tokens_teaches_nothing():
    possible = [outcome for outcome in outcomes(6) if outcome.stopped and outcome.probability(SEPARABLE) > 0]
    made = Student(SEPARABLE, SEPARABLE)
    batch = made.score(possible, [0] * len(possible))
    assert max(np.abs(item.advantages).max() for item in batch.responses) < NATS
    assert made.distiller.loss(batch, *made.distiller.student_states(batch)).item() == pytest.approx(0, abs=1e-6)


def exact_gradient(student: Student, teacher: Source, budget: int) -> Tensor:
    """Of the reverse KL of everything that can be sampled in a budget, with respect to the student's output layer."""
    logits = student.model.lm_head.weight.detach().T.double().clone().requires_grad_()
    table = torch.log_softmax(logits, -1)
    divergence = torch.zeros((), dtype=torch.float64)
    for outcome in outcomes(budget):
        log_p = student.log_probability(table, outcome)
        divergence = divergence + log_p.exp() * (log_p - math.log(outcome.teacher_probability(teacher)))
    return torch.autograd.grad(divergence, logits)[0].T


@pytest.mark.parametrize(("size", "budget"), [(2, 3), (3, 2)])
def test_the_expected_gradient_is_that_of_the_reverse_kl(size, budget):
    """Exactly: over all groups of this size, each with its probability."""
    student, possible = Student(P, Q), outcomes(budget)
    members = list(itertools.product(range(len(possible)), repeat=size))
    sampled = [possible[k] for group in members for k in group]
    batch = student.score(sampled, [2 * number for number in range(len(members)) for _ in range(size)])
    states, head = student.distiller.student_states(batch)
    ends = np.cumsum([0, *(int(item.mask.sum()) for item in batch.responses)])
    total = torch.zeros(())
    for number, group in enumerate(members):
        rows = range(number * size, (number + 1) * size)
        own = states[ends[rows.start] : ends[rows.stop]]
        loss = student.distiller.loss_sum(batch, rows, own, head).total / size
        total = total + loss * math.prod(possible[k].probability(P) for k in group)
    (gradient,) = torch.autograd.grad(total, student.model.lm_head.weight)
    exact = exact_gradient(student, Q, budget)
    assert exact.abs().max() > 0.05
    torch.testing.assert_close(gradient.double(), exact, rtol=0, atol=1e-5)


@pytest.mark.parametrize("forgotten", ["the stop", "the last letter"])
def test_what_is_forgotten_is_seen(monkeypatch, forgotten):
    """The test above can fail: without a part of the response the log-ratios are others."""
    sampled = [Outcome("aab", True), Outcome("b", True), Outcome("a", True)]
    scores = LocalTeacher.score

    def forgetting(self: LocalTeacher, requests: Any, *signal: Any) -> Any:
        found = scores(self, requests, *signal)
        if forgotten == "the stop":
            return [type(score)(score.logprobs, 0.0) for score in found]
        for score in found:
            score.logprobs[-1] = 0.0
        return found

    monkeypatch.setattr(LocalTeacher, "score", forgetting)
    batch = Student(P, Q).score(sampled, [0, 0, 0])
    expected = oracle.advantages([log_ratio(outcome, P, Q) for outcome in sampled])
    errors = [abs(item.advantages[0] - value) for item, value in zip(batch.responses, expected, strict=True)]
    assert max(errors) > 0.05
