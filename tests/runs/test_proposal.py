"""What is proposed for a pair, and why."""

import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from crossdistill.chat import mismatch_findings, template_effects
from crossdistill.inspection import inspect_pair
from crossdistill.inspection.documents import Document
from crossdistill.inspection.model_pair import read_pair
from crossdistill.runs.config import RunConfig, validated
from crossdistill.runs.proposal import Device, Entry, propose, values_of
from crossdistill.runs.proposed_file import as_toml, proposed_file
from tests.models import Pair

GIB = 2.0**30
TEXT = [Document("text", "one", b"One hundred and twenty-three, 4567.\n")]
THINKS = "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% else %}<think>{% endif %}"
TEMPLATE = """\
{%- for message in messages -%}
<|{{ message.role }}|>{{ message.content }}<|end|>
{%- endfor -%}
{%- if add_generation_prompt -%}
<|assistant|>OPENING
{%- endif -%}
"""


def entries_of(pair: Pair, is_lora: bool = False, gib: float = 80, is_cpu: bool = True) -> list[Entry]:
    models = read_pair(pair.student, pair.teacher)
    return propose(models, inspect_pair(*models, TEXT), "prompts.jsonl", is_lora, Device(gib * GIB, is_cpu))


def proposed(pair: Pair, **options: Any) -> dict[str, Any]:
    """The file, as it is read."""
    entries = entries_of(pair, **options)
    read = tomllib.loads(proposed_file(entries, "a command"))
    assert read == values_of(entries)
    validated(RunConfig, read)
    return read


def changed(model: str, folder: Path, opening: str) -> str:
    """The model with a template that opens responses so."""
    shutil.copytree(model, folder)
    (folder / "chat_template.jinja").write_text(TEMPLATE.replace("OPENING", opening))
    return str(folder)


def test_the_keys_of_a_pair(pair: Pair) -> None:
    read = proposed(pair)
    assert (read["student"], read["teacher"], read["dataset"]) == (pair.student, pair.teacher, "prompts.jsonl")
    assert read["objective"] in {"strict", "bpm"}  # for a teacher that gives whole distributions
    train = read["train"]
    assert train["learning_rate"] == 1e-4
    assert train["use_cpu"] is True
    assert train["max_completion_length"] == 64  # half of the student's context
    assert train["per_device_train_batch_size"] * train["gradient_accumulation_steps"] == 8
    assert "stop_unit" not in train
    assert "lora" not in read


def test_an_adapter(pair: Pair) -> None:
    read = proposed(pair, is_lora=True, is_cpu=False)
    assert read["lora"] == {"r": 16, "lora_alpha": 32, "target_modules": "all-linear"}
    assert read["train"]["learning_rate"] == 5e-4
    assert "use_cpu" not in read["train"]


def test_less_memory_takes_less_at_once(pair: Pair) -> None:
    found = []
    for entries in (entries_of(pair, gib=gib) for gib in (80, 0.01, 0.005, 1e-9)):
        train = values_of(entries)["train"]
        found.append((train["per_device_train_batch_size"], train["gradient_accumulation_steps"]))
    assert found[0] == (8, 1)
    assert found == sorted(found, key=lambda sizes: -sizes[0])
    assert found[-1] == (1, 1)
    (entry,) = [entry for entry in entries if entry.key == "per_device_train_batch_size"]
    assert "the smallest, and still" in entry.why
    assert "--lora" in entry.why


def test_a_teacher_without_a_template_ends_no_turn(pair: Pair, tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(pair.teacher, base)
    (base / "chat_template.jinja").unlink(missing_ok=True)
    assert "chat_template" not in json.loads((base / "tokenizer_config.json").read_text())
    assert proposed(Pair(pair.student, str(base)))["train"]["stop_unit"] is False


def test_responses_begin_alike_for_both(pair: Pair, tmp_path: Path) -> None:
    student = changed(pair.student, tmp_path / "student", "<think></think>")
    teacher = changed(pair.teacher, tmp_path / "teacher", THINKS)
    ours, theirs = (AutoTokenizer.from_pretrained(model) for model in (student, teacher))
    assert mismatch_findings(template_effects(ours), template_effects(theirs))
    train = proposed(Pair(student, teacher))["train"]
    assert train["teacher_chat_template_kwargs"] == {"enable_thinking": False}
    assert "chat_template_kwargs" not in train


def test_control_tokens_of_reasoning_are_words(pair: Pair, tmp_path: Path) -> None:
    folder = tmp_path / "student"
    shutil.copytree(pair.student, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<think>", "</think>"]})
    tokenizer.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    size = max(config["vocab_size"], len(tokenizer))
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": size}))
    assert proposed(Pair(str(folder), pair.teacher))["train"]["text_tokens"] == ["<think>", "</think>"]


def test_every_key_is_explained(pair: Pair) -> None:
    entries = entries_of(pair, is_lora=True)
    lines = proposed_file(entries, "a command").splitlines()
    keys = [number for number, line in enumerate(lines) if " = " in line and not line.startswith("#")]
    assert len(keys) == len(entries)
    for number in keys:
        assert lines[number - 1].startswith("# "), lines[number]
    assert max(map(len, lines)) < 110 or pair.student in max(lines, key=len)


@pytest.mark.parametrize("value", ["a", 'quo"te', "back\\slash", "new\nline", "\x00\x7f", "日本"])
def test_texts_are_read_again(value: str) -> None:
    assert tomllib.loads(f"value = {as_toml(value)}")["value"] == value


@pytest.mark.parametrize("value", [1, 1.0, 1e-6, 1e20, True, [], ["x"], {"a b": 1, "c": {"d": [1]}}])
def test_values_are_read_again(value: Any) -> None:
    assert tomllib.loads(f"value = {as_toml(value)}")["value"] == value
