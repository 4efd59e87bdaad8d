"""Probabilities of 0 and of nearly 1, as masked entries and sharp models have: losses and gradients stay finite."""

from dataclasses import replace

import pytest
import torch

from crossdistill.objectives import get
from crossdistill.ops import HiddenStates, LMHead, token_logprobs
from tests.objectives.cases import Case, case
from tests.objectives.test_invariants import EACH

CONTROL = 9, 12
"""Ids of the student and of the teacher that carry no bytes, end nothing, and are never sampled."""


def extreme(whole: Case, factor: float, masked: bool, dtype: torch.dtype) -> Case:
    """The same responses, with logits `factor` times as large, no soft cap, and control tokens ruled out if `masked`.

    The log-probabilities are those of these logits.
    """

    def head_of(head: LMHead, control: int) -> LMHead:
        assert head.bias is not None
        bias = head.bias.clone()
        bias[control] = -torch.inf if masked else bias[control]
        return LMHead((head.weight * factor).to(dtype), bias.to(dtype), head.scale)

    ours, parts = head_of(whole.head, CONTROL[0]), []
    theirs = head_of(whole.parts[0].teacher.dense.head, CONTROL[1])
    hidden = [rows.detach().to(dtype).requires_grad_() for rows in whole.hidden]
    for part, rows in zip(whole.parts, hidden, strict=True):
        states = HiddenStates(part.teacher.dense.hidden.to(dtype), theirs)
        student = token_logprobs(rows.detach(), ours, part.student.ids).logprobs
        teacher = token_logprobs(*states, part.teacher.ids).logprobs
        parts.append(
            replace(
                part,
                student=replace(part.student, old_logprobs=student, logprobs=student),
                teacher=replace(part.teacher, logprobs=teacher, states=states),
            )
        )
    return Case(parts, hidden, ours, whole.objective)


@pytest.mark.parametrize(("name", "options"), EACH)
@pytest.mark.parametrize(("factor", "masked"), [(1.0, True), (300.0, False), (300.0, True)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_losses_and_gradients_stay_finite(name, options, factor, masked, dtype):
    hard = extreme(case(get(name, **options), seed=1), factor, masked, dtype)
    loss = hard.loss()
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(rows.grad).all() for rows in hard.hidden)
