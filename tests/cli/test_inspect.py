"""``crossdistill inspect``."""

import json

import pytest

from crossdistill import ByteVocab
from crossdistill.inspection import corpus, promised_coverage
from tests.cli.harness import run
from tests.models import PADDING_IDS, student_tokenizer, teacher_tokenizer


def test_a_pair_is_shown_from_tokenizers_and_configurations_alone(weightless):
    result = run("inspect", weightless.student, weightless.teacher)
    assert result.code == 0
    for words in (
        "byte_level_bpe",
        "sentencepiece_bpe",
        "by category",
        "languages",
        "largest chunks",
        "dpca",
        "<|end|>",
    ):
        assert words in result.out
    assert result.err == ""


def test_json(weightless):
    found = json.loads(run("inspect", weightless.student, weightless.teacher, "--json").out)
    student, teacher = student_tokenizer(), teacher_tokenizer()
    sides = ByteVocab.from_tokenizer(student), ByteVocab.from_tokenizer(teacher)
    assert found["promised_coverage"] == promised_coverage(*sides)
    assert found["student"]["padding"] == PADDING_IDS
    assert found["student"]["context"] == 128
    assert found["teacher"]["context"] == 256
    assert set(found["documents"]) == {item.title for item in corpus()}


def test_html(weightless, tmp_path):
    page = tmp_path / "pages" / "pair.html"
    assert run("inspect", weightless.student, weightless.teacher, "--html", str(page)).code == 0
    assert "Largest chunks" in page.read_text()


@pytest.mark.usefixtures("offline")
def test_it_refuses_what_a_run_would(weightless, whole_words, mismatched):
    assert "name two models" in run("inspect", weightless.student, weightless.student).message
    message = run("inspect", whole_words, weightless.teacher).message
    assert message.startswith(f"the student {whole_words!r} cannot be used")
    assert "do not belong together" in run("inspect", weightless.student, mismatched).message
    assert "cannot be read" in run("inspect", weightless.student, "nobody/nothing").message


def test_tokenizers_alone(weightless, tmp_path):
    student_tokenizer().save_pretrained(tmp_path / "bare")
    result = run("inspect", str(tmp_path / "bare"), weightless.teacher, "--json")
    found = json.loads(result.out)["student"]
    assert (found["padding"], found["context"]) == (0, None)
    assert found["ids"] == len(student_tokenizer())


def test_an_adapter_is_no_model(weightless, tmp_path):
    student_tokenizer().save_pretrained(tmp_path / "adapter")
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    assert "is an adapter, not a model" in run("inspect", str(tmp_path / "adapter"), weightless.teacher).message
