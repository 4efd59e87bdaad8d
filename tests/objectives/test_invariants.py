"""Properties of every objective, on small random cases in float64."""

from dataclasses import replace

import pytest
import torch

from crossdistill.objectives import available, get
from tests.objectives.cases import case, equal_case

MORE_OPTIONS: dict[str, list[dict[str, object]]] = {
    "alm": [
        {"debias": False},
        {"debias": False, "divergence": "tvd", "tau": 5.0},
        {"divergence": "reverse", "tau": 1.0, "threshold": 0.5},
    ],
    "bld": [{"divergence": "jsd", "num_bytes": 1, "byte_nll": 0.5, "token_nll": 0.3}],
    "bpm": [
        {"divergence": "forward", "temperature": 1.5},
        {"divergence": "reverse"},
        {"divergence": "skew_reverse", "mix": 0.1, "skip_white_space": True},
    ],
    "cdm": [{"divergence": "jsd", "mix": 0.3, "temperature": 2.0}, {"max_distance": 0.0}],
    "dpca": [{"credit": "uniform"}, {"credit": "last"}, {"credit": "marginal"}, {"credit": "marginal", "top_k": 4}],
    "escd": [
        {"completion": "several_tokens"},
        {"completion": "several_tokens", "normalise": True, "child_weight": 0.4, "temperature": 1.5},
    ],
    "gkd": [{"beta": 0.0}, {"beta": 1.0, "temperature": 2.0}],
    "gold": [{"merge": "bayesian", "beta": 0.0}, {"hybrid": False}],
    "multilevel_ot": [{"ranks": 4, "window": 3}],
    "shared_vocab": [{"divergence": "jsd", "mix": 0.3, "temperature": 2.0}],
    "simct": [
        {"divergence": "forward", "temperature": 1.5},
        {"unit": False},
        {"one_to_one": True},
        {"coarsen": 0.5, "seed": 3, "divergence": "skew_reverse", "mix": 0.1},
    ],
    "strict": [
        {"top_k": 13},
        {"top_k": 3, "chosen_by": "student", "temperature": 0.7},
        {"tail": True, "top_k": 13},
        {"tail": True, "top_k": 3, "chosen_by": "student", "temperature": 0.7},
        {"tail": True, "top_k": 3, "chosen_by": "student", "teacher_top_k": 13, "divergence": "jsd"},
    ],
    "uld": [{"temperature": 0.5}],
}
"""Options with which an objective is tried in addition to its defaults, with which every one is tried."""
NO_FIXED_VALUE = {"bld", "multilevel_ot"}
"""Objectives without a fixed value for a student and a teacher that are one model; all others are 0 there."""
EACH = [
    pytest.param(name, options, id="-".join([name, *map(str, options.values())]))
    for name in available()
    for options in ({}, *MORE_OPTIONS.get(name, ()))
]
FAST_AT_DEFAULTS = [
    pytest.param(*each.values, id=each.id, marks=[pytest.mark.slow] * bool(each.values[1])) for each in EACH
]
CLOSE = {"rtol": 1e-9, "atol": 1e-9}


@pytest.mark.parametrize(("name", "options"), EACH)
@pytest.mark.parametrize("stop_unit", [True, False])
def test_the_sum_over_responses_is_that_of_all(name, options, stop_unit):
    whole = case(get(name, **options), seed=1, stop_unit=stop_unit)
    together = whole.loss()
    assert together.abs() > 1e-6
    torch.testing.assert_close(sum(whole.loss([k]) for k in range(len(whole.parts))), together, **CLOSE)


@pytest.mark.parametrize(("name", "options"), EACH)
def test_the_order_of_responses_does_not_matter(name, options):
    whole = case(get(name, **options), seed=2)
    torch.testing.assert_close(whole.loss([3, 1, 0, 2]), whole.loss(), **CLOSE)


@pytest.mark.parametrize(("name", "options"), EACH)
def test_weights_add_up(name, options):
    whole = case(get(name, **options), seed=3)
    parts = [whole.objective.weight(whole.batch([k])) for k in range(len(whole.parts))]
    assert sum(parts) == pytest.approx(whole.objective.weight(whole.batch()))
    assert parts[1] == 0
    assert sum(parts) > 0


@pytest.mark.parametrize(("name", "options"), EACH)
def test_no_tokens_give_exactly_zero_and_zero_gradient(name, options):
    empty = case(get(name, **options), lengths=(0,), stop_unit=False)
    empty.head.weight.requires_grad_()
    total = empty.loss()
    assert total.item() == 0
    total.backward()
    assert not empty.head.weight.grad.any()


@pytest.mark.parametrize(("name", "options"), FAST_AT_DEFAULTS)
@pytest.mark.parametrize("seed", [4, pytest.param(5, marks=pytest.mark.slow)])
def test_gradients_are_those_of_the_value(name, options, seed):
    if name == "expected":
        pytest.skip("its advantages depend on the student and are held constant; test_expected.py has its gradient")
    whole = case(get(name, **options), seed=seed, lengths=(4, 3))
    inputs = whole.inputs()

    def loss(hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        head = type(whole.head)(weight, bias, whole.head.scale, whole.head.softcap)
        student = inputs.student._replace(hidden=hidden, head=head)
        return whole.objective.loss(type(inputs)(inputs.batch, inputs.advantages, student)).total

    leaves = [inputs.student.hidden.detach(), whole.head.weight.detach(), whole.head.bias.detach()]
    assert torch.autograd.gradcheck(loss, [leaf.clone().requires_grad_() for leaf in leaves], atol=1e-6)


@pytest.mark.parametrize(("name", "options"), EACH)
def test_the_value_at_equality(name, options):
    if name in NO_FIXED_VALUE:
        pytest.skip("the method has no fixed value there")
    assert equal_case(get(name, **options)).loss().item() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("name", "options"), EACH)
def test_the_sampling_temperature_matters_only_to_an_objective_that_compares_at_it(name, options):
    whole = case(get(name, **options), seed=6)
    cold, warm = (whole.objective.loss(replace(whole.inputs(), temperature=t)).total.item() for t in (1.0, 2.0))
    assert (cold != warm) is whole.objective.at_sampling_temperature
