"""A student's generation_config.json does not shape rollouts or evaluations, and is saved as it was."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from peft import LoraConfig
from transformers import set_seed

from crossdistill import InputError
from tests.models import MESSAGES
from tests.train.harness import RecordingTrainer, make_trainer

ROWS = [{"prompt": prompt} for prompt in MESSAGES[:3]]
HOSTILE = {"no_repeat_ngram_size": 1, "num_beams": 2, "num_return_sequences": 2, "stop_strings": ["a"], "min_p": 0.5}


def student_with(pair: Any, folder: Path, **fields: Any) -> str:
    shutil.copytree(pair.student, folder)
    path = folder / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
    return str(folder)


def completions(trainer: RecordingTrainer) -> list[list[int]]:
    set_seed(3)
    return trainer.sample(ROWS).completion_ids


@pytest.mark.parametrize("lora", [False, True])
def test_rollouts_and_evaluations_are_the_policys_own(pair, output, tmp_path, lora):
    plain, other = (
        make_trainer(
            pair,
            output,
            student=student,
            trainer_options={"peft_config": LoraConfig(r=2, target_modules=["q_proj"]) if lora else None},
        )
        for student in (pair.student, student_with(pair, tmp_path / "student", **HOSTILE))
    )
    assert completions(other) == completions(plain)
    other.model.eval(), plain.model.eval()
    assert completions(other) == completions(plain)
    student = other.accelerator.unwrap_model(other.model)
    assert {name: getattr(student.generation_config, name) for name in HOSTILE} == HOSTILE


def test_a_setting_that_the_run_names_is_honoured(pair, output, caplog):
    trainer = make_trainer(pair, output, generation_kwargs={"suppress_tokens": list(range(5, 60))})
    assert not {token for ids in completions(trainer) for token in ids} & {*range(5, 60)}
    assert [finding.kind.name for finding in trainer.findings.findings] == ["shaped_samples"]
    assert "suppress_tokens" in caplog.text


def test_contradictory_defaults_are_saved_as_they_were(pair, output, tmp_path):
    """Without the padding id TRL changes them, and transformers would then refuse to save the trained model."""
    student = student_with(pair, tmp_path / "student", pad_token_id=None, temperature=0.3, do_sample=False)
    trainer = make_trainer(pair, output, student=student)
    trainer.save_model(str(tmp_path / "saved"))
    saved = json.loads((tmp_path / "saved" / "generation_config.json").read_text())
    assert (saved["temperature"], saved["do_sample"]) == (0.3, False)


def test_two_completions_of_a_row_end_the_run(pair, output, monkeypatch):
    trainer = make_trainer(pair, output)
    generate = trainer.model.generate
    monkeypatch.setattr(trainer.model, "generate", lambda **inputs: generate(**inputs).repeat_interleave(2, dim=0))
    with pytest.raises(InputError, match="the model wrote 6 responses to 3 prompts"):
        trainer.sample(ROWS)
