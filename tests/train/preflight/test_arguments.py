"""What may be given to the trainer: what works, and one sentence for what does not."""

from pathlib import Path
from typing import Any

import pytest
import tokenizers
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback, TrainingArguments
from trl import DistillationConfig

from crossdistill import InputError
from crossdistill.findings import FindingError
from crossdistill.train import CrossTokenizerConfig, CrossTokenizerTrainer
from tests.models import Pair
from tests.train.harness import arguments, load, rows


def make(pair: Pair, output: Path, **given: Any) -> CrossTokenizerTrainer:
    values = {"model": pair.student, "teacher": pair.teacher, "args": arguments(output), "train_dataset": rows()}
    return CrossTokenizerTrainer(**{**values, **given})


class Bare(nn.Module):
    """A model without a configuration."""


LORA = LoraConfig(target_modules="all-linear", task_type="CAUSAL_LM")
SGD = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no model": ({"model": None}, "model is None: give a folder, a hub id, or a causal language model"),
    "no name": ({"model": ""}, "model is ''"),
    "a class of models": ({"model": AutoModelForCausalLM}, "model is the class AutoModelForCausalLM"),
    "a model without configuration": ({"model": Bare()}, "model is an object of type Bare"),
    "no teacher": ({"teacher": None}, "teacher is None: give .* or a crossdistill.teachers.Teacher"),
    "a list of teachers": ({"teacher": ["a"]}, "the teacher is an object of type list, which is not a teacher"),
    "a teacher without configuration": ({"teacher": Bare()}, "teacher is an object of type Bare"),
    "one of the teachers": ({"teacher": {"a": None, "b": "b"}}, "teacher 'a' is None"),
    "TRL's configuration": ({"args": DistillationConfig}, "args is .*: give a CrossTokenizerConfig, which takes"),
    "transformers' configuration": ({"args": TrainingArguments}, "args is .* TrainingArguments: give a Cross"),
    "a dict as configuration": ({"args": {"max_steps": 1}}, "args is an object of type dict"),
    "one callback": ({"callbacks": TrainerCallback()}, "callbacks is .*: give a list of TrainerCallbacks"),
    "no callback": ({"callbacks": [print]}, "one of callbacks is .* builtin_function"),
    "a dict of LoRA": ({"peft_config": {"r": 8}}, "peft_config is .* dict: give a configuration of PEFT"),
    "LoRA twice": ({"peft_config": LoraConfig}, "peft_config is the class LoraConfig"),
    "unknown modules": ({"peft_config": LoraConfig(target_modules=["nope"])}, "the run cannot be set up: .*nope"),
    "one tool": ({"tools": print}, "tools is .*: give a list of functions"),
    "a tool's schema": ({"tools": [{"type": "function"}]}, "one of tools is an object of type dict"),
    "an optimizer alone": ({"optimizers": SGD}, "optimizers is .* SGD: give an optimizer and a scheduler"),
    "a class of optimizers": ({"optimizers": (torch.optim.SGD, None)}, "one of optimizers is the class SGD"),
    "a class of tokenizers": ({"processing_class": AutoTokenizer}, "processing_class is the class AutoTokenizer"),
    "a name without tokenizer": ({"processing_class": "none/such"}, "the tokenizer of 'none/such' cannot be read"),
    "a raw tokenizer": (
        {"teacher_processing_class": tokenizers.Tokenizer(tokenizers.models.BPE())},
        r"teacher_processing_class is .* Tokenizer: .*PreTrainedTokenizerFast\(tokenizer_object",
    ),
    "a table of unknown names": ({"teacher_processing_class": {"x": "x"}}, "teacher_processing_class is .* dict"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_one_sentence(pair, tmp_path, kind):
    given, reason = REFUSED[kind]
    if isinstance(given.get("args"), type):
        quiet = {"gradient_checkpointing": None}  # TRL turns it on under a name that transformers warns of
        given = {"args": given["args"](str(tmp_path), use_cpu=True, bf16=False, **quiet)}
    with pytest.raises(InputError, match=reason):
        make(pair, tmp_path, **given)


def test_an_adapter_on_an_adapter(pair, tmp_path):
    model = get_peft_model(load(pair.student), LORA)
    tokenizer = AutoTokenizer.from_pretrained(pair.student)
    with pytest.raises(InputError, match="the student has an adapter already"):
        make(pair, tmp_path, model=model, processing_class=tokenizer, peft_config=LORA)


COMPILED = r"wrapped by torch.compile, .*: give the model as it was before"


def test_a_student_with_a_part_that_torch_compile_wraps(pair, tmp_path):
    model, wrapper = load(pair.student), nn.Module()
    wrapper.add_module("_orig_mod", model.model.layers[0].mlp)
    model.model.layers[0].mlp = wrapper
    with pytest.raises(FindingError, match=COMPILED):
        make(pair, tmp_path, model=model, processing_class=pair.student)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # of torch.compile itself
def test_a_student_that_torch_compile_wraps(pair, tmp_path):
    """A teacher may be wrapped, and a student compiled in its place."""
    tokenizers = {"processing_class": pair.student, "teacher_processing_class": pair.teacher}
    with pytest.raises(FindingError, match=COMPILED):
        make(pair, tmp_path, model=torch.compile(load(pair.student)), **tokenizers)
    student, teacher = load(pair.student), torch.compile(load(pair.teacher), backend="eager")
    student.compile(backend="eager")
    make(pair, tmp_path, model=student, teacher=teacher, **tokenizers)


@pytest.mark.parametrize("side", ["student", "teacher"])
def test_a_head_of_several_layers(pair, tmp_path, side):
    model = load(getattr(pair, side))
    width = model.lm_head.in_features
    model.lm_head = nn.Sequential(nn.Linear(width, width), model.lm_head)
    tokenizers = {"processing_class": pair.student, "teacher_processing_class": pair.teacher}
    with pytest.raises(FindingError, match=r"the output layer of .* is a Sequential, not one matrix: this"):
        make(pair, tmp_path, **{"model" if side == "student" else side: model}, **tokenizers)


def test_resuming_by_the_configuration(pair, tmp_path):
    with pytest.raises(InputError, match="resume_from_checkpoint in the configuration has no effect"):
        make(pair, tmp_path, args=arguments(tmp_path, resume_from_checkpoint="checkpoint-1"))


@pytest.mark.parametrize("kind", [str, Path])
def test_names_of_tokenizers(pair, tmp_path, kind):
    trainer = make(
        pair,
        tmp_path,
        model=load(pair.student),
        teacher=load(pair.teacher),
        processing_class=kind(pair.student),
        teacher_processing_class=kind(pair.teacher),
        callbacks=(TrainerCallback,),
    )
    expected = AutoTokenizer.from_pretrained(pair.teacher)
    assert trainer.teacher.tokenizer.get_vocab() == expected.get_vocab()
    assert trainer.processing_class.padding_side == "left"


def test_a_table_of_tokenizers_for_one_teacher(pair, tmp_path):
    trainer = make(pair, tmp_path, teacher={"big": pair.teacher}, teacher_processing_class={"big": pair.teacher})
    assert list(trainer.teachers) == ["big"]


def test_no_configuration_is_the_default_one(pair, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr("crossdistill.train.trainer.CrossTokenizerConfig", made.append)
    with pytest.raises(InputError, match="args is None"):
        make(pair, tmp_path, args=None)
    assert made == ["crossdistill-output"]
    assert isinstance(arguments(tmp_path), CrossTokenizerConfig)
