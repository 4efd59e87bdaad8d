"""The SFT warm start: what is learned, and a teacher that writes the responses, killed and resumed."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from crossdistill import ByteVocab, InputError
from crossdistill.chat import ensure_template, render_prompt
from crossdistill.flops import ModelFlops
from crossdistill.runs import sft as runs
from crossdistill.runs import sft_data
from crossdistill.runs.config import SFTRunConfig
from crossdistill.runs.interrupt import Interrupted
from crossdistill.runs.resumable_sft import example_lengths
from crossdistill.runs.sft import sft, sft_trainer
from crossdistill.runs.sft_examples import IGNORED, ExampleMaker
from crossdistill.teachers.writing import WrittenResponse
from tests.models import MESSAGES, TEXTS, Pair

TRAIN = {
    "per_device_train_batch_size": 2,
    "max_steps": 4,
    "learning_rate": 1e-2,
    "logging_steps": 1,
    "bf16": False,
    "use_cpu": True,
    "disable_tqdm": True,
}


@pytest.fixture
def data(tmp_path: Path) -> str:
    path = tmp_path / "rows.jsonl"
    rows = [{"prompt": m, "completion": t} for m, t in zip(MESSAGES, reversed(TEXTS), strict=True)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture
def fixed_teacher(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The teacher's responses are "w <n>", every third truncated; returns the prompts of each call."""
    calls: list[Any] = []

    def write(
        model: Any,
        tokenizer: Any,
        prompts: Any,
        budget: int,
        temperature: float,
        batch: int,
        seed: int,
        first_row: int,
        text_tokens: Any,
    ) -> Any:
        calls.append((list(prompts), first_row))
        for number in range(first_row, first_row + len(prompts)):
            yield WrittenResponse(f"w {number} é", 5, stopped=number % 3 != 2)

    monkeypatch.setattr(sft_data, "write_responses", write)
    return calls


def config(pair: Pair, data: str, **options: Any) -> SFTRunConfig:
    return SFTRunConfig(**{"student": pair.student, "dataset": data, "train": TRAIN, "max_new_tokens": 32, **options})


# --- examples


def test_example_is_tokenised_as_rollouts_are(pair):
    tokenizer = AutoTokenizer.from_pretrained(pair.student)
    vocab = ByteVocab.from_tokenizer(tokenizer)
    text = "naïve <|end|> 🤗"  # a text that spells a control token stays text
    example = ExampleMaker(tokenizer, vocab).of_completion(MESSAGES[0], text)
    prompt = render_prompt(tokenizer, MESSAGES[0])
    response = example["input_ids"][len(prompt) :]
    assert example["input_ids"][: len(prompt)] == prompt
    assert vocab.decode(response) == text.encode()
    assert response[-1] == tokenizer.eos_token_id
    assert tokenizer.eos_token_id not in response[:-1]
    assert example["labels"] == [IGNORED] * len(prompt) + response


def test_loss_is_on_the_responses_alone(pair, data, output):
    tokenizer = AutoTokenizer.from_pretrained(pair.student)
    vocab = ByteVocab.from_tokenizer(tokenizer)
    rows = Dataset.from_json(data).select(range(2))
    trainer = sft_trainer(pair.student, tokenizer, vocab, rows, output, {**TRAIN, "max_steps": 1})
    trainer.train()
    model = AutoModelForCausalLM.from_pretrained(pair.student)
    nats, tokens = 0.0, 0
    for row in rows:
        prompt = render_prompt(tokenizer, row["prompt"])
        response = [*vocab.encode(row["completion"]).ids.tolist(), tokenizer.eos_token_id]
        with torch.no_grad():
            logprobs = model(torch.tensor([[*prompt, *response]])).logits[0].log_softmax(-1)
        nats -= sum(logprobs[len(prompt) - 1 + k, token].item() for k, token in enumerate(response))
        tokens += len(response)
    assert trainer.state.log_history[0]["loss"] == pytest.approx(nats / tokens, rel=1e-4)


# --- what a run costs


def lengths_of(pair: Pair, data: str) -> list[int]:
    tokenizer = AutoTokenizer.from_pretrained(pair.student)
    maker = ExampleMaker(tokenizer, ByteVocab.from_tokenizer(tokenizer))
    rows = Dataset.from_json(data)
    examples = (maker.of_completion(row["prompt"], row["completion"]) for row in rows)
    return [len(example["input_ids"]) for example in examples]


def test_costs_of_one_epoch_are_those_of_every_example(pair, data, output):
    options = {**TRAIN, "max_steps": -1, "num_train_epochs": 1}
    run = sft(config(pair, data, train=options), output)
    lengths = lengths_of(pair, data)
    student = ModelFlops.of(AutoModelForCausalLM.from_pretrained(pair.student))
    assert run["data_points"] == len(lengths)
    assert run["tokens"] == {"sft_step": sum(lengths)}
    assert run["flops"] == {"sft_step": student.step(lengths), "total": student.step(lengths)}
    assert run["seconds"] > 0
    assert run["flops_assumptions"] == ["the data set holds the responses: what it cost to write them is not counted"]


@pytest.mark.slow
def test_costs_go_on_after_a_resume(pair, data, output):
    options = {**TRAIN, "save_strategy": "steps", "save_steps": 2}
    whole = sft(config(pair, data, train=options), output / "whole")
    assert whole["data_points"] == 8
    shutil.rmtree(output / "whole" / "checkpoints" / "checkpoint-4")
    resumed = sft(config(pair, data, train=options), output / "whole", resume=True)
    assert {name: resumed[name] for name in ("data_points", "tokens", "flops")} == {
        name: whole[name] for name in ("data_points", "tokens", "flops")
    }


def test_a_teachers_responses_are_paid_for_those_that_did_not_end_as_well(pair, data, output, fixed_teacher):
    run = sft(config(pair, data, teacher=pair.teacher), output)
    written = [json.loads(line) for line in (output / "responses.jsonl").read_text().splitlines()]
    assert not all(row["stopped"] for row in written)
    tokenizer = AutoTokenizer.from_pretrained(pair.teacher)
    ensure_template(tokenizer)
    lengths = [
        len(render_prompt(tokenizer, row["prompt"]))
        + len(tokenizer.encode(row["completion"], add_special_tokens=False))
        + row["stopped"]
        for row in written
    ]
    teacher = ModelFlops.of(AutoModelForCausalLM.from_pretrained(pair.teacher))
    assert run["tokens"]["teacher_rollout"] == sum(lengths)
    assert run["flops"]["teacher_rollout"] == teacher.forward(lengths)


@pytest.mark.parametrize("packed", [False, True])
def test_lengths_of_a_batch(packed):
    rows = [[5, 6, 7], [8], [9, 9]]
    collator = DataCollatorForLanguageModeling(pad_token_id=0, padding_free=packed)
    assert example_lengths(collator([{"input_ids": ids, "labels": ids} for ids in rows])) == [3, 1, 2]


# --- whole runs


def test_given_responses(pair, data, output):
    run = sft(config(pair, data), output)
    losses = [entry["loss"] for entry in run["history"] if "loss" in entry]
    assert len(losses) == 4
    assert losses[-1] < losses[0]
    assert run["num_examples"] == len(TEXTS)
    assert json.loads((output / "run.json").read_text())["config"]["student"] == pair.student
    before = AutoModelForCausalLM.from_pretrained(pair.student).lm_head.weight
    assert not torch.equal(AutoModelForCausalLM.from_pretrained(output / "model").lm_head.weight, before)
    assert AutoTokenizer.from_pretrained(output / "model").chat_template
    assert not (output / "responses.jsonl").exists()
    card = (output / "model" / "README.md").read_text()
    assert "supervised fine-tuning on given responses" in card
    assert f"| sft step | {run['tokens']['sft_step']:,} |" in card
    with pytest.raises(InputError, match="holds another run"):
        sft(config(pair, data), output)


@pytest.mark.slow
def test_lora(pair, data, output):
    sft(config(pair, data, lora={"r": 2, "target_modules": ["q_proj"]}), output)
    student = AutoModelForCausalLM.from_pretrained(pair.student)
    adapted = PeftModel.from_pretrained(student, output / "model")
    assert any(parameter.abs().sum() > 0 for name, parameter in adapted.named_parameters() if "lora_B" in name)


def test_a_teacher_writes_what_ended(pair, data, output, fixed_teacher):
    run = sft(config(pair, data, teacher=pair.teacher), output)
    written = [json.loads(line) for line in (output / "responses.jsonl").read_text().splitlines()]
    assert [row["completion"] for row in written] == [f"w {number} é" for number in range(8)]
    assert [row["stopped"] for row in written] == [True, True, False] * 2 + [True, True]
    assert [row["prompt"] for row in written] == MESSAGES
    assert run["num_examples"] == 6  # the truncated ones are kept in the file and not learned
    assert len(fixed_teacher) == 1


@pytest.mark.slow
def test_the_real_teacher_writes(pair, data, output):
    """Whatever it writes, every prompt has its line."""
    chosen = config(pair, data, teacher=pair.teacher, max_new_tokens=24, batch_size=3)
    try:
        sft(chosen, output)
    except InputError as error:  # a random model may never end
        assert "none of the teacher's 8 responses ended within max_new_tokens = 24" in str(error)
    written = [json.loads(line) for line in (output / "responses.jsonl").read_text().splitlines()]
    assert len(written) == len(TEXTS)
    assert len({row["completion"] for row in written}) > 1


@pytest.mark.slow
def test_writing_goes_on_after_a_kill(pair, data, output, fixed_teacher):
    chosen = config(pair, data, teacher=pair.teacher)
    sft(chosen, output)
    whole = (output / "responses.jsonl").read_bytes()
    lines = whole.splitlines(keepends=True)
    half = lines[3][: lines[3].index("é".encode()) + 1]  # not even whole UTF-8
    (output / "responses.jsonl").write_bytes(b"".join(lines[:3]) + half)
    sft(chosen, output, resume=True)
    assert (output / "responses.jsonl").read_bytes() == whole
    assert fixed_teacher[1] == (MESSAGES[3:], 3)
    sft(chosen, output, resume=True)
    assert len(fixed_teacher) == 2  # nothing is left to write


def test_a_teacher_that_never_ends_is_refused(pair, data, output, monkeypatch):
    endless = lambda model, tokenizer, prompts, *_, **__: iter([WrittenResponse("x", 9, stopped=False)] * len(prompts))  # noqa: E731
    monkeypatch.setattr(sft_data, "write_responses", endless)
    with pytest.raises(InputError, match="none of the teacher's 8 responses ended within max_new_tokens = 32"):
        sft(config(pair, data, teacher=pair.teacher), output)


@pytest.mark.slow
def test_interruption_and_resume(pair, data, output, tmp_path, monkeypatch):
    whole = sft(config(pair, data), tmp_path / "whole")

    class StoppedAfterTwo(runs.StopOnSignal):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 2:
                self._receive(15, None)
            super().on_step_end(args, state, control, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(runs, "StopOnSignal", StoppedAfterTwo)
        with pytest.raises(Interrupted, match="after step 2"):
            sft(config(pair, data), output)
    assert not (output / "model").exists()
    resumed = sft(config(pair, data), output, resume=True)
    losses = [[entry["loss"] for entry in run["history"] if "loss" in entry] for run in (whole, resumed)]
    assert losses[0] == losses[1]
    weights = [
        AutoModelForCausalLM.from_pretrained(path / "model").lm_head.weight for path in (tmp_path / "whole", output)
    ]
    assert torch.equal(*weights)


@pytest.mark.parametrize("column", ["prompt", "completion"])
def test_columns_are_needed(pair, output, tmp_path, column):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({other: "x" for other in ("prompt", "completion") if other != column}) + "\n")
    with pytest.raises(InputError, match=f"has no '{column}' column, only "):
        sft(config(pair, str(path)), output)
    assert not output.exists()


def test_a_completion_that_is_no_text_is_refused_before_the_folder_is_claimed(pair, output, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"prompt": "one", "completion": 7}) + "\n")
    with pytest.raises(InputError, match="the completion of row 0 is 7: it must be a text"):
        sft(config(pair, str(path)), output)
    assert not (output / "config.json").exists()


def test_the_teachers_budget_must_fit_its_context(pair, data, output):
    with pytest.raises(InputError, match="max_new_tokens = 4096 tokens does not fit the teacher's context of 256"):
        sft(config(pair, data, teacher=pair.teacher, max_new_tokens=4096), output)


def test_packing_has_a_length(tmp_path):
    assert runs.sft_arguments(tmp_path, {"use_cpu": True, "bf16": False}).max_length is None
    assert runs.sft_arguments(tmp_path, {"use_cpu": True, "bf16": False, "packing": True}).max_length == 1024


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"train": {**TRAIN, "per_device_train_batch_size": 0}},
            "per_device_train_batch_size and .* at least 1, not 0",
        ),
        ({"train": {**TRAIN, "learning_rate": float("nan")}}, "learning_rate must be above 0 and finite, not nan"),
        ({"train": {**TRAIN, "report_to": ["mlflow"]}}, "report_to = 'mlflow' needs mlflow, which is not installed"),
        (
            {"lora": {"target_modules": ["nothing_like_it"]}},
            "the run cannot be set up: Target modules .*nothing_like_it",
        ),
    ],
)
def test_settings_that_fail_late_are_refused_before_the_folder_is_claimed(pair, data, output, options, said):
    with pytest.raises(InputError, match=said):
        sft(config(pair, data, **options), output)
    assert not (output / "config.json").exists()


def test_a_prompt_that_leaves_the_teacher_no_room_is_refused_before_it_is_loaded(pair, tmp_path, output, monkeypatch):
    monkeypatch.setattr(sft_data, "load_model", None)
    path = tmp_path / "long.jsonl"
    path.write_text(json.dumps({"prompt": "word " * 5000}) + "\n")
    with pytest.raises(InputError, match=r"prompt 0 has .* exceeds the teacher.s context"):
        sft(config(pair, str(path), teacher=pair.teacher), output)


# --- given and written texts


def rows_file(folder: Path, completions: list[Any]) -> str:
    path = folder / "rows.jsonl"
    rows = [{"prompt": m, "completion": c} for m, c in zip(MESSAGES, completions, strict=False)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_a_completions_own_end_is_taught_once(pair, output, tmp_path, caplog):
    data = rows_file(tmp_path, ["three<|end|>"] * 8)
    run = sft(config(pair, data, train={**TRAIN, "max_steps": 1}), output)
    assert [finding["kind"] for finding in run["findings"]] == ["own_end_cut"]
    assert "8 of 8 completions end in <|end|>" in caplog.text


@pytest.mark.parametrize(
    ("completions", "said"),
    [
        (["", " \n"], r"no row of .* can be used \(2 empty \(rows 0, 1\)\)"),
        (["one<|eot_id|>", "two<|eot_id|>"], r"2 of 2 completions begin or end with <\|eot_id\|>"),
        ([[{"role": "user", "content": "one"}]], r"the completion of row 0 is \[.*: it must be a text"),
    ],
)
def test_completions_that_teach_what_nobody_wants_are_refused(pair, output, tmp_path, monkeypatch, completions, said):
    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", None)
    with pytest.raises(InputError, match=said):
        sft(config(pair, rows_file(tmp_path, completions)), output)
    assert not (output / "config.json").exists()


def test_completions_as_messages(pair, output, tmp_path):
    """The conversational form of TRL."""
    tokenizer = AutoTokenizer.from_pretrained(pair.student)
    vocab = ByteVocab.from_tokenizer(tokenizer)
    taught = []
    for completions in (["four"] * 2, [[{"role": "assistant", "content": "four"}]] * 2):
        rows = Dataset.from_json(rows_file(tmp_path, completions))
        trainer = sft_trainer(pair.student, tokenizer, vocab, rows, output, {**TRAIN, "max_steps": 1})
        taught.append(list(trainer.train_dataset["labels"]))
    assert taught[0] == taught[1]


def test_what_a_teacher_leaves_empty_is_left_out(pair, data, output, monkeypatch, caplog):
    texts = ["", "one", " \n", *["two"] * 5]
    written = lambda *_, **__: iter([WrittenResponse(text, 2, stopped=True) for text in texts])  # noqa: E731
    monkeypatch.setattr(sft_data, "write_responses", written)
    run = sft(config(pair, data, teacher=pair.teacher, train={**TRAIN, "max_steps": 1}), output)
    assert run["num_examples"] == 6
    assert [finding["kind"] for finding in run["findings"]] == ["nothing_written", "rows_left_out"]
    assert "in answer to 2 of 8 prompts (the first in row 0)" in caplog.text


@pytest.mark.parametrize("damage", ["reordered", "edited prompt", "foreign"])
def test_a_resume_with_other_pairs_is_refused(pair, data, output, fixed_teacher, damage):
    chosen = config(pair, data, teacher=pair.teacher, train={**TRAIN, "max_steps": 1})
    sft(chosen, output)
    path = Path(data) if damage == "edited prompt" else output / "responses.jsonl"
    lines = path.read_text().splitlines()
    if damage == "foreign":
        lines = [json.dumps({"prompt": "one", "completion": "two", "stopped": True})]
    else:
        lines = lines[1:] + lines[:1] if damage == "reordered" else [lines[0].replace("Add 12", "Add 13"), *lines[1:]]
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=r"row 0 of .*responses\.jsonl .*: restore the data set and the file"):
        sft(chosen, output, resume=True)
    assert len(fixed_teacher) == 1


def test_what_a_template_does_is_told_and_kept(pair, data, output, fixed_teacher, tmp_path, caplog):
    """A teacher without a generation prompt, whose tokenizer reads texts at random."""
    folder = Path(shutil.copytree(pair.teacher, tmp_path / "teacher"))
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text().split("{% if add_generation_prompt")[0])
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["dropout"] = 0.3
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    run = sft(config(pair, data, teacher=str(folder), max_new_tokens=20, train={**TRAIN, "max_steps": 1}), output)
    found = [finding["kind"] for finding in run["findings"]]
    assert found == ["tokenizer_sampling_off", "no_generation_prompt", "rows_left_out"]
    assert run["data"]["training"]["left_out"] == {"not_ended": 2}
    assert caplog.text.count("the teacher's chat template has no generation prompt") == 1
