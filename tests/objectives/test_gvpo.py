"""The gvpo loss against its definition."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from crossdistill import Alignment, InputError
from crossdistill.objectives import get
from crossdistill.objectives.gvpo import GVPO
from crossdistill.objectives.shared.response_groups import ResponseGroups
from tests.objectives.byte_prefixes import logits
from tests.objectives.cases import Case, batch_of_logprobs, case, pair
from tests.oracles import gvpo as oracle

CLOSE = {"rtol": 1e-9, "atol": 1e-9}
LENGTHS = (6, 2, 3, 9, 4)
GROUPS = [5, 2, 5, 2, 2]
"""Of the responses with these lengths; interleaved, and of two sizes."""


def grouped(seed: int = 0, groups: Sequence[int] = GROUPS) -> Case:
    whole = case(GVPO(), seed=seed, lengths=LENGTHS)
    together = ResponseGroups.of(groups)
    whole.parts = [replace(part, groups=together.select([k])) for k, part in enumerate(whole.parts)]
    return whole


def log_ratios(whole: Case, temperature: float = 1.0) -> list[Tensor]:
    """d of each response by the product of its tokens' probabilities, differentiable in the student's states."""
    found = []
    for k, part in enumerate(whole.parts):
        sides = [torch.log_softmax(side / t, -1) for side, t in zip(logits(whole, k), (temperature, 1.0), strict=True)]
        stops = (part.pair.student_stops, part.pair.teacher_stops) if part.is_stop.any() else (None, None)
        ids = part.student.ids.tolist(), part.teacher.ids.tolist()
        ours, theirs = (oracle.probability(*each) for each in zip(sides, ids, stops, strict=True))
        found.append(ours.log() - theirs.log().detach())
    return found


def by_group(values: Sequence[Tensor], groups: Sequence[int] = GROUPS) -> list[list[Tensor]]:
    return [[v for v, g in zip(values, groups, strict=True) if g == group] for group in sorted(set(groups))]


def moved(whole: Case, size: float = 0.3) -> Case:
    """The same responses, sampled by the same policy, under one that has moved since."""
    generator = torch.Generator().manual_seed(8)
    hidden = [
        (rows + size * torch.randn(rows.shape, generator=generator, dtype=rows.dtype)).detach().requires_grad_()
        for rows in whole.hidden
    ]
    return replace(whole, hidden=hidden)


@pytest.mark.parametrize("seed", [0, 1])
def test_value_and_gradient_equal_the_definition(seed):
    """With the gradient through the mean too: it adds up to nothing."""
    whole = grouped(seed)
    expected = sum(len(values) * oracle.half_variance(values) for values in by_group(log_ratios(whole)))
    ours = whole.loss()
    torch.testing.assert_close(ours, expected, **CLOSE)
    pairs = zip(*(torch.autograd.grad(each, whole.hidden) for each in (ours, expected)), strict=True)
    for got, wanted in pairs:
        torch.testing.assert_close(got, wanted, **CLOSE)
        assert got.any()


def test_a_response_alone_in_a_micro_batch_adds_its_part():
    """Value and gradient, in any order: what the others have is known since they were sampled."""
    whole = grouped()
    together = torch.autograd.grad(whole.loss(), whole.hidden)
    for k in range(len(LENGTHS)):
        (apart,) = torch.autograd.grad(whole.loss([k]), [whole.hidden[k]])
        torch.testing.assert_close(apart, together[k], **CLOSE)
    torch.testing.assert_close(sum(whole.loss([k]) for k in (3, 0, 4, 2, 1)), whole.loss(), **CLOSE)


def test_at_a_later_step_the_mean_of_the_group_is_held():
    """By c/2 of its squared change, c = k / (k - 1); this is what the page says."""
    start = grouped()
    later = moved(start)
    before, now = log_ratios(start), log_ratios(later)
    expected = torch.zeros((), dtype=torch.float64)
    for old, new in zip(by_group(before), by_group(now), strict=True):
        k, change = len(new), sum(new) / len(new) - (sum(old) / len(old)).detach()
        expected = expected + k * (oracle.half_variance(new) + k / (k - 1) / 2 * change**2)
    torch.testing.assert_close(later.loss(), expected, **CLOSE)
    pairs = zip(*(torch.autograd.grad(each, later.hidden) for each in (later.loss(), expected)), strict=True)
    for got, wanted in pairs:
        torch.testing.assert_close(got, wanted, **CLOSE)


def test_a_response_is_told_how_much_less_the_others_deviate():
    whole = grouped()
    expected = [0.0] * len(LENGTHS)
    for group in set(GROUPS):
        rows = [k for k, other in enumerate(GROUPS) if other == group]
        values = [log_ratios(whole)[k].item() for k in rows]
        for k, value in zip(rows, oracle.advantages(values), strict=True):
            expected[k] = value
    shares = GVPO().advantages(whole.batch()).split([len(part.student.ids) for part in whole.parts])
    for share, value in zip(shares, expected, strict=True):
        torch.testing.assert_close(share, torch.full_like(share, value), **CLOSE)


@pytest.mark.parametrize("temperature", [0.7, 2.0])
def test_the_student_is_read_at_the_temperature_of_the_sampling(temperature):
    whole = grouped()
    inputs = whole.inputs()
    both = zip(log_ratios(whole, temperature), log_ratios(whole), strict=True)
    gains = [(warm - sampled).item() for warm, sampled in both]
    starts = [0, *torch.tensor([len(part.student.ids) for part in whole.parts]).cumsum(0).tolist()]
    sizes = [GROUPS.count(group) for group in GROUPS]
    expected = sum(
        k / (k - 1) / 2 * (gain - float(inputs.advantages[first]) * (k - 1) / k) ** 2
        for k, gain, first in zip(sizes, gains, starts, strict=False)
    )
    assert GVPO().loss(replace(inputs, temperature=temperature)).total.item() == pytest.approx(expected)


# ---- by hand ---------------------------------------------------------------------------------------------------------


def test_three_responses_of_one_token():
    """d = 1, 3, 5: the variance is 4. A constant that all have in common makes no difference."""
    student, teacher = torch.tensor([-1.0, -1.0, -1.0]), torch.tensor([-2.0, -4.0, -6.0])
    ones = Alignment([0, 1, 2, 3], [0, 1, 2, 3], [0, 1, 2, 3])
    for shift in (0.0, -7.0):
        part = batch_of_logprobs(student, teacher + shift, ones)
        three = replace(part, response_splits=np.arange(4), groups=ResponseGroups.of([0] * 3))
        assert GVPO().advantages(three).tolist() == [3.0, 0.0, -3.0]
        assert GVPO().weight(three) == 3
        alone = replace(three, groups=ResponseGroups.of([0, 1, 2]))
        assert GVPO().advantages(alone).tolist() == [0.0] * 3
        assert (GVPO().weight(alone), GVPO().weight(replace(three, groups=None))) == (0, 0)
        assert GVPO().advantages(replace(three, groups=None)).tolist() == [0.0] * 3


def test_figures_are_those_of_a_response():
    whole = moved(grouped())
    stats, start = GVPO().loss(whole.inputs()).stats, grouped()
    gains = [abs((new - old).item()) for new, old in zip(log_ratios(whole), log_ratios(start), strict=True)]
    assert stats["abs_gain"].item() == pytest.approx(sum(gains))
    deviations = 0.0
    for old, new in zip(by_group(log_ratios(start)), by_group(log_ratios(whole)), strict=True):
        mean = (sum(old) / len(old)).item()
        deviations += sum(abs(value.item() - mean) for value in new)
    assert stats["abs_deviation"].item() == pytest.approx(deviations)


@pytest.mark.parametrize("groups", [[0, 1, 2, 3, 4], None])
def test_without_companions_there_is_no_loss(groups):
    whole = grouped(groups=[0, 1, 2, 3, 4])
    if groups is None:
        whole.parts = [replace(part, groups=None) for part in whole.parts]
    assert whole.objective.weight(whole.batch()) == 0
    total = whole.loss()
    assert total.item() == 0
    assert not any(gradient.any() for gradient in torch.autograd.grad(total, whole.hidden, materialize_grads=True))


def test_a_thousand_tokens_keep_their_digits():
    """Sums of float32 log-probabilities are taken in float64."""
    generator = torch.Generator().manual_seed(0)
    student, teacher = (-torch.rand(40_000, generator=generator) for _ in range(2))
    splits = [0, 10_000, 20_000, 30_000, 40_000]
    part = batch_of_logprobs(student, teacher, Alignment(splits, splits, splits))
    four = replace(part, response_splits=np.arange(5), groups=ResponseGroups.of([0] * 4))
    exact = (student.double() - teacher.double()).reshape(4, -1).sum(1).tolist()
    got = GVPO().advantages(four)[::10_000]
    assert got.dtype == torch.float32
    assert got.tolist() == pytest.approx(oracle.advantages(exact), rel=1e-6)


def test_the_end_of_a_response_must_be_taught():
    get("gvpo").check(pair())
    with pytest.raises(InputError, match="compares whole responses, their end included: leave stop_unit on"):
        get("gvpo").check(pair(stop_unit=False))


def test_the_definition_itself():
    """Half of statistics' variance, and d by hand: the student stops with 0.1 + 0.3."""
    values = [torch.tensor(v, dtype=torch.float64) for v in (1.0, 3.0, 5.0, 4.0)]
    assert oracle.half_variance(values).item() == pytest.approx(torch.stack(values).var().item() / 2)
    log_probs = torch.tensor([[0.5, 0.5, 0.0], [0.1, 0.6, 0.3]]).double().log()
    assert oracle.probability(log_probs, [1, 0], (0, 2)).item() == pytest.approx(0.5 * 0.4)
    assert oracle.probability(log_probs, [1, 0], None).item() == pytest.approx(0.5 * 0.1)
