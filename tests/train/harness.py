"""Short CPU runs on the tiny pair, and the slow obvious twin of what a step computes."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, TrainerCallback

from crossdistill.distill.response import ScoredResponse
from crossdistill.teachers import TeacherRequest
from crossdistill.train import CrossTokenizerConfig, CrossTokenizerTrainer
from tests.models import MESSAGES, Pair

BATCH = 4
ONE_OF_A_CLASS = {"sampled": "dpca", "topk": "cdm", "dense": "simct", "auxiliary heads": "bld"}
"""An objective of each class: what the trainer can do to one depends on it. Values are held in `tests/objectives`."""


def fast_for(names: Iterable[str], fast: Iterable[str] = ONE_OF_A_CLASS.values()) -> list[Any]:
    """Parameters of a test: all of `names`, those that are not `fast` in the slow tier."""
    return [name if name in fast else pytest.param(name, marks=pytest.mark.slow) for name in names]


class RecordingTrainer(CrossTokenizerTrainer):
    """Keeps the responses of every training batch, the ids of their prompts, and the weights before every step."""

    def __init__(self, *args: Any, **kwargs: Any):
        self.rollouts: list[list[ScoredResponse]] = []
        self.prompt_ids: list[list[list[int]]] = []
        self.weights: list[dict[str, torch.Tensor]] = []
        super().__init__(*args, **kwargs)
        self.weights.append(weights_of(self.model))
        self.add_callback(_OnStepEnd(lambda: self.weights.append(weights_of(self.model))))

    def _generate(self, prompts: list[Any]) -> Any:
        generated = super()._generate(prompts)
        if self.model.training:
            self.prompt_ids.append(generated[0])
        return generated

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        batch = super()._generate_and_score_completions(inputs)
        if self.model.training:
            self.rollouts.append(self.scored)
        return batch

    @property
    def steps(self) -> list[dict[str, float]]:
        """The logs of the optimisation steps."""
        return [entry for entry in self.state.log_history if "loss" in entry]


class _OnStepEnd(TrainerCallback):
    def __init__(self, then: Callable[[], None]):
        self._then = then

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self._then()


def weights_of(model: Any) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


NEEDED: dict[str, dict[str, Any]] = {"gvpo": {"num_generations": 2}}
"""Settings without which an objective is refused."""


def arguments(output: Path, **options: Any) -> CrossTokenizerConfig:
    defaults: dict[str, Any] = {
        "output_dir": str(output),
        "max_completion_length": 12,
        "per_device_train_batch_size": BATCH,
        "per_device_eval_batch_size": BATCH,
        "max_steps": 2,
        "logging_steps": 1,
        "learning_rate": 1e-2,
        "lr_scheduler_type": "constant",
        "max_grad_norm": 1e9,
        "bf16": False,
        "use_cpu": True,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        **NEEDED.get(str(options.get("objective")), {}),
    }
    return CrossTokenizerConfig(**{**defaults, **options})


def rows(prompts: Sequence[Any] = MESSAGES) -> Dataset:
    return Dataset.from_dict({"prompt": list(prompts)})


def make_trainer(
    pair: Pair,
    output: Path,
    *,
    kind: type[RecordingTrainer] = RecordingTrainer,
    student: Any = None,
    teacher: Any = None,
    prompts: Sequence[Any] = MESSAGES,
    trainer_options: dict[str, Any] | None = None,
    **options: Any,
) -> RecordingTrainer:
    return kind(
        pair.student if student is None else student,
        pair.teacher if teacher is None else teacher,
        arguments(output, **options),
        train_dataset=rows(prompts),
        **(trainer_options or {}),
    )


def watched(trainer: CrossTokenizerTrainer) -> list[TeacherRequest]:
    """Every request that the trainer's teacher gets from now on."""
    requests: list[TeacherRequest] = []
    score = trainer.teacher.score

    def watching(asked: Sequence[TeacherRequest], *signal: Any) -> Any:
        requests.extend(asked)
        return score(asked, *signal)

    trainer.teacher.score = watching
    return requests


def load(folder: str) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def sampled_logprobs(
    model: Any, prompt_ids: Sequence[int], ids: Sequence[int], temperature: float = 1.0
) -> torch.Tensor:
    """Nats of each id, from the model's own logits of the sequence alone: [len(ids)], with gradient."""
    logits = model(torch.tensor([[*prompt_ids, *ids]])).logits[0] / temperature
    predicting = logits[len(prompt_ids) - 1 : -1].log_softmax(-1)
    return predicting[torch.arange(len(ids)), torch.tensor(list(ids))]
