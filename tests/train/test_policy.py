"""The policy that trains is the one that sampled: verified at the first step of every run, watched afterwards."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig
from torch import nn
from transformers import AutoTokenizer, TrainerCallback

from crossdistill.distill.sampled_logprobs import SampledLogprobs
from crossdistill.findings import FindingError
from crossdistill.objectives import available
from crossdistill.train.monitor import policy_check
from tests.models import Pair
from tests.train.fake_vllm import FakeVLLM
from tests.train.harness import BATCH, RecordingTrainer, fast_for, load, make_trainer, sampled_logprobs
from tests.train.test_objectives import teacher_of

LAYER = r"model\.layers\.0\.mlp \(Altered\)"


class Altered(nn.Module):
    """A layer that does something else in training mode, under names that no list knows."""

    def __init__(self, inner: nn.Module, strength: float, is_random: bool = True):
        super().__init__()
        self.inner, self.strength, self.is_random = inner, strength, is_random

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.inner(x)
        if not self.training:
            return x
        return x + self.strength * (torch.randn_like(x) if self.is_random else x)


def altered(folder: str, strength: float = 0.1, is_random: bool = True) -> Any:
    model = load(folder)
    model.model.layers[0].mlp = Altered(model.model.layers[0].mlp, strength, is_random)
    return model


def trainer_of(pair: Pair, output: Any, student: Any, **options: Any) -> RecordingTrainer:
    given = {"processing_class": AutoTokenizer.from_pretrained(pair.student, padding_side="left")}
    given |= options.pop("trainer_options", {})
    return make_trainer(pair, output, student=student, trainer_options=given, **options)


# ---- the first step -------------------------------------------------------------------------------------------------

VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "several steps a rollout": {"num_iterations": 2, "max_steps": 4},
    "accumulated": {"gradient_accumulation_steps": 2, "per_device_train_batch_size": BATCH // 2},
    "bfloat16": {"bf16": True},
    "given responses": {"on_policy_share": 0.001, "off_policy": "teacher", "objective": "alm"},
}


@pytest.mark.parametrize("variant", fast_for(VARIANTS, ["plain", "accumulated"]))
def test_noise_of_training_mode_stops_the_run_and_is_named(pair, output, variant):
    trainer = trainer_of(pair, output, altered(pair.student), **VARIANTS[variant])
    with pytest.raises(FindingError, match=f"{LAYER} draws noise in training mode, which moves log-probabilities by"):
        trainer.train()
    assert trainer.state.global_step == 0
    assert all(torch.equal(value, trainer.weights[0][name]) for name, value in trainer.model.named_parameters())


@pytest.mark.parametrize("name", fast_for(available()))
def test_noise_stops_every_objective(pair, output, name):
    options = teacher_of(pair, name)
    trainer = trainer_of(pair, output, altered(pair.student, 0.02), objective=name, max_steps=1, **options)
    with pytest.raises(FindingError, match="draws noise"):
        trainer.train()


@pytest.mark.parametrize("strength", [0.1, pytest.param(0.02, marks=pytest.mark.slow)])
def test_another_computation_in_training_mode_stops_the_run_and_is_named(pair, output, strength):
    trainer = trainer_of(pair, output, altered(pair.student, strength, is_random=False))
    with pytest.raises(FindingError, match=f"{LAYER} computes something else in training mode"):
        trainer.train()


def test_rollouts_are_sampled_and_scored_in_evaluation_mode(pair, output):
    """Otherwise a branch of training mode would be in both log-probabilities, and nobody would see it."""
    trainer, modes = make_trainer(pair, output, max_steps=1), []
    trainer.model.model.layers[0].register_forward_hook(lambda module, *_: modes.append(module.training))
    trainer.train()
    assert modes.count(True) == 1 and len(modes) > 2  # the pass that trains
    assert trainer.model.training


def test_a_policy_that_changes_after_it_was_scored_stops_the_run(pair, output):
    trainer = make_trainer(pair, output)
    score = trainer._generate_and_score_completions

    def changing(rows: Any) -> Any:
        batch = score(rows)
        with torch.no_grad():
            trainer.model.lm_head.weight.mul_(1.5)
        return batch

    trainer._generate_and_score_completions = changing
    with pytest.raises(FindingError, match=r"numerics explain 0\.001\. Neither noise nor another"):
        trainer.train()


def test_a_sampler_with_other_weights_stops_the_run(pair, output):
    other = load(pair.student)
    with torch.no_grad():
        other.lm_head.weight.mul_(3)

    def logprob(prompt: list[int], ids: list[int]) -> list[float]:
        with torch.no_grad():
            return sampled_logprobs(other, prompt, ids).tolist()

    trainer = make_trainer(pair, output, max_steps=1)
    trainer.use_vllm, trainer._last_loaded_step = True, -1
    trainer.vllm_generation = policy_check_vllm(trainer, logprob)
    with pytest.raises(FindingError, match=r"numerics explain 0\.25\. Check that vLLM has the student's weights"):
        trainer.train()


def policy_check_vllm(trainer: Any, logprob: Any) -> Any:
    from crossdistill.train.vllm.sampled_logprobs import KeepSampledLogprobs

    return KeepSampledLogprobs(FakeVLLM(lambda prompt: [5, 7, 11], logprob), trainer.model)


@pytest.mark.slow
def test_a_resumed_run_is_verified_again(pair, output):
    student = altered(pair.student, 0.0)
    trainer_of(pair, output, student, max_steps=1, save_strategy="steps", save_steps=1).train()
    resumed = trainer_of(pair, output, altered(pair.student, 0.1), max_steps=3)
    with pytest.raises(FindingError, match="draws noise"):
        resumed.train(str(output / "checkpoint-1"))
    assert resumed.state.global_step == 1


@pytest.mark.slow
def test_a_trainer_that_trains_again_is_verified_again(pair, output):
    trainer = trainer_of(pair, output, altered(pair.student, 0.0), max_steps=3, num_iterations=2)
    trainer.train()  # which ends within a rollout
    trainer.model.model.layers[0].mlp.strength = 0.1
    with pytest.raises(FindingError, match="draws noise"):
        trainer.train()


# ---- several micro-batches, half precision, numbers that are not finite in training mode ----------------------------


class _Rare(nn.Module):
    """A layer that computes something else in training mode, but not at its first pass."""

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner, self.passes = inner, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.passes += self.training
        x = self.inner(x)
        return x * 1.5 if self.training and self.passes > 1 else x


def test_every_micro_batch_of_the_first_step_is_verified(pair, output):
    student = load(pair.student)
    student.model.layers[0].mlp = _Rare(student.model.layers[0].mlp)
    options = {"gradient_accumulation_steps": BATCH, "per_device_train_batch_size": 1}
    trainer = trainer_of(pair, output, student, **options)
    with pytest.raises(FindingError, match="computes something else in training mode"):
        trainer.train()
    assert trainer.state.global_step == 0


@pytest.mark.parametrize("options", [{"bf16": True}, {"dtype": torch.bfloat16}], ids=["autocast", "weights"])
def test_a_branch_within_the_numerics_of_half_precision_is_found(pair, output, options):
    dtype = options.pop("dtype", torch.float32)
    trainer = trainer_of(pair, output, altered(pair.student, 0.06, is_random=False).to(dtype), **options)
    with pytest.raises(FindingError, match=f"{LAYER} computes something else"):
        trainer.train()


@pytest.mark.parametrize("shift", [0.2, -0.2])
def test_in_half_precision_what_sampling_says_may_not_be_off_in_one_direction(pair, output, monkeypatch, shift):
    of = SampledLogprobs.of

    def shifted(*args: Any) -> Any:
        found = of(*args)
        return found._replace(tokens=[row + np.float32(shift) for row in found.tokens])

    monkeypatch.setattr(SampledLogprobs, "of", shifted)
    trainer = make_trainer(pair, output, bf16=True, max_steps=1, max_completion_length=32)
    with pytest.raises(FindingError, match=r"differ by 0\.2 nats a token, .* explain 0\.\d+ in one direction"):
        trainer.train()


class _OtherKernel(nn.Module):
    """A layer that sums in another order in training mode, as a kernel of its own does."""

    def __init__(self, inner: nn.Linear):
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return self.inner(x)
        half = x.shape[-1] // 2
        weight = self.inner.weight
        return x[..., :half] @ weight[:, :half].T + x[..., half:] @ weight[:, half:].T


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_another_kernel_in_training_mode_is_no_branch(pair, output, dtype, monkeypatch):
    monkeypatch.setattr(policy_check, "EXACT", -1.0)
    student = load(pair.student).to(dtype)
    for layer in student.model.layers:
        layer.mlp.down_proj = _OtherKernel(layer.mlp.down_proj)
        layer.self_attn.o_proj = _OtherKernel(layer.self_attn.o_proj)
    trainer_of(pair, output, student, max_steps=1).train()


@pytest.mark.parametrize("since", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_training_pass_that_is_not_finite_ends_the_run_with_its_layer(pair, output, since):
    student = altered(pair.student, torch.nan if since == 0 else 0.0, is_random=False)
    trainer = trainer_of(pair, output, student, max_steps=since + 1, num_iterations=1)

    class Spoils(TrainerCallback):
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            student.model.layers[0].mlp.strength = torch.nan

    trainer.add_callback(Spoils())
    with pytest.raises(
        FindingError, match=rf"not finite at step {since + 1}.*: the layer {LAYER} \(float32\) overflows"
    ):
        trainer.train()


# ---- afterwards -----------------------------------------------------------------------------------------------------


class _Later(TrainerCallback):
    def __init__(self, layer: Altered):
        self.layer = layer

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self.layer.strength = 0.1


def test_a_drift_at_a_later_step_is_a_warning_of_the_watchdog(pair, output, caplog):
    student = altered(pair.student, 0.0)
    callbacks = {"callbacks": [_Later(student.model.layers[0].mlp)]}
    trainer = trainer_of(pair, output, student, max_steps=4, num_iterations=1, trainer_options=callbacks)
    trainer.train()
    assert [(warning.step, warning.kind) for warning in trainer.watchdog.warnings] == [(1, policy_check.KIND)]
    assert caplog.text.count("the policy that trains is no longer the one that sampled") == 1
    drifts = [step["policy_drift"] for step in trainer.steps]
    assert drifts[0] < 1e-6 and min(drifts[1:]) > 1e-3


@pytest.mark.parametrize(
    "options",
    [
        {"gradient_accumulation_steps": 2, "per_device_train_batch_size": BATCH // 2},
        pytest.param(
            {"bf16": True, "gradient_accumulation_steps": 4, "per_device_train_batch_size": 1}, marks=pytest.mark.slow
        ),
    ],
    ids=["float32", "bfloat16"],
)
def test_a_healthy_run_is_told_nothing(pair, output, options):
    trainer = make_trainer(pair, output, max_steps=4, num_iterations=2, learning_rate=1e-3, **options)
    trainer.train()
    assert [step["policy_drift"] < 0.01 for step in trainer.steps if "policy_drift" in step] == [True, True]
    assert "policy_drift" not in trainer.steps[1]  # the second step on a rollout leaves ratio 1
    assert not trainer.watchdog.warnings
    by_chance = {"control_token_sampled", "slow_bfloat16"}  # of the sampling, and of the machine
    assert {finding.kind.name for finding in trainer.findings.findings} <= by_chance


def test_the_check_draws_no_random_numbers(pair, output, monkeypatch):
    """Not even if it has to look for a cause."""
    plain = make_trainer(pair, output / "plain")
    plain.train()
    monkeypatch.setattr(policy_check, "EXACT", -1.0)
    probed = make_trainer(pair, output / "probed")
    probed.train()
    assert [step["loss"] for step in probed.steps] == [step["loss"] for step in plain.steps]


# ---- what the configuration asks for --------------------------------------------------------------------------------


def with_dropout(pair: Pair, folder: Any, **numbers: float) -> str:
    model = load(pair.student)
    for name, value in numbers.items():
        setattr(model.config, name, value)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(pair.student).save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("p", [0.02, pytest.param(0.3, marks=pytest.mark.slow)])
def test_dropout_is_switched_off_said_and_saved(pair, tmp_path, output, p, caplog):
    trainer = make_trainer(pair, output, student=with_dropout(pair, tmp_path / "student", attention_dropout=p))
    (finding,) = trainer.findings.findings
    assert finding.kind.name == "noise_switched_off"
    assert finding.message.startswith(f"attention_dropout = {p} is switched off for training")
    assert finding.message in caplog.text
    trainer.train()
    assert [step["ratio"] for step in trainer.steps] == pytest.approx([1, 1], abs=1e-5)
    trainer.save_model(str(tmp_path / "saved"))
    assert json.loads((tmp_path / "saved" / "config.json").read_text())["attention_dropout"] == p


def test_the_dropout_of_adapters_is_switched_off_and_said(pair, output):
    lora = LoraConfig(r=2, lora_dropout=0.05, target_modules=["q_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    trainer = make_trainer(pair, output, trainer_options={"peft_config": lora})
    assert [finding.message[:40] for finding in trainer.findings.findings] == [
        "lora_dropout = 0.05 is switched off for "
    ]
    trainer.train()
    assert trainer.steps[0]["ratio"] == pytest.approx(1, abs=1e-5)


def test_kept_dropout_is_refused_before_weights_are_read(pair, tmp_path, output, monkeypatch):
    folder = with_dropout(pair, tmp_path / "student", attention_dropout=0.1)
    monkeypatch.setattr("crossdistill.train.trainer.student_for_trl", None)
    with pytest.raises(FindingError, match=r"disable_dropout = false keeps attention_dropout = 0\.1 in training"):
        make_trainer(pair, output, student=folder, disable_dropout=False)
    lora = {"peft_config": LoraConfig(r=2, lora_dropout=0.5, task_type="CAUSAL_LM")}
    with pytest.raises(FindingError, match=r"keeps lora_dropout = 0\.5"):
        make_trainer(pair, output, disable_dropout=False, trainer_options=lora)
    with pytest.raises(FindingError, match=r"neftune_noise_alpha = 5 adds noise"):
        make_trainer(pair, output, neftune_noise_alpha=5.0)


def test_dropout_that_is_not_there_may_be_kept(pair, output):
    trainer = make_trainer(pair, output, disable_dropout=False, max_steps=1)
    trainer.train()
    assert trainer.steps[0]["ratio"] == pytest.approx(1, abs=1e-5)


# ---- numbers that are not finite ------------------------------------------------------------------------------------


class _Spoils(TrainerCallback):
    def __init__(self, weight: torch.Tensor, value: float):
        self.weight, self.value = weight, value

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        with torch.no_grad():
            self.weight.fill_(self.value)


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (torch.nan, r"the weight model\.layers\.0\.mlp\.up_proj\.weight \(float32\)"),
        (3e38, r"the layer model\.layers\.0\.mlp\.up_proj \(Linear\) \(float32\)"),
    ],
    ids=["weights", "activations"],
)
@pytest.mark.parametrize("top_k", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_an_overflow_in_mid_run_is_told_with_its_place(pair, output, value, where, top_k):
    student = load(pair.student)
    callbacks = {"callbacks": [_Spoils(student.model.layers[0].mlp.up_proj.weight, value)]}
    trainer = trainer_of(pair, output, student, max_steps=2, top_k=top_k, trainer_options=callbacks)
    with pytest.raises(FindingError, match=f"are not finite after step 1: {where} overflowed. Go back to an earlier"):
        trainer.train()
