"""An asynchronous run whose student is sampled by a real vLLM server, with weights by way of a folder."""

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from crossdistill.demo.run import message
from crossdistill.demo.task import problems
from crossdistill.distill import Distiller
from crossdistill.integrations.async_trl import AsyncTrainer, FolderWeights, RolloutWorker, ServedSampler
from crossdistill.integrations.async_trl.trainer import AsyncDistillationConfig
from crossdistill.teachers import LocalTeacher
from tests.models import Pair
from tests.train.harness import load

pytestmark = pytest.mark.server


@pytest.mark.parametrize("max_staleness", [0, 2])
def test_vllm_samples_while_the_student_trains(
    sampler: str, untied: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, max_staleness: int
) -> None:
    monkeypatch.setattr(f"{AsyncTrainer.__bases__[0].__module__}.get_peak_flops_per_device", lambda *_: None)
    student = load(untied.student)
    teacher = LocalTeacher(load(untied.teacher), AutoTokenizer.from_pretrained(untied.teacher))
    size = student.get_input_embeddings().weight.shape[0]
    distiller = Distiller(AutoTokenizer.from_pretrained(untied.student), teacher, vocab_size=size)
    served = ServedSampler(sampler, distiller, 48, num_calls=4, patience_s=60)
    rows = [{"prompt": message(problem)} for problem in problems("train", 256, seed=100)]
    args = AsyncDistillationConfig(
        str(tmp_path / "output"),
        per_device_train_batch_size=16,
        max_steps=8,
        max_staleness=max_staleness,
        learning_rate=3e-4,
        lr_scheduler_type="constant",
        bf16=False,
        use_cpu=True,
        activation_checkpointing=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    weights = FolderWeights(sampler, tmp_path / "weights")
    trainer = AsyncTrainer(untied.student, RolloutWorker(distiller, rows, served), args, weight_transfer=weights)
    trainer.train()
    steps = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert max(entry["sample/staleness_max"] for entry in steps) == max_staleness
    assert all(entry["coverage"] == 1.0 for entry in steps)
    largest = max(entry["abs_log_ratio"] for entry in steps)
    if max_staleness:
        assert 1e-4 < largest < 0.1
    else:  # weights arrive whole before the next step is sampled
        assert largest < 1e-4
