"""The tiny pair trained asynchronously on a CPU, for which TRL's trainer asks a GPU its name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from crossdistill.distill import Distiller
from crossdistill.integrations.async_trl import AsyncTrainer, LocalSampler, RolloutWorker
from crossdistill.integrations.async_trl.trainer import AsyncDistillationConfig
from crossdistill.teachers import LocalTeacher
from tests.models import MESSAGES, Pair

BATCH = 4
MAX_TOKENS = 8


@pytest.fixture(autouse=True)
def without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{AsyncTrainer.__bases__[0].__module__}.get_peak_flops_per_device", lambda *_: None)


def load(folder: str) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


@pytest.fixture(scope="session")
def teacher(pair: Pair) -> LocalTeacher:
    return LocalTeacher(load(pair.teacher), AutoTokenizer.from_pretrained(pair.teacher))


@pytest.fixture
def distiller(pair: Pair, teacher: LocalTeacher) -> Distiller:
    student = load(pair.student)
    size = student.get_input_embeddings().weight.shape[0]
    return Distiller(AutoTokenizer.from_pretrained(pair.student), teacher, vocab_size=size)


@pytest.fixture
def sampler(pair: Pair, distiller: Distiller) -> LocalSampler:
    return LocalSampler(load(pair.student), distiller.stop_ids, MAX_TOKENS)


@pytest.fixture
def worker(distiller: Distiller, sampler: LocalSampler) -> RolloutWorker:
    return RolloutWorker(distiller, [{"prompt": prompt} for prompt in MESSAGES], sampler, portion=2)


def arguments(output: Path, **options: Any) -> AsyncDistillationConfig:
    defaults: dict[str, Any] = {
        "output_dir": str(output),
        "per_device_train_batch_size": BATCH,
        "max_steps": 3,
        "max_staleness": 0,
        "learning_rate": 1e-3,
        "bf16": False,
        "use_cpu": True,
        "activation_checkpointing": False,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }
    return AsyncDistillationConfig(**{**defaults, **options})


Make = Callable[..., AsyncTrainer]


@pytest.fixture
def make(pair: Pair, worker: RolloutWorker, sampler: LocalSampler, output: Path) -> Make:
    def made(kind: type[AsyncTrainer] = AsyncTrainer, transfer: Any = None, **options: Any) -> AsyncTrainer:
        return kind(pair.student, worker, arguments(output, **options), weight_transfer=transfer or sampler)

    return made
