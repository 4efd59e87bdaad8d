"""What `crossdistill inspect` knows of a pair, a run says before weights are read."""

import shutil
from pathlib import Path

import pytest

from crossdistill.inspection import inspect_pair
from crossdistill.inspection.documents import Document
from crossdistill.inspection.model_pair import read_pair
from crossdistill.train.preflight.setup import Setup
from tests.models import MESSAGES, TEXTS
from tests.train.harness import arguments, rows


def setup_of(student, teacher, output, prompts=MESSAGES, **options):
    args = arguments(output, **options)
    return Setup.of(student, teacher, args, (rows(prompts), None), (None, None), None)


@pytest.fixture
def without_generation_prompt(pair, tmp_path) -> str:
    """The teacher with a template that ignores add_generation_prompt."""
    folder = Path(shutil.copytree(pair.teacher, tmp_path / "teacher"))
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text().split("{% if add_generation_prompt")[0])
    return str(folder)


def test_what_inspect_says_a_run_says(pair, without_generation_prompt, output, caplog):
    found = setup_of(pair.student, without_generation_prompt, output).findings.findings
    assert [finding.kind.name for finding in found] == ["no_generation_prompt"]
    assert "has no generation prompt, although it writes '<turn>assistant\\n' before an answer" in caplog.text
    inspected = inspect_pair(*read_pair(pair.student, without_generation_prompt), [Document("a", "b", b"text")])
    assert set(found) <= set(inspected.findings)


def test_a_run_on_texts_has_no_templates(pair, without_generation_prompt, output, caplog):
    found = setup_of(pair.student, without_generation_prompt, output, prompts=TEXTS).findings.findings
    assert [finding.kind.name for finding in found] == ["text_prompts_to_chat_model"]
    assert caplog.messages == [found[0].message]


def test_a_sound_pair_is_not_mentioned(pair, output, caplog):
    assert setup_of(pair.student, pair.teacher, output).findings.as_list() == []
    assert caplog.messages == []


def test_they_are_found_without_weights(pair, without_generation_prompt, output, monkeypatch):
    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", None)
    assert len(setup_of(pair.student, without_generation_prompt, output).findings.findings) == 1
