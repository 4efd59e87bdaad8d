"""Tokenizers are checked against their models before weights are read."""

import json
import shutil
from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from crossdistill import InputError
from crossdistill.findings import FindingLog
from crossdistill.inspection import inspect_pair
from crossdistill.inspection.documents import Document
from crossdistill.inspection.model_pair import read_model_info, read_pair
from crossdistill.train.preflight.tokenizers import load_tokenizer
from tests.models import student_model, student_tokenizer, teacher_model, teacher_tokenizer
from tests.train.harness import make_trainer

SIDES = ("student", "teacher")


@pytest.fixture
def copy(pair, tmp_path):
    return lambda side: Path(shutil.copytree(getattr(pair, side), tmp_path / f"copy of {side}"))


@pytest.fixture
def no_weights(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("trl.trainer.distillation_trainer.create_model_from_path", refuse)


def with_declared(folder, **ids):
    (folder / "generation_config.json").write_text(json.dumps(ids))
    return folder


def bare(make):
    """The tokenizer of ``tokenizer.json`` alone, which names no special tokens."""
    made = make()
    return PreTrainedTokenizerFast(tokenizer_object=made.backend_tokenizer, chat_template=made.chat_template)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("value", [9999, [3, 9999]])
def test_a_declared_end_beyond_the_model(pair, output, no_weights, copy, side, value):
    folder = with_declared(copy(side), eos_token_id=value)
    with pytest.raises(InputError, match=r"generation_config.json of .* names 9999 as eos_token_id, which is not"):
        make_trainer(pair, output, **{side: str(folder)})


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", ["pad_token_id", "bos_token_id"])
def test_another_declared_id_beyond_the_model(pair, output, no_weights, copy, side, name):
    folder = with_declared(copy(side), eos_token_id=3, **{name: 9999})
    with pytest.raises(InputError, match=rf"{name} in the generation_config of the {side} is '<id 9999>'"):
        make_trainer(pair, output, **{side: str(folder)})


@pytest.mark.parametrize("side", SIDES)
def test_an_end_in_the_configuration_counts_if_there_is_no_generation_config(pair, output, no_weights, copy, side):
    folder = copy(side)
    (folder / "generation_config.json").unlink()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "eos_token_id": 9999}))
    with pytest.raises(InputError, match=f"eos_token_id in the generation_config of the {side} is '<id 9999>'"):
        make_trainer(pair, output, **{side: str(folder)})


@pytest.mark.parametrize("side", SIDES)
def test_a_pad_token_beyond_the_model(pair, output, no_weights, side):
    make, model_of = (student_tokenizer, student_model) if side == "student" else (teacher_tokenizer, teacher_model)
    model = model_of(make())
    made = make()
    made.add_special_tokens({"additional_special_tokens": [f"<unused{k}>" for k in range(8)]})  # past any padding
    made.add_special_tokens({"pad_token": "[PAD]"})
    with pytest.raises(InputError, match=rf"the pad_token of the {side} is '\[PAD\]' with the id \d+, and the"):
        load_tokenizer(model, side, made)
    model.resize_token_embeddings(len(made))
    assert load_tokenizer(model, side, made) is made


@pytest.mark.parametrize("side", SIDES)
def test_inspect_refuses_and_tells_the_same(copy, pair, side):
    folder = with_declared(copy(side), eos_token_id=3, pad_token_id=9999)
    with pytest.raises(InputError, match=f"pad_token_id in the generation_config of the {side}"):
        read_model_info(str(folder), side)
    with_declared(folder, eos_token_id=3)
    made = AutoTokenizer.from_pretrained(folder)
    made.backend_tokenizer.model.dropout = 0.2
    made.save_pretrained(folder)
    models = read_pair(*(str(folder) if name == side else getattr(pair, name) for name in SIDES))
    found = inspect_pair(*models, [Document("sums", "one", b"one and two")]).findings
    (told,) = (one.message for one in found if one.kind.name == "tokenizer_sampling_off")
    assert told.startswith(f"the {side}'s")


@pytest.mark.parametrize("make", [student_tokenizer, teacher_tokenizer])
def test_a_tokenizer_without_an_end_gets_the_one_of_its_model(make):
    model = (student_model if make is student_tokenizer else teacher_model)(make())
    for declared in (make().eos_token_id, [make().eos_token_id, 0], None):  # None: the end that its template writes
        model.generation_config.eos_token_id = declared
        made = bare(make)
        assert made.eos_token is None
        assert load_tokenizer(model, "student", made).eos_token == make().eos_token


def test_without_any_end_the_tokenizer_is_blamed():
    model = student_model(student_tokenizer())
    model.generation_config.eos_token_id = None
    made = bare(student_tokenizer)
    made.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    with pytest.raises(
        InputError, match=r"the student's tokenizer .* names no end-of-text token, and neither its chat"
    ):
        load_tokenizer(model, "student", made)


def test_a_run_on_a_tokenizer_without_an_end(pair, output):
    trainer = make_trainer(
        pair,
        output,
        max_steps=1,
        trainer_options={
            "processing_class": bare(student_tokenizer),
            "teacher_processing_class": bare(teacher_tokenizer),
        },
    )
    end = student_tokenizer().eos_token_id
    assert list(trainer.eos_token_ids) == [end]
    trainer.train()


@pytest.mark.parametrize("side", SIDES)
def test_ordinary_models_pass_without_a_word(pair, side):
    said = []
    load_tokenizer(getattr(pair, side), side, log=FindingLog(said.append))
    assert said == []
