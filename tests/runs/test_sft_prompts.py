"""Prompts of the SFT warm start are read as a run on policy reads them."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from crossdistill import ByteVocab, InputError
from crossdistill.chat import render_prompt
from crossdistill.runs.config import SFTRunConfig
from crossdistill.runs.sft import sft
from crossdistill.runs.sft_examples import ExampleMaker
from tests.models import MESSAGES, Pair

RENDERED = "<|user|>Hi<|end|><|assistant|>"
BEGUN = [*MESSAGES[0], {"role": "assistant", "content": "It is"}]


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("crossdistill.runs.sft.ResumableSFTTrainer.__init__", refuse)


def config(pair: Pair, path: Path, **options: Any) -> SFTRunConfig:
    train = {"per_device_train_batch_size": 2, "max_steps": 1, "bf16": False, "use_cpu": True}
    return SFTRunConfig(
        **{"student": pair.student, "dataset": str(path), "train": train, "max_new_tokens": 32, **options}
    )


def table(path: Path, prompts: list[str]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["prompt", "completion"])
        writer.writerows([prompt, "four"] for prompt in prompts)
    return path


@pytest.mark.parametrize("prompt", [MESSAGES[0], BEGUN])
def test_examples_of_any_form_are_rendered_alike(pair, prompt):
    tokenizer = AutoTokenizer.from_pretrained(pair.student)
    maker = ExampleMaker(tokenizer, ByteVocab.from_tokenizer(tokenizer))
    plain = maker.of_completion(prompt, "42")
    assert plain["input_ids"][: len(render_prompt(tokenizer, prompt))] == render_prompt(tokenizer, prompt)
    for form in (json.dumps(prompt), str(prompt), [{**message, "tool_calls": None} for message in prompt]):
        assert maker.of_completion(form, "42") == plain


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize(
    ("prompt", "has_teacher", "message"),
    [
        (json.dumps(MESSAGES[0])[:-1], False, "prompt 1 is a text that begins like a conversation"),
        (RENDERED, True, "prompt 1 was rendered with a chat template before"),
    ],
)
def test_what_is_refused(pair, output, tmp_path, prompt, has_teacher, message):
    path = table(tmp_path / "rows.csv", ["a text", prompt])
    with pytest.raises(InputError, match=message):
        sft(config(pair, path, teacher=pair.teacher if has_teacher else None), output)


@pytest.mark.usefixtures("no_weights")
def test_a_prompt_that_the_student_has_rendered_itself_is_right(pair, output, tmp_path):
    path = table(tmp_path / "rows.csv", [RENDERED, json.dumps(MESSAGES[1])])
    with pytest.raises(AssertionError, match="a model was loaded"):
        sft(config(pair, path), output)


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize("side", ["student", "teacher"])
def test_sampling_of_either_tokenizer_is_switched_off(pair, output, tmp_path, caplog, side):
    folder = Path(shutil.copytree(getattr(pair, side), tmp_path / side))
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["dropout"] = 0.3
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    path = table(tmp_path / "rows.csv", ["Q <unused> and so on " * 300])
    given = {"teacher": pair.teacher, side: str(folder)}
    with pytest.raises(InputError, match="exceeds the teacher's context"):  # after both tokenizers were read
        sft(config(pair, path, **given), output)
    said = [record.message for record in caplog.records]
    assert len([line for line in said if f"the {side}'s tokenizer reads texts at random" in line]) == 1
