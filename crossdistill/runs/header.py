"""The first lines of a run: what is trained, from what, how, and where it is written."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from crossdistill.distill.routing import REFERENCE
from crossdistill.report.format import count, model_name, si
from crossdistill.runs.config import RunConfig, SFTRunConfig

Rows = list[tuple[str, str]]
"""Names and what they are."""


def distillation_header(trainer: Any, config: RunConfig, output: Path, state: Any) -> Rows:
    """The rows of a distillation run.

    Args:
        trainer: of the run.
        config: of the run.
        output: its folder.
        state: of the trainer, as training begins.
    """
    args, models = trainer.args, {name: table.model for name, table in config.named_teachers.items()}
    reference = models.pop(REFERENCE, None)
    reason = f": {trainer.choice.reason}" if trainer.choice.reason else ""
    groups = f" ({args.num_generations} to each prompt)" if args.num_generations > 1 else ""
    return [
        ("student", _student(trainer, config.student)),
        ("teacher" if len(models) == 1 else "teachers", ", ".join(map(model_name, models.values()))),
        *([] if reference is None else [("reference", model_name(reference))]),
        ("objective", f"{trainer.objective.name}{reason}"),
        ("device", _device(trainer)),
        ("batch", f"{_batch(args)} responses a step{groups}, of at most {args.max_completion_length} tokens"),
        ("steps", _steps(trainer, state)),
        *_evaluations(trainer, config),
        ("output", _output(output, args)),
    ]


def sft_header(trainer: Any, config: SFTRunConfig, output: Path, state: Any) -> Rows:
    """The rows of a warm start; arguments as of :func:`distillation_header`."""
    written = "" if config.teacher is None else f", written by {model_name(config.teacher)}"
    return [
        ("student", _student(trainer, config.student)),
        ("objective", f"SFT on {count(len(trainer.train_dataset))} examples{written}"),
        ("device", _device(trainer)),
        ("batch", f"{_batch(trainer.args)} examples a step"),
        ("steps", _steps(trainer, state)),
        *_evaluations(trainer, config),
        ("output", _output(output, trainer.args)),
    ]


def _student(trainer: Any, name: str) -> str:
    sizes = [(_size(weight), weight.requires_grad) for weight in trainer.model.parameters()]
    total, trained = sum(size for size, _ in sizes), sum(size for size, is_trained in sizes if is_trained)
    how = "all trained" if trained == total else f"{si(trained)} ({trained / max(total, 1):.1%}) trained"
    return f"{model_name(name)}, {si(total)} parameters, {how}"


def _size(weight: Any) -> int:
    return int(getattr(weight, "ds_numel", weight.numel()))  # ZeRO-3 leaves empty tensors


def _device(trainer: Any) -> str:
    args, dtype = trainer.args, str(trainer.model.dtype).removeprefix("torch.")
    computed = ", computed in bfloat16" if args.bf16 else ", computed in float16" if args.fp16 else ""
    processes = f", {args.world_size} processes" if args.world_size > 1 else ""
    return f"{trainer.accelerator.device}, weights in {dtype}{computed}{processes}"


def _batch(args: Any) -> str:
    return count(args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size)


def _steps(trainer: Any, state: Any) -> str:
    args = trainer.args
    schedule = getattr(args.lr_scheduler_type, "value", args.lr_scheduler_type)
    return f"{count(state.max_steps)}, learning rate {args.learning_rate:g} ({schedule})"


def _evaluations(trainer: Any, config: RunConfig | SFTRunConfig) -> Iterator[tuple[str, str]]:
    held_out = trainer.eval_dataset
    what = "teacher gap on {} prompts" if isinstance(config, RunConfig) else "loss on {} rows"
    parts = [what.format(count(len(held_out)))] if held_out is not None else []
    parts += list((config.eval_tasks or {}).keys())
    if parts:
        yield "evaluation", ", ".join(parts)


def _output(output: Path, args: Any) -> str:
    loggers = [name for name in args.report_to or [] if name != "none"]
    return f"{output}{', logged to ' + ', '.join(loggers) if loggers else ''}"
