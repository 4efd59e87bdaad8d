"""Runs of the demo's student whose rollouts come from vLLM."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from crossdistill.demo.run import message
from crossdistill.demo.task import problems
from tests.models import Pair
from tests.train.harness import RecordingTrainer, load, make_trainer

BATCH = 16
PROMPTS = [message(problem) for problem in problems("train", 20 * BATCH, seed=100)]


def demo_trainer(
    pair: Pair, output: Path, stops: Sequence[int] = (), peft_config: Any = None, **options: Any
) -> RecordingTrainer:
    """A trainer at the demo's learning rate.

    Args:
        pair: folders of the models.
        output: folder.
        stops: ids that end a response as well; only the student in this process declares them.
        peft_config: of an adapter.
        **options: of the configuration.
    """
    student = load(pair.student)
    student.generation_config.eos_token_id = [student.generation_config.eos_token_id, *stops]
    tokenizer = AutoTokenizer.from_pretrained(pair.student, padding_side="left")
    given = {"processing_class": tokenizer, "peft_config": peft_config}
    settings: dict[str, Any] = {
        "per_device_train_batch_size": BATCH,
        "learning_rate": 3e-4,
        "max_completion_length": 48,
        "max_steps": 20,
        "use_vllm": True,
    }
    return make_trainer(
        pair, output, student=student, prompts=PROMPTS, trainer_options=given, **{**settings, **options}
    )


def stop_sending_weights(trainer: RecordingTrainer) -> None:
    """From now on vLLM keeps the weights that it has."""
    trainer.vllm_generation._generation.sync_weights = lambda: None


def ends(trainer: RecordingTrainer) -> list[tuple[int, ...]]:
    """The places of stop tokens in each response, counted from its end."""
    stops = set(trainer.eos_token_ids)
    ids = [item.response.ids for batch in trainer.rollouts for item in batch]
    return [tuple(place for place, token in enumerate(reversed(row)) if token in stops) for row in ids]
