"""Model cards: what is known is said, nothing is guessed, and what is local stays local."""

import re
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from crossdistill.objectives import available
from crossdistill.report.card.card import model_card, write_card
from crossdistill.report.card.origin import Licence, hub_id_of, licence_of
from crossdistill.report.card.sources import SOURCES

ROOT = Path(__file__).parents[3]
RECORD: dict[str, Any] = {
    "student": "org/student",
    "teachers": {"teacher": "http://10.1.2.3:8000", "code": "org/coder"},
    "objective": "dpca",
    "objective_reason": "named in the configuration",
    "objective_options": {"credit": "uniform"},
    "dataset": "/data/secret/prompts.jsonl",
    "data_points": 1600,
    "settings": {"learning_rate": 1e-5},
    "lora": {"r": 8, "target_modules": ["q_proj"]},
    "seed": 42,
    "step": 50,
    "max_steps": 200,
    "coverage": {
        "sampled_bytes": 200,
        "supervised_bytes": 150,
        "sampled_tokens": 60,
        "supervised_tokens": 45,
        "dropped": {"no_teacher": 50},
        "dropped_tokens": {"no_teacher": 15},
    },
    "tokens": {"student_step": 12345},
    "flops": {"student_step": 2_000_000, "total": 2_000_000},
    "seconds": 75.0,
    "metric": "teacher gap, nats per byte",
    "metrics": {"before": {"mean": 0.5, "ci": [0.4, 0.6], "n": 8}, "after": {"mean": 0.2, "ci": None, "n": 8}},
    "accuracy": {"sums": [{"step": step, "mean": step / 100, "ci": [0.1, 0.9], "n": 12} for step in (0, 25, 50)]},
    "versions": {"torch": "2.13.0"},
    "command": "crossdistill train --teacher http://10.1.2.3:8000 -o runs/first",
    "config": {"student": "org/student", "teacher": "http://10.1.2.3:8000", "preset": None, "lora": {"r": 8}},
}


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crossdistill.report.card.origin._from_hub", lambda model: None)


def test_what_a_card_says():
    card = model_card(RECORD, is_adapter=True)
    lines = [line for line in card.text.splitlines() if "|" in line]
    rows = {tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines}
    assert {
        ("base model", "`org/student`"),
        ("teacher", "a model behind a server"),
        ("teacher `code`", "`org/coder`"),
        ("objective", "`dpca` (`credit` = `uniform`); named in the configuration"),
        ("data", "`prompts.jsonl`, 1,600 rows trained on"),
        ("steps", "50"),
        ("`learning_rate`", "`1e-05`"),
        ("adapter", '`r` = `8`, `target_modules` = `["q_proj"]`'),
        ("seed", "42"),
        ("teacher gap, nats per byte: student before", "0.500", "0.400 to 0.600"),
        ("teacher gap, nats per byte: student after", "0.200", "–"),
        ("accuracy on `sums` after 0 steps (12 problems)", "0.0 %", "10.0 % to 90.0 %"),
        ("accuracy on `sums` after 50 steps (12 problems)", "50.0 %", "10.0 % to 90.0 %"),
        ("of these under the teacher's signal", "150 (75.0 %)", "45"),
        ("left out: `no_teacher`", "50", "15"),
        ("student step", "12,345", "2 M"),
        ("time: 1 min 15 s", "", ""),
        ("torch", "2.13.0"),
        ("`org/student`", "not stated"),
        ("a model behind a server", "not stated"),
    } <= rows
    assert "after step 50 of 200" in card.text
    assert "Breaking the Tokenizer Barrier" in card.text
    assert "    crossdistill train --teacher URL -o runs/first" in card.text


def test_metadata_of_the_hub():
    data = model_card(RECORD, is_adapter=True).data
    assert (data.base_model, data.base_model_relation) == ("org/student", "adapter")
    assert (data.library_name, data.pipeline_tag, data.datasets) == ("peft", "text-generation", None)
    assert {"crossdistill", "on-policy-distillation", "lora"} <= set(data.tags)
    data = model_card({**RECORD, "dataset": "org/prompts", "objective": None}).data
    assert (data.library_name, data.base_model_relation) == ("transformers", "finetune")
    assert data.datasets == ["org/prompts"]
    assert "sft" in data.tags


def test_nothing_local_and_no_address_is_told(tmp_path):
    (tmp_path / "student").mkdir()
    card = model_card({**RECORD, "student": str(tmp_path / "student")})
    assert card.data.base_model is None
    assert "`student` (a folder)" in card.text
    assert not re.search(r"10\.1\.2\.3|/data/secret|" + re.escape(str(tmp_path)), str(card))


def test_what_is_not_known_is_left_out(tmp_path):
    write_card(tmp_path, {"student": "org/student"})
    text = (tmp_path / "README.md").read_text()
    assert re.findall(r"^## (.*)$", text, flags=re.MULTILINE) == ["Training", "Licences"]
    assert "None" not in text


# ---- licences -------------------------------------------------------------------------------------------------------


def model_folder(folder: Path, card: str | None = None, licence: bool = False) -> str:
    folder.mkdir()
    if card is not None:
        (folder / "README.md").write_text(card)
    if licence:
        (folder / "LICENSE.txt").write_text("MIT License\n")
    return str(folder)


@pytest.mark.parametrize(
    ("card", "licence", "text"),
    [
        ("---\nlicense: apache-2.0\n---\n", True, "apache-2.0 (from its card)"),
        ("---\nlicense: other\nlicense_name: gemma\n---\n", False, "other, gemma (from its card)"),
        ("---\ntags: [x]\n---\nUnder the MIT licence.", False, "not stated"),
        ("---\nlicense: [\n---\n", False, "not stated"),
        ("no metadata", True, "see LICENSE.txt in its folder"),
        (None, True, "see LICENSE.txt in its folder"),
        (None, False, "not stated"),
    ],
)
def test_a_licence_is_read_and_never_guessed(tmp_path, card, licence, text):
    assert licence_of(model_folder(tmp_path / "model", card, licence)).text == text


def test_the_licence_of_the_base_is_in_the_metadata(tmp_path):
    student = model_folder(tmp_path / "model", "---\nlicense: other\nlicense_name: gemma\n---\n")
    data = model_card({"student": student}).data
    assert (data.license, data.license_name) == ("other", "gemma")
    assert licence_of("org/not-reachable") == Licence()


def test_a_student_of_an_earlier_run_derives_from_its_base(tmp_path):
    assert hub_id_of(model_folder(tmp_path / "sft", "---\nbase_model: org/base\n---\n")) == "org/base"
    assert hub_id_of(model_folder(tmp_path / "own", "---\ntags: [x]\n---\n")) is None
    assert hub_id_of("org/base") == "org/base"


# ---- citations ------------------------------------------------------------------------------------------------------


def test_every_objective_has_the_source_of_its_page():
    assert tuple(SOURCES) == available()
    for name, source in SOURCES.items():
        page = " ".join((ROOT / f"docs/math/{name}.md").read_text().split())
        assert all(number in page for number in re.findall(r"\d{4}\.\d{5}", source))


def test_a_card_can_be_read_again():
    card = model_card(RECORD)
    assert ModelCard(str(card)).data.to_dict() == card.data.to_dict()
