"""Short training runs on the CPU against what one can compute by hand from the logged rollouts."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import Dataset, IterableDataset
from peft import LoraConfig, PeftModel
from transformers import AutoTokenizer

from crossdistill import InputError
from crossdistill.align import DropReason
from crossdistill.chat import render_prompt
from crossdistill.distill.response import ScoredResponse
from crossdistill.flops import ModelFlops
from crossdistill.objectives.shared import auxiliary_heads
from crossdistill.teachers import LocalTeacher, Teacher, TeacherScore
from crossdistill.train.vllm.sampled_logprobs import KeepSampledLogprobs
from tests.models import MESSAGES, TEXTS, Pair
from tests.oracles import credit as credit_oracle
from tests.oracles import dpca as dpca_oracle
from tests.train.fake_vllm import FakeVLLM
from tests.train.harness import (
    BATCH,
    RecordingTrainer,
    arguments,
    load,
    make_trainer,
    rows,
    sampled_logprobs,
    weights_of,
)

PARTS = ("rollout", "student", "align", "render", "teacher", "credit")
FLOAT32 = {"rel": 2e-4, "abs": 2e-5}


def mean_loss(scored: Sequence[ScoredResponse]) -> float:
    """-mean A over the supervised tokens: the loss while the policy is the one that sampled."""
    advantages = [float(a) for item in scored for a, kept in zip(item.advantages, item.mask, strict=True) if kept]
    return -sum(advantages) / len(advantages)


def by_hand(trainer: RecordingTrainer, batch: int, step: int) -> dict[str, float]:
    """Loss, mean ratio and share of clipped tokens of the responses in `batch` under the weights before `step`."""
    model = load(trainer.student_folder)
    model.load_state_dict(trainer.weights[step], strict=False)
    new, old, advantages = [], [], []
    for ids, item in zip(trainer.prompt_ids[batch], trainer.rollouts[batch], strict=True):
        with torch.no_grad():
            logprobs = sampled_logprobs(model, ids, item.response.ids)
        new += logprobs[torch.from_numpy(item.mask)].tolist()
        old += item.student_logprobs[item.mask].tolist()
        advantages += item.advantages[item.mask].tolist()
    total, _, clipped = dpca_oracle.loss(new, old, advantages)
    ratio = sum(math.exp(a - b) for a, b in zip(new, old, strict=True)) / len(new)
    return {"loss": total / len(new), "ratio": ratio, "clipped": clipped / len(new)}


@pytest.fixture(scope="session")
def trained(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> RecordingTrainer:
    """Three steps with evaluation, logged completions and tensorboard."""
    output = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENSORBOARD_LOGGING_DIR", str(output / "events"))
        trainer = make_trainer(
            pair,
            output,
            max_steps=3,
            eval_strategy="steps",
            eval_steps=3,
            log_completions=True,
            report_to="tensorboard",
            trainer_options={"eval_dataset": rows(MESSAGES[:3])},
        )
        trainer.student_folder = pair.student
        trainer.train()
    return trainer


# --- one step


def test_loss_is_minus_the_mean_advantage(trained):
    assert len(trained.steps) == len(trained.rollouts) == 3
    for step, scored in zip(trained.steps, trained.rollouts, strict=True):
        assert step["loss"] == pytest.approx(mean_loss(scored), **FLOAT32)
        assert step["ratio"] == pytest.approx(1, abs=1e-5)
        assert step["clipped"] == 0
        assert step["loss"] != 0


def test_every_step_samples_anew_from_the_weights_that_the_last_one_left(trained):
    for step, (prompts, scored) in enumerate(zip(trained.prompt_ids, trained.rollouts, strict=True)):
        model = load(trained.student_folder)
        model.load_state_dict(trained.weights[step])
        for ids, item in zip(prompts, scored, strict=True):
            with torch.no_grad():
                expected = sampled_logprobs(model, ids, item.response.ids)
            np.testing.assert_allclose(item.student_logprobs, expected, rtol=1e-4, atol=5e-5)


def test_gradient_is_the_mean_of_advantage_times_score(trained):
    model = load(trained.student_folder)
    terms = [
        (sampled_logprobs(model, ids, item.response.ids) * torch.from_numpy(item.advantages))[
            torch.from_numpy(item.mask)
        ]
        for ids, item in zip(trained.prompt_ids[0], trained.rollouts[0], strict=True)
    ]
    (-torch.cat(terms).mean()).backward()
    norm = math.sqrt(sum(parameter.grad.square().sum().item() for parameter in model.parameters()))
    assert trained.steps[0]["grad_norm"] == pytest.approx(norm, rel=1e-3)


def test_advantages_are_the_credit_of_both_models_log_probabilities(pair, trained):
    teacher, tokenizer = load(pair.teacher), AutoTokenizer.from_pretrained(pair.teacher)
    stop = tokenizer.eos_token_id
    prompts = {bytes(str(render_prompt(trained.processing_class, m)), "utf-8"): m for m in MESSAGES}
    stopped = 0
    for ids, item in zip(trained.prompt_ids[0], trained.rollouts[0], strict=True):
        prompt = render_prompt(tokenizer, prompts[bytes(str(list(ids)), "utf-8")])
        response = trained.teacher.vocab.encode(item.response.data).ids.tolist()
        with torch.no_grad():
            log_q = sampled_logprobs(teacher, prompt, [*response, stop]).tolist()
        log_p = item.student_logprobs.tolist()
        student = [log_p[position] for position in item.response.text_positions]
        expected = credit_oracle.credit(
            student, log_q[:-1], item.alignment.student_splits, item.alignment.teacher_splits, "semantic_prior"
        )
        if item.response.stop_position is not None:
            stopped += 1
            expected.append(log_q[-1] - log_p[-1])
        expected = np.clip(expected, -10, 10)
        np.testing.assert_allclose(item.advantages[item.mask], expected, rtol=1e-3, atol=1e-3)
    assert 0 < stopped < BATCH  # both kinds were looked at


def test_figures(trained):
    for step, scored in zip(trained.steps, trained.rollouts, strict=True):
        tokens = sum(len(item.response.ids) for item in scored)
        assert step["coverage"] == 1
        assert step["token_coverage"] == pytest.approx(sum(int(item.mask.sum()) for item in scored) / tokens)
        assert step["stopped"] == sum(item.response.stop_position is not None for item in scored) / BATCH
        assert step["response_tokens"] == tokens / BATCH
        gap = sum(item.gap_nats for item in scored) / sum(len(item.response.data) for item in scored)
        assert step["teacher_gap"] == pytest.approx(gap, rel=1e-6)
        assert step["teacher_gap_se"] > 0
        assert step["abs_advantage"] == pytest.approx(
            sum(np.abs(item.advantages).sum() for item in scored) / sum(item.mask.sum() for item in scored), rel=1e-5
        )
        parts = {name for name in step if name.startswith("seconds/")}
        assert parts == {f"seconds/{part}" for part in (*PARTS, "total")}
        assert sum(step[part] for part in parts) <= 2 * step["seconds/total"] + 1e-6
        assert step["tokens_per_second"] == pytest.approx(tokens / step["seconds/total"])


def test_ledger_counts_training_alone(trained):
    ledger = trained.total_usage().as_dict()
    scored = [item for batch in trained.rollouts for item in batch]
    prompts = sum(len(ids) for batch in trained.prompt_ids for ids in batch)
    tokens = prompts + sum(len(item.response.ids) for item in scored)
    assert ledger["tokens"] == {
        "student_rollout": tokens,
        "student_step": tokens,
        "teacher_prefill": sum(item.num_teacher_tokens for item in scored),
    }
    assert ledger["coverage"]["sampled_bytes"] == sum(len(item.response.data) for item in scored)
    assert ledger["coverage"]["sampled_tokens"] == sum(len(item.response.ids) for item in scored)
    assert ledger["coverage"]["supervised_bytes"] == ledger["coverage"]["sampled_bytes"] > 0
    assert 0 < ledger["seconds"] < 600
    rows = [len(ids) for batch in trained.prompt_ids for ids in batch]
    rows = [prompt + len(item.response.ids) for prompt, item in zip(rows, scored, strict=True)]
    student, teacher = ModelFlops.of(trained.model), trained.teacher.flops
    assert ledger["data_points"] == len(rows)
    assert ledger["flops"]["student_rollout"] == student.forward(rows)
    assert ledger["flops"]["student_step"] == student.step(rows)
    assert ledger["flops"]["teacher_prefill"] == teacher.forward([item.num_teacher_tokens for item in scored])


def test_the_teacher_is_left_alone(pair, trained):
    original = dict(load(pair.teacher).named_parameters())
    for name, parameter in trained.teacher.model.named_parameters():
        assert torch.equal(parameter, original[name]), name
        assert not parameter.requires_grad
        assert parameter.grad is None


# --- what comes with it


def test_evaluation(trained):
    (entry,) = [entry for entry in trained.state.log_history if "eval_loss" in entry]
    assert entry["step"] == 3
    assert entry["eval_loss"] == pytest.approx(mean_loss(trained.scored), **FLOAT32)  # the latest batch was this one
    assert len(trained.scored) == 3
    assert entry["eval_coverage"] == 1
    gap = sum(item.gap_nats for item in trained.scored) / sum(len(item.response.data) for item in trained.scored)
    assert entry["eval_teacher_gap"] == pytest.approx(gap, rel=1e-6)
    assert entry["eval_ratio"] == pytest.approx(1, abs=1e-5)


def test_completions_are_written(trained):
    paths = sorted((Path(trained.args.output_dir) / "completions").glob("*.parquet"))
    table = pd.read_parquet(paths[0])
    assert table["step"].tolist() == [1] * BATCH
    assert table["completion"].tolist() == [
        item.response.data.decode("utf-8", errors="backslashreplace") for item in trained.rollouts[0]
    ]
    assert all(prompt in map(str, MESSAGES) for prompt in table["prompt"])


def test_tensorboard_events_are_written(trained):
    (path,) = (Path(trained.args.output_dir) / "events").rglob("events.out.tfevents.*")
    content = path.read_bytes()
    for tag in (b"train/teacher_gap", b"train/coverage", b"train/loss", b"eval/teacher_gap"):
        assert tag in content


def test_score_prompts_trains_nothing(trained):
    before, tokens = weights_of(trained.model), trained.usage.as_dict()["tokens"]
    trained.model.train()
    scored = trained.score_prompts(MESSAGES[:2])
    assert len(scored) == 2
    assert trained.model.training
    assert trained.usage.as_dict()["tokens"] == tokens
    assert all(torch.equal(value, before[name]) for name, value in weights_of(trained.model).items())


# --- several steps a rollout


@pytest.mark.parametrize("accumulation", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_several_steps_a_rollout(pair, output, accumulation):
    trainer = make_trainer(
        pair,
        output,
        num_iterations=2,
        max_steps=4,
        gradient_accumulation_steps=accumulation,
        per_device_train_batch_size=BATCH // accumulation,
    )
    trainer.student_folder = pair.student
    trainer.train()
    assert [len(batch) for batch in trainer.rollouts] == [BATCH, BATCH]
    for step, logged in enumerate(trainer.steps):
        expected = by_hand(trainer, batch=step // 2, step=step)
        assert logged["ratio"] == pytest.approx(expected["ratio"], rel=1e-3)
        assert logged["clipped"] == pytest.approx(expected["clipped"], abs=1e-6)
        assert logged["loss"] == pytest.approx(expected["loss"], rel=1e-3)
        assert (abs(logged["ratio"] - 1) > 1e-3) == (step % 2 == 1)
    assert any(logged["clipped"] > 0 for logged in trainer.steps[1::2])
    assert trainer.usage.as_dict()["tokens"]["student_step"] == 2 * trainer.usage.as_dict()["tokens"]["student_rollout"]


@pytest.mark.slow
def test_every_prompt_has_its_turn(pair, output):
    trainer = make_trainer(pair, output, num_iterations=2, max_steps=4)
    trainer.train()
    seen = sorted(tuple(ids) for batch in trainer.prompt_ids for ids in batch)
    assert seen == sorted(tuple(render_prompt(trainer.processing_class, prompt)) for prompt in MESSAGES)


def test_every_epoch_has_an_order_of_its_own_that_a_resumed_run_finds_again(pair, output):
    def orders(first: int) -> list[list[int]]:
        sampler = make_trainer(pair, output)._get_train_sampler()
        sampler._epoch = lambda: epoch
        found = []
        for epoch in range(first, 3):  # noqa: B007 - the sampler reads it
            found.append(list(sampler))
        return found

    assert orders(1) == orders(0)[1:]
    assert len({tuple(order) for order in orders(0)}) == 3
    assert all(sorted(order) == list(range(len(MESSAGES))) for order in orders(0))


# --- fixed responses


def answer_with(trainer: RecordingTrainer, respond: Callable[[list[int]], list[int]]) -> None:
    """Replace the sampler: the response to a prompt is a function of it."""
    trainer._generate_single_turn = lambda prompt_ids, *_, **__: [respond(list(ids)) for ids in prompt_ids]


def uneven(prompt: list[int]) -> list[int]:
    """One to fourteen tokens, most without a stop token; some are control tokens or ids that no token has."""
    rng = np.random.default_rng(sum(prompt))
    ids = rng.integers(4, 320, rng.integers(1, 15)).tolist()
    return ids if sum(prompt) % 3 else [*ids, 321]


def trained_on_fixed(pair: Pair, output: Path, size: int, accumulation: int) -> RecordingTrainer:
    trainer = make_trainer(
        pair,
        output / f"{size}x{accumulation}",
        per_device_train_batch_size=size,
        gradient_accumulation_steps=accumulation,
        optim="sgd",
        learning_rate=0.02,
        max_completion_length=16,
    )
    answer_with(trainer, uneven)
    trainer.train()
    return trainer


@pytest.mark.slow
def test_gradient_accumulation_changes_nothing(pair, output):
    whole = trained_on_fixed(pair, output, 4, 1)
    lengths = {len(item.response.ids) for item in whole.rollouts[0]}
    assert len(lengths) > 2  # so that a mean of means would be another number
    for size, accumulation in ((2, 2), (1, 4)):
        parts = trained_on_fixed(pair, output, size, accumulation)
        for ours, theirs in zip(parts.steps, whole.steps, strict=True):
            assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-5)
            assert ours["grad_norm"] == pytest.approx(theirs["grad_norm"], rel=1e-4)
        for name, value in parts.weights[-1].items():
            torch.testing.assert_close(value, whole.weights[-1][name], rtol=1e-4, atol=1e-6)
        assert not torch.equal(parts.weights[0]["lm_head.weight"], parts.weights[-1]["lm_head.weight"])


def test_a_batch_in_which_nothing_ended(pair, output):
    trainer = make_trainer(pair, output)
    answer_with(trainer, lambda prompt: [50, 60, 70])
    trainer.train()
    assert [step["stopped"] for step in trainer.steps] == [0, 0]
    assert trainer.steps[0]["loss"] == pytest.approx(mean_loss(trainer.rollouts[0]), **FLOAT32)
    assert all(item.mask.all() for item in trainer.rollouts[0])


def test_a_batch_of_stop_tokens_alone(pair, output):
    trainer = make_trainer(pair, output)
    stop = trainer.processing_class.eos_token_id
    answer_with(trainer, lambda prompt: [stop])
    trainer.train()
    assert trainer.steps[0]["loss"] == pytest.approx(mean_loss(trainer.rollouts[0]), **FLOAT32)
    assert trainer.steps[0]["coverage"] == 1  # of no bytes
    assert "teacher_gap" not in trainer.steps[0]


def test_the_stop_unit_can_be_turned_off(pair, output):
    trainer = make_trainer(pair, output, stop_unit=False)
    stop = trainer.processing_class.eos_token_id
    answer_with(trainer, lambda prompt: [50, 60, stop])
    trainer.train()
    assert [item.mask.tolist() for item in trainer.rollouts[0]] == [[True, True, False]] * BATCH
    assert trainer.usage.as_dict()["coverage"]["dropped_tokens"] == {"stop_token": 2 * BATCH}


def test_control_tokens_alone_teach_nothing(pair, output):
    trainer = make_trainer(pair, output, weight_decay=0.0)
    answer_with(trainer, lambda prompt: [trainer.processing_class.pad_token_id, len(trainer.student_vocab) - 1])
    trainer.train()
    assert_untouched(trainer)
    assert trainer.usage.as_dict()["coverage"]["dropped_tokens"] == {"special_token": 4 * BATCH}


# --- other teachers


class FakeTeacher(Teacher):
    """Its vocabulary and tokenizer are the local teacher's; its answers are given."""

    def __init__(self, local: LocalTeacher, answer: Callable[[Any], Any]):
        self.signal, self.vocab, self.tokenizer = local.signal, local.vocab, local.tokenizer
        self.stop_ids = local.stop_ids
        self._answer = answer

    def score(self, requests: Sequence[Any], signal: Any = None, top_k: int = 0) -> list[Any]:
        return [self._answer(request) for request in requests]


def assert_untouched(trainer: RecordingTrainer) -> None:
    assert [step["loss"] for step in trainer.steps] == [0, 0]
    assert [step["grad_norm"] for step in trainer.steps] == [0, 0]
    for name, value in trainer.weights[-1].items():
        assert torch.equal(value, trainer.weights[0][name]), name


def _nan(request: Any) -> TeacherScore:
    logprobs = np.full(len(request.response_ids), -1.0, dtype=np.float32)
    logprobs[:1] = np.nan
    return TeacherScore(logprobs, math.nan if request.stopped else None)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(lambda _: DropReason.TEACHER_CONTEXT, DropReason.TEACHER_CONTEXT), (_nan, DropReason.NON_FINITE)],
    ids=["context", "nan"],
)
def test_a_batch_in_which_every_sample_is_dropped(pair, output, trained, answer, reason):
    trainer = make_trainer(pair, output, teacher=FakeTeacher(trained.teacher, answer), weight_decay=0.0)
    answer_with(trainer, lambda prompt: [50, 60, trainer.processing_class.eos_token_id])
    trainer.train()
    assert_untouched(trainer)
    assert [step["coverage"] for step in trainer.steps] == [0, 0]
    assert trainer.usage.as_dict()["coverage"]["dropped_tokens"] == {str(reason): 6 * BATCH}
    assert trainer.usage.as_dict()["coverage"]["supervised_tokens"] == 0


def test_a_dropped_sample_leaves_the_others(pair, output, trained):
    local = trained.teacher
    count = iter(range(100))
    teacher = FakeTeacher(local, lambda r: _nan(r) if next(count) % 2 else local.score([r])[0])
    trainer = make_trainer(pair, output, teacher=teacher, max_steps=1)
    answer_with(trainer, uneven)
    trainer.train()
    assert [item.dropped for item in trainer.rollouts[0]] == [None, DropReason.NON_FINITE] * (BATCH // 2)
    assert trainer.steps[0]["loss"] == pytest.approx(mean_loss(trainer.rollouts[0]), **FLOAT32)
    assert 0 < trainer.steps[0]["coverage"] < 1


# --- prompts, temperature, adapters


def test_text_prompts_are_continued_by_both_models(pair, output):
    trainer = make_trainer(pair, output, prompts=TEXTS, max_steps=1)
    trainer.train()
    by_ids = {tuple(trainer.processing_class(text)["input_ids"]): text for text in TEXTS}
    for ids, item in zip(trainer.prompt_ids[0], trainer.rollouts[0], strict=True):
        read = trainer.teacher.tokenizer(by_ids[tuple(ids)])["input_ids"]
        assert item.num_teacher_tokens == len(read) + len(item.encoding.ids)
    assert trainer.steps[0]["loss"] == pytest.approx(mean_loss(trainer.rollouts[0]), **FLOAT32)


def test_temperature_is_that_of_both_models(pair, output):
    trainer = make_trainer(pair, output, prompts=TEXTS, max_steps=1, temperature=0.6)
    trainer.train()
    student, teacher = load(pair.student), load(pair.teacher)
    by_ids = {tuple(trainer.processing_class(text)["input_ids"]): text for text in TEXTS}
    for ids, item in zip(trainer.prompt_ids[0], trainer.rollouts[0], strict=True):
        read = trainer.teacher.tokenizer(by_ids[tuple(ids)])["input_ids"]
        with torch.no_grad():
            ours = sampled_logprobs(student, ids, item.response.ids, 0.6)
            theirs = sampled_logprobs(teacher, read, item.encoding.ids, 0.6)
        np.testing.assert_allclose(item.student_logprobs, ours, rtol=1e-4, atol=5e-5)
        np.testing.assert_allclose(item.teacher.logprobs, theirs, rtol=1e-4, atol=5e-5)
    assert trainer.steps[0]["ratio"] == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
def test_special_tokens_that_are_words_of_a_response(pair, output):
    """The student's <|user|> and the teacher's <turn> are read as text, and nothing else is."""
    trainer = make_trainer(pair, output, prompts=TEXTS, max_steps=1, text_tokens=["<|user|>", "<turn>"])
    ours, theirs = trainer.processing_class, trainer.teacher.tokenizer
    user, turn = ours.convert_tokens_to_ids("<|user|>"), theirs.convert_tokens_to_ids("<turn>")
    assert trainer.student_vocab.pieces[user] == b"<|user|>"
    assert trainer.teacher.vocab.pieces[turn] == b"<turn>"
    assert trainer.teacher.vocab.encode("a<turn>").ids[-1] == turn
    assert trainer.student_vocab.pieces[ours.convert_tokens_to_ids("<|assistant|>")] == b""
    assert len(trainer.student_vocab) == trainer.model.config.vocab_size
    trainer.train()
    for item in trainer.rollouts[0]:
        assert item.response.data == trainer.student_vocab.decode(item.response.ids)
        assert user not in item.response.special_ids


def test_lora_trains_the_adapter_alone(pair, output):
    config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    trainer = make_trainer(pair, output, trainer_options={"peft_config": config})
    trainer.train()
    assert trainer.steps[0]["loss"] == pytest.approx(mean_loss(trainer.rollouts[0]), **FLOAT32)
    base = dict(load(pair.student).named_parameters())
    changed = []
    for name, value in trainer.weights[-1].items():
        if "lora_" in name:
            changed.append(not torch.equal(value, trainer.weights[0][name]))
        else:
            plain = name.removeprefix("base_model.model.").replace(".base_layer", "")
            assert torch.equal(value, base[plain]), name
    assert len(changed) == 4
    assert all(changed)

    trainer.save_model(str(output / "adapter"))
    assert not list((output / "adapter").glob("model*.safetensors"))
    loaded = PeftModel.from_pretrained(load(pair.student), output / "adapter").eval()
    ids = torch.arange(4, 24)[None]
    trainer.model.eval()
    with torch.no_grad():
        ours, theirs, without = (model(ids).logits for model in (trainer.model, loaded, load(pair.student)))
    torch.testing.assert_close(ours, theirs)
    assert not torch.allclose(ours, without, atol=1e-4)


# --- vLLM's log-probabilities


def test_the_ratio_corrects_the_mismatch_with_vllm(pair, output):
    offset = 0.1  # vLLM thinks its samples a little less probable than the training engine does
    student = load(pair.student)

    def logprob(prompt: list[int], ids: list[int]) -> list[float]:
        with torch.no_grad():
            return (sampled_logprobs(student, prompt, ids) - offset).tolist()

    trainer = make_trainer(pair, output, max_steps=1)
    fake = FakeVLLM(uneven, logprob)
    trainer.use_vllm, trainer._last_loaded_step = True, -1
    trainer.vllm_generation = KeepSampledLogprobs(fake, trainer.model)
    trainer.train()
    assert (fake.logprobs, fake.synced) == (0, 1)
    for ids, item in zip(trainer.prompt_ids[0], trainer.rollouts[0], strict=True):
        np.testing.assert_allclose(item.student_logprobs, logprob(ids, item.response.ids), rtol=1e-6)
    assert trainer.steps[0]["ratio"] == pytest.approx(math.exp(offset), rel=1e-4)
    expected = math.exp(offset) * mean_loss(trainer.rollouts[0])
    assert trainer.steps[0]["loss"] == pytest.approx(expected, rel=1e-3)


def test_vllm_ends_where_the_trainer_does(pair, output):
    trainer = make_trainer(pair, output)
    given = {"seed": 3}
    trainer.use_vllm, trainer.vllm_generation = True, SimpleNamespace(generation_kwargs=given)
    trainer.stop_at((7, 9))
    assert trainer.vllm_generation.generation_kwargs == {"stop_token_ids": [7, 9], "seed": 3}
    assert given == {"seed": 3}  # it is the user's
    assert trainer.eos_token_ids == trainer.generation_config.eos_token_id == [7, 9]


def test_vllm_gets_the_weights_of_the_student_alone():
    student = torch.nn.Linear(2, 2)
    auxiliary_heads.attach(student, torch.nn.Linear(3, 3))
    fake, sent = FakeVLLM(lambda _: [], lambda *_: []), []
    fake.sync_weights = lambda: sent.extend(name for name, _ in student.named_parameters())  # type: ignore[method-assign]
    KeepSampledLogprobs(fake, student).sync_weights()
    assert sent == ["weight", "bias"]
    assert auxiliary_heads.auxiliary_heads_of(student) is not None


def test_missing_log_probabilities_of_vllm_are_refused():
    kept = KeepSampledLogprobs(
        FakeVLLM(lambda _: [1, 2], lambda *_: [-1.0, None]),  # type: ignore[list-item]
        torch.nn.Module(),
    )
    with pytest.raises(InputError, match="NaN"):
        kept.generate([[1]], None, 1)
    kept.sync_weights()
    assert kept.synced == 1  # everything else is vLLM's


# --- what is refused before weights are read


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teacher": "same"}, "student and teacher are both"),
        ({"prompts": []}, "the training data is empty"),
        ({"text_tokens": ["<think>"]}, "text_tokens names '<think>', which is a special token of neither tokenizer"),
        ({"text_tokens": ["<stop>"]}, "text_tokens names '<stop>', which ends a turn of the teacher"),
        ({"max_completion_length": 128}, "does not fit the student's context of 128 tokens"),
        ({"per_device_train_batch_size": 9}, "the training data has 8 prompts and a step takes 9"),
    ],
    ids=["same", "empty", "text_tokens", "stop", "budget", "batch"],
)
def test_refused_without_loading(pair, output, changes, message):
    if "teacher" in changes:
        changes = {"teacher": pair.student}
    with pytest.raises(InputError, match=message):
        make_trainer(pair, output, **changes)


@pytest.mark.usefixtures("no_weights")
def test_a_data_set_without_prompts_is_refused(pair, output):
    data = Dataset.from_dict({"question": TEXTS})
    with pytest.raises(InputError, match="the evaluation data 'a' has no 'prompt' column, only question"):
        make_trainer(pair, output, trainer_options={"eval_dataset": {"a": data}})


@pytest.mark.usefixtures("no_weights")
def test_a_stream_cannot_be_read_twice(pair, output):
    stream = IterableDataset.from_generator(lambda: iter([{"prompt": text} for text in TEXTS]))
    with pytest.raises(InputError, match="num_iterations"):
        RecordingTrainer(pair.student, pair.teacher, arguments(output, num_iterations=2), train_dataset=stream)


def test_a_prompt_that_is_too_long_is_refused(pair, output):
    with pytest.raises(InputError, match=r"prompt 1 has \d+ tokens, .* exceeds the student's context of 128 tokens"):
        make_trainer(pair, output, prompts=[TEXTS[0], "word " * 120, *TEXTS[2:]])


def test_a_loaded_model_needs_its_tokenizer(pair, output):
    with pytest.raises(InputError, match="pass processing_class along"):
        make_trainer(pair, output, student=load(pair.student))
    with pytest.raises(InputError, match="pass teacher_processing_class along"):
        make_trainer(pair, output, teacher=load(pair.teacher))


@pytest.mark.slow
def test_loaded_models_train_as_their_folders_do(pair, output, trained):
    tokenizers = {
        "processing_class": AutoTokenizer.from_pretrained(pair.student, padding_side="left"),
        "teacher_processing_class": AutoTokenizer.from_pretrained(pair.teacher),
    }
    trainer = make_trainer(
        pair, output, student=load(pair.student), teacher=load(pair.teacher), trainer_options=tokenizers, max_steps=1
    )
    trainer.train()
    assert trainer.steps[0]["loss"] == trained.steps[0]["loss"]
