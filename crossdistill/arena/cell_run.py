"""The run of one cell, in a process of its own."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from crossdistill.arena.cell import START, Cell
from crossdistill.arena.file import ArenaFile
from crossdistill.arena.folder import OUTCOME
from crossdistill.arena.forgetting import bits_per_byte
from crossdistill.arena.outcome import Answers, Outcome, answers_of
from crossdistill.arena.settings import TEST, VALIDATION, num_responses, problems_of, run_config
from crossdistill.distill.student import NOT_FINITE
from crossdistill.errors import EvaluationError, InputError, ServerError
from crossdistill.files import write_text
from crossdistill.findings import FindingError
from crossdistill.inspection.model_files import is_url
from crossdistill.ops.head import WEIGHT_NOT_FINITE
from crossdistill.runs.accuracy import accuracy_curves, tasks_of
from crossdistill.runs.config import SFTRunConfig
from crossdistill.runs.data import load_rows
from crossdistill.runs.evaluate import evaluate, evaluate_model
from crossdistill.runs.evaluated_model import ModelOptions, local_model
from crossdistill.runs.folder import RunFolder
from crossdistill.runs.held_out import HeldOut, read_tasks
from crossdistill.runs.planned_task import PlannedTask
from crossdistill.runs.run_file import versions, write_json

RUN = "run"
"""The run's folder in the cell's."""
_DIVERGED = {NOT_FINITE.name, WEIGHT_NOT_FINITE.name}


def run_cell(arena: ArenaFile, cell: Cell, rules: str, folder: Path, keep_models: bool = False) -> Outcome:
    """Train and evaluate a cell, and write its ``cell.json``; a run that was cut short is continued.

    Args:
        arena: the file.
        cell: of it.
        rules: the cell's digest.
        folder: of the cell.
        keep_models: whether the trained weights stay.

    Returns:
        Its outcome. A run that is refused, or ends early for a reason that it can tell, is an outcome too.

    Raises:
        Interrupted: a signal was received; the cell is not finished.
    """
    outcome = Outcome(cell, rules, "done", versions=versions())
    try:
        if cell.stage == "model":
            outcome = _as_it_is(arena, cell, folder, outcome)
        else:
            outcome = _answered(arena, cell, folder, _trained(arena, cell, folder, outcome))
    except (InputError, ServerError, EvaluationError) as error:
        is_lost = isinstance(error, FindingError) and error.finding.kind.name in _DIVERGED
        curve = accuracy_curves(RunFolder(folder / RUN)).get(VALIDATION, [])
        outcome = replace(outcome, status="diverged" if is_lost else "failed", reason=str(error), curve=curve)
    write_json(folder / OUTCOME, outcome.as_dict())
    if not keep_models:
        for heavy in (folder / RUN / "model", folder / RUN / "checkpoints"):
            shutil.rmtree(heavy, ignore_errors=True)
    return outcome


def _trained(arena: ArenaFile, cell: Cell, folder: Path, outcome: Outcome) -> Outcome:
    """Train, and read what the run says of itself."""
    config, output = run_config(arena, cell), folder / RUN
    resume = RunFolder(output).config.exists()
    if isinstance(config, SFTRunConfig):
        from crossdistill.runs.sft import sft

        if cell.method == "seqkd":
            config = config.model_copy(update={"dataset": str(_drawn_prompts(arena, cell, folder))})
        run = sft(config, output, resume)
    else:
        from crossdistill.runs.train import train

        _, run = train(config, output, resume)
    curve = run["accuracy"][VALIDATION]
    steps = [entry for entry in run["history"] if "loss" in entry]
    return replace(
        outcome,
        curve=curve,
        student_tokens=curve[-1]["student_tokens"],
        flops=curve[-1]["flops"],
        seconds=curve[-1]["seconds"],
        responses=run["data_points"],
        entropy=steps[-1].get("entropy"),
        gap=steps[-1].get("teacher_gap"),
        loss=[[entry["step"], entry["loss"]] for entry in steps],
    )


def _drawn_prompts(arena: ArenaFile, cell: Cell, folder: Path) -> Path:
    """As many training prompts as the other methods sample responses to, drawn by the seed, in a file."""
    rows = load_rows(arena.task_of(cell.pair).prompts, columns={"prompt": "prompt"})
    count = num_responses(arena, cell.pair)
    order = np.random.default_rng(cell.seed).permutation(len(rows))
    chosen = np.resize(order, count)  # more than there are: again from the first
    path = folder / "prompts.jsonl"
    if not path.exists():
        lines = [json.dumps({"prompt": rows[int(row)]["prompt"]}, ensure_ascii=False) + "\n" for row in chosen]
        write_text(path, "".join(lines))
    return path


def _answered(arena: ArenaFile, cell: Cell, folder: Path, outcome: Outcome) -> Outcome:
    """The trained model's answers: to validation problems from the end of its curve, to test problems now."""
    kwargs = _template_kwargs(arena, cell)
    [validation] = read_tasks({VALIDATION: arena.task_of(cell.pair).validation}, kwargs, is_grading=False)
    run = RunFolder(folder / RUN)
    outcome = replace(outcome, validation=_answers(tasks_of(run.evaluations[-1]), validation))
    if cell.stage == "tune":
        return outcome
    [test] = read_tasks({TEST: arena.task_of(cell.pair).test}, kwargs)
    local = local_model(str(run.model), ModelOptions())
    model, options = local.load(), (test.task, test.options, test.sampling)
    found = evaluate_model(model, local.tokenizer, *options, folder / "answers", name=cell.id, is_quiet=True)
    bits = _bits(arena, cell, model, local.tokenizer)
    return replace(outcome, test=_answers(found["tasks"], test), bits_per_byte=bits)


def _as_it_is(arena: ArenaFile, cell: Cell, folder: Path, outcome: Outcome) -> Outcome:
    """Let a model that is not trained answer the problems."""
    pair = arena.pairs[cell.pair]
    name = pair.student if cell.method == START else pair.teacher
    tasks = read_tasks(problems_of(arena, cell), _template_kwargs(arena, cell))
    planned = [PlannedTask.of(held.task, held.options, held.sampling) for held in tasks]
    output = folder / "answers"
    found = evaluate(name, planned, output, resume=RunFolder(output).holds_files, is_quiet=True)
    validation, test = (_answers(found["tasks"], held) for held in tasks)
    outcome = replace(outcome, validation=validation, test=test)
    if is_url(name):
        return outcome
    local = local_model(name, ModelOptions())
    return replace(outcome, bits_per_byte=_bits(arena, cell, local.load(), local.tokenizer))


def _answers(tasks: Mapping[str, Any], held: HeldOut) -> Answers:
    """The answers to a task, from the results of an evaluation by task."""
    return answers_of(tasks[held.task.name], [problem.id for problem in held.problems])


def _bits(arena: ArenaFile, cell: Cell, model: Any, tokenizer: Any) -> float | None:
    unrelated = arena.task_of(cell.pair).unrelated
    if unrelated is None:
        return None
    return bits_per_byte(model, tokenizer, Path(unrelated).read_text(encoding="utf-8").splitlines())


def _template_kwargs(arena: ArenaFile, cell: Cell) -> dict[str, Any]:
    """Of the student's chat template: the same in answers as in training."""
    kwargs: dict[str, Any] = {**arena.train, **arena.pairs[cell.pair].train}.get("chat_template_kwargs") or {}
    return kwargs
