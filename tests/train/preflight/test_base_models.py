"""Base teachers, students without a template, and texts for students that know conversations: told, or rightly not."""

import json
import shutil
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from crossdistill.chat import ensure_template
from crossdistill.chat.own_template import is_called_base
from crossdistill.distill.routing import REFERENCE
from tests.models import MESSAGES, TEXTS
from tests.train.preflight.test_setup_findings import setup_of

# conversations as text are conversations: a column of a table has one type
MIXED = [json.dumps(MESSAGES[0]), TEXTS[1], json.dumps(MESSAGES[2]), TEXTS[3]]


def changed(folder: str, to: Path, template: str | None) -> str:
    """A copy of a model with another chat template, or none."""
    shutil.copytree(folder, to)
    (to / "chat_template.jinja").unlink()
    if template is not None:
        (to / "chat_template.jinja").write_text(template)
    return str(to)


@pytest.fixture
def base_teacher(pair, tmp_path) -> str:
    return changed(pair.teacher, tmp_path / "t", None)


@pytest.fixture
def base_student(pair, tmp_path) -> str:
    return changed(pair.student, tmp_path / "s", None)


def found(*args, **options):
    return {one.kind.name: one.message for one in setup_of(*args, **options).findings.findings}


def test_a_teacher_without_a_template_teaches_no_ends(pair, base_teacher, output):
    message = found(pair.student, base_teacher, output)["base_teacher"]
    assert message == (
        "the teacher has no chat template, as a base model, which never learned to end a turn, and the end of a turn "
        "is taught by its probability of '<stop>': set stop_unit = false, or take its instruct model."
    )
    assert "base_teacher" not in found(pair.student, base_teacher, output, stop_unit=False)
    assert "base_teacher" not in found(pair.student, base_teacher, output, prompts=TEXTS)  # it may be made for them


def test_a_reference_need_not_end_turns(pair, base_teacher, output):
    teachers = {"teacher": pair.teacher, REFERENCE: base_teacher}
    assert "base_teacher" not in found(pair.student, teachers, output)


def test_a_teacher_that_is_called_a_base_model(pair, tmp_path, output, caplog):
    named = str(shutil.copytree(pair.teacher, tmp_path / "Model-1B-Base"))
    assert "is called a base model" in found(pair.student, named, output)["teacher_called_base"]
    assert caplog.messages == []  # a name proves nothing
    assert found(pair.student, pair.teacher, output) == {}


@pytest.mark.parametrize(
    ("name", "is_base"),
    [
        ("Qwen/Qwen3-8B-Base", True),
        ("google/gemma-3-1b-pt", True),
        ("models/base", True),
        ("google/gemma-3-1b-it", False),
        ("models/gpt-2", False),
        ("base/Llama-3.1-8B-Instruct", False),
        ("org/database-expert", False),
        ("org/gpt-oss-20b", False),
    ],
)
def test_names_of_base_models(name, is_base):
    assert is_called_base(name) is is_base


def test_texts_for_a_student_with_a_template(pair, output):
    message = found(pair.student, pair.teacher, output, prompts=MIXED)["text_prompts_to_chat_model"]
    assert message.startswith("prompt 1 is a text, as another is, which no chat template renders, and the student has")
    assert '[{"role": "user", "content": ...}]' in message


def test_texts_for_a_base_student(base_student, pair, output, tmp_path):
    assert found(base_student, pair.teacher, output, prompts=TEXTS) == {}
    named = str(shutil.copytree(pair.student, tmp_path / "Model-1B-Base"))
    assert found(named, pair.teacher, output, prompts=TEXTS) == {}


def test_texts_for_a_student_that_was_warmed_up_on_texts(base_student, pair, output):
    """`crossdistill sft` saves a base model with the plain template."""
    tokenizer = AutoTokenizer.from_pretrained(base_student)
    assert ensure_template(tokenizer)
    tokenizer.save_pretrained(base_student)
    assert AutoTokenizer.from_pretrained(base_student).chat_template
    assert found(base_student, pair.teacher, output, prompts=TEXTS) == {}


def test_a_student_without_a_template_in_conversations(base_student, pair, output, caplog):
    message = found(base_student, pair.teacher, output)["student_without_template"]
    assert "'User: ...' and 'Assistant: ...'" in message
    assert message not in caplog.messages  # it may be meant: a notice
