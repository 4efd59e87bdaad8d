"""A model card beside every model that a trainer saves, in place of those of TRL and PEFT.

Overridden of TRL 1.16 and transformers (pinned by tests/train/test_trl_contract.py): ``create_model_card`` (of what is
pushed to the hub) and ``_save``.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from accelerate.utils import is_peft_model

from crossdistill.report.card.card import write_card
from crossdistill.report.versions import versions
from crossdistill.train.finite import FiniteTrainer

_SETTINGS = (
    *("learning_rate", "lr_scheduler_type", "warmup_steps", "optim", "weight_decay", "max_grad_norm"),
    *("per_device_train_batch_size", "gradient_accumulation_steps", "world_size", "num_generations", "num_iterations"),
    *("max_completion_length", "max_length", "temperature", "top_p", "top_k", "bf16", "fp16"),
)
_LORA = ("peft_type", "r", "lora_alpha", "target_modules", "use_rslora", "use_dora")


class CardTrainer(FiniteTrainer):
    """Mixed into a trainer of TRL, in front of it.

    Attributes:
        student_name: a folder or hub id.
        about_run: further facts for the card, which a whole run knows.
    """

    student_name: str = ""
    about_run: Callable[[], Mapping[str, Any]] = dict
    _card: Mapping[str, Any] | None = None

    def card_facts(self) -> dict[str, Any]:
        """What a card says of the model as it is (:data:`crossdistill.report.card.tables.Record`).

        Every process must call it.
        """
        student = self.accelerator.unwrap_model(self.model)
        return {
            "student": self.student_name,
            "settings": settings_of(self.args),
            "lora": lora_of(student) if is_peft_model(student) else None,
            "seed": self.args.seed,
            "versions": versions(),
            "step": self.state.global_step,
            "max_steps": self.state.max_steps,
            **self.about_run(),
        }

    def create_model_card(self, model_name: Any = None, dataset_name: Any = None, tags: Any = None) -> None:
        """Write the card of ``output_dir``; TRL calls it with each checkpoint, and before a push to the hub.

        Args:
            model_name: as TRL's; not used.
            dataset_name: likewise.
            tags: likewise.
        """
        if self.is_world_process_zero():
            self._write_card(self.args.output_dir)

    def prepare_card(self) -> None:
        """Gather what the next cards say. Every process must call it before one of them writes a model."""
        self._card = self.card_facts()

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        super()._save(output_dir, state_dict)
        self._write_card(output_dir)

    def _write_card(self, folder: str | None) -> None:
        write_card(folder or str(self.args.output_dir), self._card or self.card_facts())


def settings_of(args: Any) -> dict[str, Any]:
    """The settings of a trainer that its model depends on, as far as it has them.

    Args:
        args: its configuration.
    """
    values = {name: getattr(args, name, None) for name in _SETTINGS}
    return {name: getattr(value, "value", value) for name, value in values.items() if value is not None}


def lora_of(student: Any) -> dict[str, Any]:
    """The settings of a model's adapter that its user chose.

    Args:
        student: a model with an adapter of PEFT.
    """
    entries = student.peft_config[student.active_adapter].to_dict()
    found = {name: entries.get(name) for name in _LORA if entries.get(name)}
    return {
        name: sorted(value) if isinstance(value, set) else getattr(value, "value", value)
        for name, value in found.items()
    }


def name_of(model: Any) -> str:
    """A model in a card: the folder or hub id that it was loaded from, or else its class.

    Args:
        model: a folder, a hub id, a URL, a model or a teacher.
    """
    if isinstance(model, str | Path):
        return str(model)
    named = getattr(getattr(model, "config", None), "name_or_path", "")
    return str(named or type(model).__name__)
