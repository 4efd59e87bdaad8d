"""verl leaves dropout on in training: it is switched off by its configuration, or refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig, AutoModelForCausalLM

from crossdistill.demo.run import asset
from crossdistill.distill.noise import noise_sources
from crossdistill.errors import InputError
from crossdistill.integrations.verl.dropout import OVERRIDE, dropout_settings, without_dropout


def student(folder: Path, **changes: Any) -> str:
    shutil.copy(Path(asset("student")) / "config.json", folder)
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    return str(folder)


def test_a_student_without_dropout_needs_nothing():
    assert dropout_settings(asset("student")) == {}


def test_dropout_is_switched_off(tmp_path):
    path = student(tmp_path, attention_dropout=0.1)
    assert dropout_settings(path) == {f"{OVERRIDE}.attention_dropout": 0.0}
    config = AutoConfig.from_pretrained(path)
    assert noise_sources(AutoModelForCausalLM.from_config(config))
    for name, value in without_dropout(path).items():
        setattr(config, name, value)
    assert not noise_sources(AutoModelForCausalLM.from_config(config))


def test_other_noise_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"has noise in training \(router_jitter_noise = 0.02\), which verl leaves on"):
        dropout_settings(student(tmp_path, router_jitter_noise=0.02))
