"""From a cell to the configuration of its run."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from crossdistill.arena.cell import Cell
from crossdistill.arena.file import ArenaFile
from crossdistill.inspection.model_name import is_url
from crossdistill.runs.config import RunConfig, SFTRunConfig, validated
from crossdistill.runs.eval_tasks import EvalTaskTable
from crossdistill.runs.keys import TRAIN
from crossdistill.runs.tables import converted

VALIDATION, TEST = "validation", "test"
SAME_TOKENIZER_OBJECTIVE = "dpca"
"""With one tokenizer on both sides every chunk is 1:1, and it is plain on-policy distillation."""
_ALWAYS = {"save_strategy": "no", "logging_steps": 1}


def run_config(arena: ArenaFile, cell: Cell) -> RunConfig | SFTRunConfig:
    """The configuration of a cell's run.

    Args:
        arena: the file.
        cell: of stage "tune" or "test".

    Raises:
        InputError: settings that no run takes.
    """
    return _sft_config(arena, cell) if cell.method in ("sft", "seqkd") else _train_config(arena, cell)


def problems_of(arena: ArenaFile, cell: Cell) -> dict[str, EvalTaskTable]:
    """The problems that a cell's model answers at its end; a run that a rate is chosen by never sees test problems."""
    task = arena.task_of(cell.pair)
    return {VALIDATION: task.validation} if cell.stage == "tune" else {VALIDATION: task.validation, TEST: task.test}


def num_responses(arena: ArenaFile, pair: str) -> int:
    """Responses that each run of a pair is trained on, on one process."""
    from crossdistill.train import CrossTokenizerConfig

    settings = converted({**arena.train, **arena.pairs[pair].train}, TRAIN)
    return _num_responses(settings, CrossTokenizerConfig)


def template_kwargs(arena: ArenaFile, cell: Cell) -> dict[str, Any]:
    """Of the student's chat template: the same in answers as in training."""
    method = arena.methods.get(cell.method)
    settings = {**arena.train, **arena.pairs[cell.pair].train, **({} if method is None else method.train)}
    kwargs: dict[str, Any] = settings.get("chat_template_kwargs") or {}
    return kwargs


def responses_of(arena: ArenaFile, cell: Cell) -> int:
    """Responses (examples, in SFT) that a cell's run is trained on, on one process."""
    from trl import SFTConfig

    from crossdistill.train import CrossTokenizerConfig

    config = run_config(arena, cell)
    return _num_responses(config.train, CrossTokenizerConfig if isinstance(config, RunConfig) else SFTConfig)


def _num_responses(settings: Mapping[str, Any], kind: Any) -> int:
    defaults = {field.name: field.default for field in fields(kind)}
    known = {"num_iterations": 1, **defaults, **settings}  # SFT trains once on an example
    rollouts = -(-known["max_steps"] // known["num_iterations"])
    return int(rollouts * known["per_device_train_batch_size"] * known["gradient_accumulation_steps"])


def _train_config(arena: ArenaFile, cell: Cell) -> RunConfig:
    pair, task = arena.pairs[cell.pair], arena.task_of(cell.pair)
    method = arena.methods.get(cell.method)
    common = {
        "student": pair.student,
        "dataset": task.prompts,
        "eval_tasks": {VALIDATION: task.validation.model_dump()},
        "eval_every": arena.eval_every,
        "lora": arena.lora,
    }
    settings = {**_ALWAYS, **arena.train, **pair.train, "learning_rate": cell.rate, "seed": cell.seed}
    if method is None:
        twin = pair.same_tokenizer_teacher
        own = {"teacher": twin, "teacher_tokenizer": pair.student if is_url(twin) else None}
        own |= {"objective": SAME_TOKENIZER_OBJECTIVE}
        return validated(RunConfig, {**common, **own, "train": settings})
    teacher: dict[str, Any] = {"teacher": pair.teacher, "teacher_tokenizer": pair.teacher_tokenizer}
    if method.teachers is not None:
        first = {"model": pair.teacher, "tokenizer": pair.teacher_tokenizer}
        teacher = {"teachers": {"teacher": first, **method.teachers}}
    chosen = {"objective": method.objective or cell.method, "objective_options": method.options}
    return validated(RunConfig, {**common, **teacher, **chosen, "train": {**settings, **method.train}})


def _sft_config(arena: ArenaFile, cell: Cell) -> SFTRunConfig:
    pair, task = arena.pairs[cell.pair], arena.task_of(cell.pair)
    written: dict[str, Any] = {"dataset": task.examples}
    if cell.method == "seqkd":
        how = {} if arena.teacher_writes is None else arena.teacher_writes.model_dump(exclude_unset=True)
        written = {"dataset": task.prompts, "teacher": pair.teacher, **how}
    settings = {**_ALWAYS, **arena.sft_settings(cell.pair), "learning_rate": cell.rate, "seed": cell.seed}
    return validated(
        SFTRunConfig,
        {
            "student": pair.student,
            **written,
            "eval_tasks": {VALIDATION: task.validation.model_dump()},
            "eval_every": arena.eval_every,
            "lora": arena.lora,
            "train": settings,
        },
    )
