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
from crossdistill.arena.folder import OUTCOME, outcome_in
from crossdistill.arena.forgetting import bits_per_byte, unrelated_lines
from crossdistill.arena.outcome import Answers, Outcome, answers_of
from crossdistill.arena.settings import TEST, VALIDATION, num_responses, problems_of, run_config, template_kwargs
from crossdistill.distill.student import NOT_FINITE
from crossdistill.errors import EvaluationError, InputError, ServerError
from crossdistill.files import write_text
from crossdistill.findings import FindingError
from crossdistill.inspection.model_name import is_url
from crossdistill.ops.head import WEIGHT_NOT_FINITE
from crossdistill.report.versions import versions
from crossdistill.runs.accuracy import accuracy_curves, tasks_of
from crossdistill.runs.config import RunConfig, SFTRunConfig
from crossdistill.runs.data import load_rows
from crossdistill.runs.evaluate import evaluate, evaluate_model
from crossdistill.runs.evaluated_model import ModelOptions, local_model
from crossdistill.runs.folder import RunFolder
from crossdistill.runs.held_out import HeldOut, read_tasks
from crossdistill.runs.planned_task import PlannedTask
from crossdistill.runs.run_file import read_run, write_json
from crossdistill.space import out_of_space, telling_out_of_space

RUN, ANSWERS, PROMPTS = "run", "answers", "prompts.jsonl"
"""The run's folder in the cell's, that of the answers to test problems, and seqkd's prompts."""
BEGUN = "begun.json"
"""What a cell's process has begun: the cell's rules, and the configuration of its run, with the paths in it."""
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
        Its outcome. A run that is refused, or ends early for a reason that it can tell, is an outcome too. If the
        folder has one already, of a process that outlived its arena, it is that.

    Raises:
        Interrupted: a signal was received; the cell is not finished.
        OutOfSpaceError: a disk is full; likewise.
    """
    with telling_out_of_space(folder):
        config = None if cell.stage == "model" else _config(arena, cell, folder)
        _begin(folder, {"rules": rules, "run": None if config is None else config.model_dump(mode="json")})
        found = outcome_in(folder)
        return _run(arena, cell, rules, folder, config, keep_models) if found is None else found


def _begin(folder: Path, what: dict[str, Any]) -> None:
    """Remove what is in the folder unless it was begun under the same rules, so that it can be continued."""
    begun = folder / BEGUN
    if not begun.exists() or json.loads(begun.read_text(encoding="utf-8")) != what:
        for part in (RUN, ANSWERS):
            shutil.rmtree(folder / part, ignore_errors=True)
        for name in (PROMPTS, OUTCOME):
            (folder / name).unlink(missing_ok=True)
        write_json(begun, what)


def _run(
    arena: ArenaFile,
    cell: Cell,
    rules: str,
    folder: Path,
    config: RunConfig | SFTRunConfig | None,
    keep_models: bool,
) -> Outcome:
    outcome = Outcome(cell, rules, "done", versions=versions())
    try:
        if config is None:
            outcome = _as_it_is(arena, cell, folder, outcome)
        else:
            if cell.method == "seqkd":
                _draw_prompts(arena, cell, folder / PROMPTS)
            outcome = _answered(arena, cell, folder, _trained(config, folder / RUN, outcome))
    except (InputError, ServerError, EvaluationError) as error:
        if out_of_space(error, folder) is not None:
            raise
        is_lost = isinstance(error, FindingError) and error.finding.kind.name in _DIVERGED
        curve = accuracy_curves(RunFolder(folder / RUN)).get(VALIDATION, [])
        outcome = replace(outcome, status="diverged" if is_lost else "failed", reason=str(error), curve=curve)
    write_json(folder / OUTCOME, outcome.as_dict())
    if not keep_models:
        for heavy in (folder / RUN / "model", folder / RUN / "checkpoints"):
            shutil.rmtree(heavy, ignore_errors=True)
    return outcome


def _config(arena: ArenaFile, cell: Cell, folder: Path) -> RunConfig | SFTRunConfig:
    """The configuration of a cell's run; seqkd's prompts are drawn into a file of the cell's folder."""
    config = run_config(arena, cell)
    return config.model_copy(update={"dataset": str(folder / PROMPTS)}) if cell.method == "seqkd" else config


def _trained(config: RunConfig | SFTRunConfig, output: Path, outcome: Outcome) -> Outcome:
    """Train, and read what the run says of itself."""
    run = _finished_run(config, output)
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


def _finished_run(config: RunConfig | SFTRunConfig, output: Path) -> dict[str, Any]:
    """The content of run.json of a run that is continued from its checkpoint, or begun again if there is none."""
    folder = RunFolder(output)
    if folder.run.exists():  # written after the model: the process ended while it answered
        return read_run(output)
    if not any(folder.checkpoints.glob("checkpoint-*")):
        shutil.rmtree(output / "evaluations", ignore_errors=True)  # of a training that is not continued
    resume = folder.config.exists()
    if isinstance(config, SFTRunConfig):
        from crossdistill.runs.sft import sft

        return sft(config, output, resume)
    from crossdistill.runs.train import train

    return train(config, output, resume)[1]


def _draw_prompts(arena: ArenaFile, cell: Cell, path: Path) -> None:
    """As many training prompts as the other methods sample responses to, drawn by the seed, in a file."""
    rows = load_rows(arena.task_of(cell.pair).prompts, columns={"prompt": "prompt"})
    count = num_responses(arena, cell.pair)
    order = np.random.default_rng(cell.seed).permutation(len(rows))
    chosen = np.resize(order, count)  # more than there are: again from the first
    if not path.exists():
        lines = [json.dumps({"prompt": rows[int(row)]["prompt"]}, ensure_ascii=False) + "\n" for row in chosen]
        write_text(path, "".join(lines))


def _answered(arena: ArenaFile, cell: Cell, folder: Path, outcome: Outcome) -> Outcome:
    """The trained model's answers: to validation problems from the end of its curve, to test problems now."""
    kwargs = template_kwargs(arena, cell)
    [validation] = read_tasks({VALIDATION: arena.task_of(cell.pair).validation}, kwargs, is_grading=False)
    run = RunFolder(folder / RUN)
    outcome = replace(outcome, validation=_answers(tasks_of(run.evaluations[-1]), validation))
    if cell.stage == "tune":
        return outcome
    [test] = read_tasks({TEST: arena.task_of(cell.pair).test}, kwargs)
    local = local_model(str(run.model), ModelOptions())
    model, options = local.load(), (test.task, test.options, test.sampling)
    found = evaluate_model(model, local.tokenizer, *options, folder / ANSWERS, name=cell.id, is_quiet=True)
    bits = _bits(arena, cell, model, local.tokenizer)
    return replace(outcome, test=_answers(found["tasks"], test), bits_per_byte=bits)


def _as_it_is(arena: ArenaFile, cell: Cell, folder: Path, outcome: Outcome) -> Outcome:
    """Let a model that is not trained answer the problems."""
    pair = arena.pairs[cell.pair]
    name = pair.student if cell.method == START else pair.teacher
    tasks = read_tasks(problems_of(arena, cell), template_kwargs(arena, cell))
    planned = [PlannedTask.of(held.task, held.options, held.sampling) for held in tasks]
    output = folder / ANSWERS
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
    return bits_per_byte(model, tokenizer, unrelated_lines(unrelated))
