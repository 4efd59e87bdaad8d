"""The measure, against an oracle; and the first loss of a loop of one's own."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from crossdistill.demo.run import asset, message
from crossdistill.demo.task import problems
from crossdistill.distill import Distiller
from crossdistill.distill.policy_drift import (
    DECODED_HALF,
    OTHER_ENGINE,
    SAME_ENGINE,
    SAME_ENGINE_HALF,
    PolicyDrift,
    numerics_of,
    policy_drift,
)
from crossdistill.findings import FindingError
from crossdistill.objectives import available
from crossdistill.ops import HiddenStates, LMHead
from crossdistill.teachers import LocalTeacher
from tests.oracles.policy_drift import mean_drift


@pytest.fixture(scope="module")
def models() -> dict[str, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    teacher = AutoModelForCausalLM.from_pretrained(asset("teacher"), dtype=torch.float32)
    tokenizers = {side: AutoTokenizer.from_pretrained(asset(side)) for side in ("student", "teacher")}
    return {"teacher": LocalTeacher(teacher, tokenizers["teacher"]), "tokenizer": tokenizers["student"]}


@pytest.fixture
def student() -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(asset("student"), dtype=torch.float32)


@pytest.fixture
def distiller(models: dict[str, Any], student: Any) -> Distiller:
    return Distiller(models["tokenizer"], models["teacher"], student=student)


PROMPTS = [message(problem) for problem in problems("train", 3, seed=5)]


@pytest.fixture(scope="module")
def completions(models: dict[str, Any]) -> list[list[int]]:
    tokenizer = models["tokenizer"]
    texts = ("one hundred two", "three", "five hundred and more")
    return [[*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id] for text in texts]


# ---- the measure ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_it_is_the_mean_log_ratio_of_the_supervised_tokens(distiller, completions, temperature):
    batch = distiller.score(PROMPTS, completions)
    ids = np.concatenate([item.response.ids[item.mask] for item in batch.responses])
    old = np.concatenate([item.student_logprobs[item.mask] for item in batch.responses])
    states = HiddenStates(torch.randn(len(ids), 6), LMHead(torch.randn(len(distiller.vocab), 6)))
    drift = policy_drift(batch.responses, states, temperature)
    expected = mean_drift(states.head.logits(states.hidden).tolist(), ids.tolist(), old.tolist(), temperature)
    assert drift.tokens == len(ids)
    assert (drift.mean, drift.bias) == pytest.approx(expected, rel=1e-5)


def test_few_tokens_stand_for_many(distiller, completions):
    batch = distiller.score(PROMPTS, completions)
    size = int(batch.loss_mask.sum())
    states = HiddenStates(torch.randn(size, 6), LMHead(torch.randn(len(distiller.vocab), 6)))
    each = [
        policy_drift([replace(item, mask=np.arange(len(item.mask)) == k)], states.at(torch.tensor([row + k])), 1.0)
        for item, row in zip(batch.responses, _firsts(batch.responses), strict=True)
        for k in range(len(item.mask))
    ]
    some = policy_drift(batch.responses, states, 1.0, max_tokens=3)
    assert some.tokens == 3
    chosen = np.linspace(0, size - 1, 3).round().astype(int)
    assert some.absolute == pytest.approx(sum(each[k].absolute for k in chosen))


def _firsts(responses: Any) -> list[int]:
    return [0, *np.cumsum([item.mask.sum() for item in responses])[:-1].tolist()]


def test_nothing_is_nothing(distiller):
    states = HiddenStates(torch.zeros(0, 6), LMHead(torch.randn(len(distiller.vocab), 6)))
    assert policy_drift([], states, 1.0) == PolicyDrift(0, 0)
    assert PolicyDrift(0, 0).mean == PolicyDrift(0, 0).bias == 0


@pytest.mark.parametrize(
    ("hidden", "weight", "largest"),
    [
        (torch.float32, torch.float32, SAME_ENGINE),
        (torch.bfloat16, torch.bfloat16, SAME_ENGINE_HALF),
        (torch.float32, torch.float16, SAME_ENGINE_HALF),
    ],
)
def test_numerics_depend_on_the_dtype(hidden, weight, largest):
    states = HiddenStates(torch.zeros(1, 2, dtype=hidden), LMHead(torch.zeros(3, 2, dtype=weight)))
    assert numerics_of(states) == largest
    assert numerics_of(states, is_decoded=True) == (SAME_ENGINE if largest == SAME_ENGINE else DECODED_HALF)
    with torch.autocast("cpu", torch.bfloat16):
        assert numerics_of(states) == SAME_ENGINE_HALF


def drift_of(log_ratios: np.ndarray) -> PolicyDrift:
    return PolicyDrift(len(log_ratios), np.abs(log_ratios).sum(), log_ratios.sum())


@pytest.mark.parametrize("numerics", [SAME_ENGINE, SAME_ENGINE_HALF, DECODED_HALF, OTHER_ENGINE])
def test_numerics_explain_a_mean_up_to_their_own(numerics):
    below, above = (np.array([1, -1] * 100) * numerics.mean * factor for factor in (0.99, 1.01))
    assert numerics.unexplained(drift_of(below)) is None
    assert numerics.unexplained(drift_of(above)) == {
        "nats": f"{drift_of(above).mean:.2g}",
        "largest": f"{numerics.mean:g}",
    }
    assert numerics.unexplained(PolicyDrift(0, 0)) is None


@pytest.mark.parametrize("shift", [0.1, 0.2, -0.2, 0.24])
@pytest.mark.parametrize("rounding", [0.0, 0.05])
def test_what_goes_one_way_is_no_rounding(shift, rounding):
    noise = np.random.default_rng(0).normal(0, rounding, 400)
    assert DECODED_HALF.unexplained(drift_of(noise)) is None
    found = DECODED_HALF.unexplained(drift_of(noise + shift))
    assert found is not None
    assert found["nats"] == f"{abs(shift + noise.mean()):.2g}"
    assert found["largest"].endswith(" in one direction")
    assert OTHER_ENGINE.unexplained(drift_of(noise + shift)) is None  # which may tell of a truncated policy


@pytest.mark.parametrize("tokens", [1, 2, 5, 20, 100, 1000])
@pytest.mark.parametrize("spread", [0.04, 0.25])
def test_chance_and_the_bias_of_rounding_itself_are_allowed_for(tokens, spread):
    """Tokens drawn from one policy are less probable under another by half the variance of the log ratio."""
    draws = np.random.default_rng(tokens).normal(-(spread**2) / 2, spread, (300, tokens))
    told = [DECODED_HALF.unexplained(drift_of(row)) for row in draws]
    assert not [one for one in told if one is not None and one["largest"].endswith("direction")]


# ---- the first loss of a loop ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(set(available()) - {"gkd"}))  # which needs one vocabulary
def test_a_first_loss_under_dropout_is_refused_whatever_the_objective(models, student, completions, name):
    student.train()
    for layer in student.model.layers:
        layer.self_attn.attention_dropout = 0.3
    distiller = Distiller(models["tokenizer"], models["teacher"], name, student=student)
    batch = distiller.score(PROMPTS[:1] * 3, completions, groups=[0, 0, 0])
    with pytest.raises(FindingError, match=r"The model has attention_dropout = 0.3 \(3 layers\) in training mode"):
        distiller.loss(batch, *distiller.student_states(batch))
    assert not distiller.is_verified


@pytest.mark.parametrize("p", [0.02, 0.1])
def test_small_dropout_is_refused(distiller, student, completions, p):
    student.train()
    for layer in student.model.layers:
        layer.self_attn.attention_dropout = p
    batch = distiller.score(PROMPTS, completions)
    with pytest.raises(FindingError, match=r"numerics explain 0\.001"):
        distiller.step(PROMPTS, lambda prompts: completions)
    with pytest.raises(FindingError, match=r"numerics explain 0\.001"):
        distiller.loss_sum(batch, [0, 1, 2], *distiller.student_states(batch))


def test_a_model_in_training_mode_without_noise_trains_and_is_verified_once(distiller, student, completions):
    student.train()
    loss, batch = distiller.step(PROMPTS, lambda prompts: completions)
    assert loss.item() != 0 and distiller.is_verified
    with torch.no_grad():
        student.lm_head.weight.mul_(3)
    distiller.loss(batch, *distiller.student_states(batch))  # later steps on the rollout leave ratio 1


def test_another_engine_may_differ_by_its_numerics_and_no_more(models, student, completions):
    distiller = Distiller(models["tokenizer"], models["teacher"], student=student)
    own = distiller.score(PROMPTS, completions)
    for shift, is_refused in ((0.1, False), (-0.1, False), (1.0, True)):
        distiller.is_verified = False
        old = [np.minimum(row.numpy() - shift, 0) for row in own.old_logprobs]
        batch = distiller.score(PROMPTS, completions, old)
        if is_refused:
            with pytest.raises(FindingError, match=f"numerics explain {OTHER_ENGINE.mean}. Usual causes: dropout"):
                distiller.loss(batch, *distiller.student_states(batch))
        else:
            distiller.loss(batch, *distiller.student_states(batch))


@pytest.mark.parametrize("name", ["dpca", "simct"])
def test_old_log_probs_are_taken_at_either_temperature(models, student, completions, name):
    """An engine gives them at the temperature of the sampling; some objectives compare at 1."""
    first = Distiller(models["tokenizer"], models["teacher"], "simct", student=student)
    inputs = first.score(PROMPTS, completions).rollout
    hot = first._student_model("").logprobs(inputs, [None] * 3, first.stop_ids, 3.0)
    models["teacher"].set_temperature(3.0 if name == "dpca" else 1.0)
    distiller = Distiller(models["tokenizer"], models["teacher"], name, student=student, temperature=3.0)
    batch = distiller.score(PROMPTS, completions, hot.tokens)
    models["teacher"].set_temperature(1.0)
    distiller.loss(batch, *distiller.student_states(batch))
    assert distiller.is_verified


# ---- later steps ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "temperature"), [("dpca", 1.0), ("dpca", 0.7), ("simct", 0.7), ("gvpo", 1.0)])
def test_a_later_step_makes_one_pass_and_is_the_same_step(models, student, completions, name, temperature):
    passes: list[bool] = []
    student.model.register_forward_hook(lambda module, *_: passes.append(module.training))
    student.train()
    models["teacher"].set_temperature(temperature if name == "dpca" else 1.0)
    distiller = Distiller(models["tokenizer"], models["teacher"], name, student=student, temperature=temperature)
    prompts, found = PROMPTS[:1] * 3, []
    for expected in ([False, True], [True]):
        passes.clear()
        student.zero_grad()
        loss, batch = distiller.step(prompts, lambda prompts: completions, groups=[0, 0, 0])
        loss.backward()
        assert passes == expected  # in evaluation mode, and the one that trains
        found.append((loss, batch, {key: weight.grad for key, weight in student.named_parameters()}))
    models["teacher"].set_temperature(1.0)
    (first, before, gradient), (later, batch, again) = found
    assert later.item() == pytest.approx(first.item(), rel=1e-5, abs=1e-6)
    torch.testing.assert_close(batch.old_logprobs, before.old_logprobs, atol=1e-5, rtol=0)
    torch.testing.assert_close(batch.advantages, before.advantages, atol=1e-4, rtol=1e-5)
    assert any(value.any() for value in gradient.values())
    torch.testing.assert_close(again, gradient, atol=1e-5, rtol=1e-3)
