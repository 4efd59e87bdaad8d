"""A distillation run, from its configuration to its report."""

import base64
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from accelerate.utils import set_seed
from rich.console import Console

from crossdistill.chat.prompts import as_prompt, prompt_name
from crossdistill.distill.names import REFERENCE
from crossdistill.distill.response import ScoredResponse
from crossdistill.distill.routing import COLUMN
from crossdistill.errors import InputError, TeacherError
from crossdistill.extras import missing
from crossdistill.files import write_text
from crossdistill.inspection.same_model import check_teachers
from crossdistill.phases import phase
from crossdistill.report.alignment.view import SampleView
from crossdistill.report.card.card import write_card
from crossdistill.report.html import write_report
from crossdistill.report.versions import versions
from crossdistill.runs.accuracy import accuracy_curves
from crossdistill.runs.before import EvaluationBefore, teacher_gap
from crossdistill.runs.card_facts import GAP, facts_of_run
from crossdistill.runs.config import RunConfig, build
from crossdistill.runs.data import load_formatted, renamed
from crossdistill.runs.during import EvaluationDuring
from crossdistill.runs.finished import check_goes_on
from crossdistill.runs.folder import RunFolder
from crossdistill.runs.header import distillation_header
from crossdistill.runs.held_out import held_out, trained_on
from crossdistill.runs.identity import identity
from crossdistill.runs.interrupt import Interrupted, StopOnSignal
from crossdistill.runs.last_step import LogLastStep
from crossdistill.runs.logs import end_logs, keep_logs, reopen_logs
from crossdistill.runs.meter import DistillationMeter
from crossdistill.runs.run_file import SAMPLES_FILE, write_json
from crossdistill.runs.settings import device, settings
from crossdistill.runs.shown import show_training
from crossdistill.runs.terminal import Terminal
from crossdistill.runs.views import response_view
from crossdistill.train import CrossTokenizerConfig, CrossTokenizerTrainer
from crossdistill.train.data_format import as_prompts
from crossdistill.train.off_policy import GIVEN
from crossdistill.train.resumable import ending_together

_NUM_SAMPLES = 3
_GRACE_S = 10.0  # schedulers kill a run half a minute after the signal, and the checkpoint takes some of that


def train(
    config: RunConfig, output: Path, resume: bool = False, terminal: Terminal | None = None
) -> tuple[CrossTokenizerTrainer, dict[str, Any]]:
    """Distil, and write OUTPUT/model, run.json, samples.jsonl and report.html.

    Args:
        config: of the run.
        output: folder to write; new or empty, unless resumed.
        resume: whether to continue the run in `output`.
        terminal: shows training; the trainer's own progress bar by default.

    Returns:
        The trainer and the content of run.json.

    Raises:
        InputError: bad input, found before weights are read if that is possible; or too low a coverage, with a
            checkpoint.
        Interrupted: after SIGINT or SIGTERM, with a checkpoint.
        TeacherError: a teacher's server failed the run, with a checkpoint.
        OutOfSpaceError: a disk is full; what was saved before is whole.
    """
    folder = RunFolder(output)
    teachers = [table.model for table in config.named_teachers.values()]
    check_teachers(config.student, teachers, is_rewarded=bool(config.train.get("reward")))
    phase("reading the prompts")
    prompts, eval_prompts = _datasets(config)
    options = {"output_dir": str(folder.checkpoints), **config.trainer_arguments()}
    arguments = build(CrossTokenizerConfig, "train", options)
    with arguments.main_process_first(local=False):
        if arguments.process_index == 0:
            folder.check(identity(config), resume)
    tasks = held_out(config.eval_tasks, arguments)
    found = trained_on(tasks, prompts)
    set_seed(arguments.seed)
    phase("checking models, settings and prompts")
    trainer = _trainer(config, arguments, prompts, eval_prompts)
    trainer.findings.add_all(found)
    trainer.about_run = lambda: facts_of_run(folder, config)
    stop = StopOnSignal(arguments.num_iterations, lambda: trainer.set_deadline(_GRACE_S))
    if terminal is not None:
        show_training(trainer, terminal, partial(distillation_header, trainer, config, output))
    checkpoint = folder.latest_checkpoint(trainer.checkpoint_contents, trainer.findings) if resume else None
    if resume:
        check_goes_on(folder, checkpoint)
    # without a checkpoint the run starts from the beginning, perhaps with another model behind the server
    evaluates_before = eval_prompts is not None and (checkpoint is None or not folder.before.exists())
    trainer.accelerator.wait_for_everyone()  # every process has read the folder before one writes to it
    with ending_together(output):
        if trainer.accelerator.is_main_process:
            folder.claim(identity(config))
            keep_logs(trainer, folder, checkpoint)
    if evaluates_before:
        trainer.add_callback(EvaluationBefore(trainer, folder, stop, teacher_gap))
    during = EvaluationDuring(trainer, DistillationMeter(trainer), tasks, folder, stop, config)
    trainer.add_callback(LogLastStep())
    trainer.add_callback(during)
    trainer.add_callback(stop)
    try:
        with stop:
            trainer.train(resume_from_checkpoint=checkpoint)
            during.finish()
    except TeacherError:
        if stop.received is None:
            raise
    if stop.received is not None:
        raise Interrupted(stop.received, trainer.state.global_step)
    return trainer, _finish(folder, trainer, config)


def _trainer(
    config: RunConfig, arguments: CrossTokenizerConfig, prompts: Any, eval_prompts: Any
) -> CrossTokenizerTrainer:
    teachers = {name: table.model for name, table in config.named_teachers.items()}
    tokenizers = {name: table.tokenizer for name, table in config.named_teachers.items()}
    return CrossTokenizerTrainer(
        config.student,
        teachers if config.teachers else config.teacher,
        arguments,
        train_dataset=prompts,
        eval_dataset=eval_prompts,
        teacher_processing_class=tokenizers if config.teachers else config.teacher_tokenizer,
        peft_config=lora_config(config.lora),
    )


def run_entry(trainer: CrossTokenizerTrainer, config: RunConfig) -> dict[str, Any]:
    """The content of ``run.json``, except metrics and history. Every process must call it."""
    usage = trainer.total_usage().as_dict()
    models = {name: table.model for name, table in config.named_teachers.items()}
    reference = models.pop(REFERENCE, None)
    return {
        "objective": trainer.objective.name,
        "objective_reason": trainer.choice.reason,
        "student": config.student,
        "teacher": ", ".join(models.values()),
        **({} if reference is None else {"reference": reference}),
        **({} if trainer.reward is None else {"reward": _reward_entry(trainer.args)}),
        "seed": trainer.args.seed,
        "versions": versions(),
        "device": device(trainer.accelerator),
        "config": config.model_dump(mode="json"),
        "arguments": settings(config, trainer.args, config.trainer_arguments()),
        **usage,
        "flops_assumptions": trainer.usage.assumptions,
        "coverage": {**usage["coverage"], **trainer.coverage_guard.as_dict()},
        "findings": trainer.findings.as_list(),
        "warnings": trainer.watchdog.as_list(),
    }


def _reward_entry(args: CrossTokenizerConfig) -> dict[str, Any]:
    return {"name": args.reward, "weight": args.reward_weight, "num_generations": args.num_generations}


Sample = tuple[dict[str, Any], SampleView]
"""A response: its row of ``samples.jsonl``, without the view, and its view."""


def fresh_samples(trainer: CrossTokenizerTrainer, rows: Any) -> list[Sample]:
    """Sample, align and score one response of the student to each prompt.

    Args:
        trainer: of the run.
        rows: rows of a data set: ``prompt`` and, if the trainer routes by it, the column of teacher names.
    """
    prompts = [as_prompt(prompt, prompt_name(number)) for number, prompt in enumerate(rows["prompt"])]
    names = list(rows[COLUMN]) if trainer.routing.takes_column else None
    scored_rows = zip(trainer.score_prompts(prompts, names), prompts, strict=True)
    return [(sample_row(scored, prompt), response_view(trainer, scored, prompt)) for scored, prompt in scored_rows]


def write_samples(folder: RunFolder, samples: Sequence[Sample]) -> None:
    """Write ``samples.jsonl``, for ``crossdistill align --run``."""
    lines = [json.dumps({**row, "view": view.as_dict()}, ensure_ascii=False) + "\n" for row, view in samples]
    write_text(folder.path / SAMPLES_FILE, "".join(lines))


def sample_row(scored: ScoredResponse, prompt: Any) -> dict[str, Any]:
    """The prompt, the response as text (escapes for bytes that are not UTF-8), its bytes in base64, its sampled ids."""
    response = scored.response
    return {
        "prompt": prompt,
        "response": response.data.decode("utf-8", "backslashreplace"),
        "bytes": base64.b64encode(response.data).decode("ascii"),
        "ids": response.ids.tolist(),
    }


def _finish(folder: RunFolder, trainer: CrossTokenizerTrainer, config: RunConfig) -> dict[str, Any]:
    reopen_logs(trainer)
    phase("saving the model")
    trainer.save_model(str(folder.model))
    run = run_entry(trainer, config)
    if trainer.eval_dataset is not None:
        run["metric"] = GAP
        run["metrics"] = {"before": json.loads(folder.before.read_text()), "after": teacher_gap(trainer)}
    if config.eval_tasks:
        run["accuracy"] = accuracy_curves(folder)
    run["history"] = trainer.state.log_history
    phase("sampling for the report")
    shown = trainer.eval_dataset if trainer.eval_dataset is not None else trainer.train_dataset
    samples = fresh_samples(trainer, shown.select(range(min(_NUM_SAMPLES, len(shown)))))
    facts = trainer.card_facts()
    with ending_together(folder.path):
        if trainer.accelerator.is_main_process:
            phase("writing the report")
            end_logs(trainer)
            write_json(folder.run, run)
            write_card(folder.model, {**facts, **run})
            write_samples(folder, samples)
            write_report_if_possible(folder, run, [view for _, view in samples])
    return run


def write_report_if_possible(folder: RunFolder, run: dict[str, Any], views: Sequence[SampleView]) -> None:
    """Write ``report.html``; if the extra ``report`` is not installed, print how to install it instead.

    Args:
        folder: of the run.
        run: the content of ``run.json``, with its ``history``.
        views: samples to show.
    """
    absent = missing("report")
    if absent:
        reason = f"no report.html was written, because {absent[0]} is not installed"
        Console().print(f"{reason}: pip install 'crossdistill[report]'", markup=False, soft_wrap=True)
    else:
        write_report(folder.report, run, run["history"], views)


def _datasets(config: RunConfig) -> tuple[Any, Any]:
    needs_completions = config.train.get("on_policy_share", 1) < 1 and config.train.get("off_policy", GIVEN) == GIVEN
    completions = {"completion": config.completion_column} if needs_completions else {}
    if config.answer_column is not None and not config.train.get("reward"):
        raise InputError("answer_column is read by a reward, and there is none: set train.reward, or leave it out.")
    answers = {} if config.answer_column is None else {"answer": config.answer_column}
    prompts = renamed(load_prompts(config, config.dataset, config.dataset_split), config.dataset, completions | answers)
    if config.eval_dataset is None:
        return prompts, None
    eval_prompts = load_prompts(config, config.eval_dataset, config.eval_split)
    return prompts, eval_prompts if config.eval_rows is None else eval_prompts.take(config.eval_rows)


def load_prompts(config: RunConfig, source: str, split: str) -> Any:
    """The prompts in a data set of any format, a ``datasets.Dataset`` with ``prompt``.

    Args:
        config: of the run; names the columns.
        source: a file, a folder or a hub id.
        split: of it.

    Raises:
        InputError: they cannot be read.
    """
    columns = {"prompt": config.prompt_column, "messages": config.messages_column}
    return as_prompts(load_formatted(source, split, config.dataset_name, columns), f"the data set {source}")


def lora_config(options: dict[str, Any] | None) -> Any:
    """A ``peft.LoraConfig`` for a causal language model; None if there are no options."""
    if options is None:
        return None
    from peft import LoraConfig

    return build(LoraConfig, "lora", {"task_type": "CAUSAL_LM", **options})
