"""The demo's student learns from samples that are several updates old."""

from dataclasses import replace
from typing import Any

import pytest
from transformers import AutoTokenizer

from crossdistill.demo.run import DEFAULTS, accuracy, asset, message
from crossdistill.demo.task import problems
from crossdistill.distill import Distiller
from crossdistill.integrations.async_trl import AsyncTrainer, LocalSampler, RolloutWorker
from crossdistill.teachers import LocalTeacher
from tests.integrations.async_trl.conftest import arguments, load

MAX_STALENESS = 3


@pytest.mark.slow
def test_it_learns_from_old_samples(output: Any) -> None:
    student = load(asset("student"))
    teacher = LocalTeacher(load(asset("teacher")), AutoTokenizer.from_pretrained(asset("teacher")))
    tokenizer = AutoTokenizer.from_pretrained(asset("student"))
    distiller = Distiller(tokenizer, teacher, vocab_size=student.config.vocab_size)
    sampler = LocalSampler(student, distiller.stop_ids, DEFAULTS.max_completion_length)
    rows = [{"prompt": message(problem)} for problem in problems("train", 2048, seed=100)]
    worker = RolloutWorker(distiller, rows, sampler, portion=64)
    options = {"per_device_train_batch_size": 64, "learning_rate": 3e-4, "warmup_steps": 3, "max_steps": 12}
    args = arguments(output, **options, max_staleness=MAX_STALENESS)
    trainer = AsyncTrainer(asset("student"), worker, args, weight_transfer=sampler)
    trainer.train()
    logs = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert max(entry["sample/staleness_max"] for entry in logs) == MAX_STALENESS
    trainer.save_model(str(output / "model"))
    models = {"before": asset("student"), "after": str(output / "model")}
    settings = replace(DEFAULTS, num_test_problems=200)
    found = {name: accuracy(model, settings, output / name).mean for name, model in models.items()}
    assert found["after"] > found["before"] + 0.25
