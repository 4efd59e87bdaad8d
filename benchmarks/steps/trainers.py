"""The trainers that are timed side by side: ours, TRL's for two tokenizers (GOLD) and TRL's for one (distillation)."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset

from crossdistill.demo.run import message
from crossdistill.demo.task import problems

GOLD, TRL = "gold", "trl"
"""Names beside those of our objectives: TRL's GOLDTrainer, and its DistillationTrainer."""


@dataclass(frozen=True)
class Case:
    """What is run.

    Attributes:
        student, teacher: folders of models.
        batch: responses of a step.
        new_tokens: of every response.
        steps: that are counted; one more comes before.
        activation_checkpointing: off by default, for all trainers alike.
    """

    student: str
    teacher: str
    batch: int
    new_tokens: int
    steps: int
    activation_checkpointing: bool = False

    def settings(self, output: Path) -> dict[str, Any]:
        """What all trainers are told."""
        return {
            "output_dir": str(output),
            "max_steps": self.steps + 1,
            "per_device_train_batch_size": self.batch,
            "max_completion_length": self.new_tokens,
            "learning_rate": 1e-6,
            "logging_steps": 1,
            "save_strategy": "no",
            "report_to": "none",
            "disable_tqdm": True,
            "use_cpu": True,
            "bf16": False,
            "gradient_checkpointing": self.activation_checkpointing,
        }

    def prompts(self) -> list[Any]:
        """Conversations, more than are needed."""
        return [message(problem) for problem in problems("train", self.batch * (self.steps + 2), seed=0)]


def made(method: str, case: Case, output: Path) -> tuple[Any, Any, Any]:
    """A trainer, its student and its teacher.

    Args:
        method: GOLD, TRL, or the name of an objective.
        case: what is run.
        output: a folder of its own.
    """
    make: Callable[[Case, Path], Any] = {GOLD: _gold, TRL: _trl}.get(method) or (
        lambda case, output: _ours(method, case, output)
    )
    trainer = make(case, output)
    teacher = trainer.teacher.model if method not in (GOLD, TRL) else trainer.teacher_model
    unwrap = trainer.accelerator.unwrap_model
    return trainer, unwrap(trainer.model), unwrap(teacher)


def _ours(objective: str, case: Case, output: Path) -> Any:
    from crossdistill.train import CrossTokenizerConfig, CrossTokenizerTrainer

    settings = case.settings(output)
    settings["activation_checkpointing"] = settings.pop("gradient_checkpointing")
    config = CrossTokenizerConfig(objective=objective, stop_unit=False, **settings)
    rows = Dataset.from_dict({"prompt": case.prompts()})
    if case.student != case.teacher:
        return CrossTokenizerTrainer(case.student, case.teacher, config, train_dataset=rows)
    from transformers import AutoModelForCausalLM

    # a folder is refused as its own teacher, but the time of a step is the same whatever is learnt
    teacher = AutoModelForCausalLM.from_pretrained(case.teacher, dtype="float32")
    tokenizer = _tokenizer(case.teacher)
    return CrossTokenizerTrainer(case.student, teacher, config, train_dataset=rows, teacher_processing_class=tokenizer)


def _gold(case: Case, output: Path) -> Any:
    from transformers import AutoModelForCausalLM
    from trl.experimental.gold import GOLDConfig, GOLDTrainer

    config = GOLDConfig(
        lmbda=1.0,  # all responses are the student's own
        use_uld_loss=True,
        uld_use_hybrid_loss=True,
        teacher_tokenizer_name_or_path=case.teacher,
        max_length=None,
        **case.settings(output),
    )
    answered = [[*prompt, {"role": "assistant", "content": "?"}] for prompt in case.prompts()]
    models = (AutoModelForCausalLM.from_pretrained(path) for path in (case.student, case.teacher))
    student, teacher = models
    tokenizer = _tokenizer(case.student)
    return GOLDTrainer(
        student, teacher, config, train_dataset=Dataset.from_dict({"messages": answered}), processing_class=tokenizer
    )


def _trl(case: Case, output: Path) -> Any:
    from trl import DistillationConfig, DistillationTrainer

    config = DistillationConfig(beta=1.0, **case.settings(output))
    rows = Dataset.from_dict({"prompt": case.prompts()})
    return DistillationTrainer(
        model=case.student,
        teacher_model=case.teacher,
        args=config,
        train_dataset=rows,
        processing_class=_tokenizer(case.student),
    )


def _tokenizer(folder: str) -> Any:
    from transformers import AutoTokenizer

    from crossdistill.chat import ensure_template

    tokenizer = AutoTokenizer.from_pretrained(folder)
    ensure_template(tokenizer)
    return tokenizer
