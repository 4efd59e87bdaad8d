"""What engines that shard the weights cannot do is refused in words."""

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from crossdistill.errors import InputError
from tests.models import MESSAGES
from tests.tiny_models import build
from tests.train.harness import make_trainer, rows
from tests.train.test_finite import distillation_of


def test_an_evaluation_before_training_is_refused(pair, output):
    trainer = make_trainer(pair, output, trainer_options={"eval_dataset": rows(MESSAGES[:2])})
    trainer.is_fsdp_enabled = True
    with pytest.raises(InputError, match="it cannot be evaluated before: evaluate after train"):
        trainer.evaluate()
    with pytest.raises(InputError, match="it cannot answer prompts before: score them after train"):
        trainer.score_prompts(MESSAGES[:2])
    trainer.is_fsdp_enabled = False
    assert trainer.evaluate()["eval_loss"] >= 0


def test_weights_that_an_engine_gathered_are_saved_once(pair, output):
    """It gathers tied ones apart from each other."""
    size = json.loads(Path(pair.student, "config.json").read_text())["vocab_size"]
    trainer = distillation_of(pair, output, build("tied_qwen", size))
    whole = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    assert "lm_head.weight" in whole
    trainer._save(str(output / "gathered"), whole)
    trainer._save(str(output / "plain"))
    gathered, plain = (load_file(output / name / "model.safetensors") for name in ("gathered", "plain"))
    assert gathered.keys() == plain.keys()
    assert "lm_head.weight" not in gathered
    untied = make_trainer(pair, output)
    untied._save(str(output / "untied"), {name: value.clone() for name, value in untied.model.state_dict().items()})
    assert "lm_head.weight" in load_file(output / "untied/model.safetensors")
