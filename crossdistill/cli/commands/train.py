"""``crossdistill train``: distil a teacher into a student with another tokenizer."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from crossdistill.cli.keys import print_keys
from crossdistill.cli.options import ConfigFile, Keys, Output, Overrides, Resume
from crossdistill.cli.running import (
    check_before_loading,
    is_nothing_left,
    keep_trackio,
    reporting_interruption,
    say_summary,
    shown_as_asked,
)
from crossdistill.extras import require
from crossdistill.runs.terminal import Terminal


def command(
    file: ConfigFile = None,
    output: Output = Path("crossdistill-run"),
    student: Annotated[str | None, typer.Option(help="Student: a folder or a hub id.")] = None,
    teacher: Annotated[str | None, typer.Option(help="Teacher: a folder, a hub id or a server's URL.")] = None,
    teacher_tokenizer: Annotated[
        str | None, typer.Option(help="Tokenizer of a teacher that is named by its URL: a folder or a hub id.")
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="Prompts: a file, a saved data set's folder or a hub id.")] = None,
    eval_dataset: Annotated[str | None, typer.Option(help="Held-out prompts, to measure the teacher gap on.")] = None,
    preset: Annotated[str | None, typer.Option(help='Named settings: "paper".')] = None,
    objective: Annotated[
        str | None,
        typer.Option(help="Name of the objective, or the import path of your own, my_package.my_file:MyObjective."),
    ] = None,
    overrides: Overrides = [],  # noqa: B006 typer only reads the default
    resume: Resume = False,
    keys: Keys = False,
) -> None:
    """Train a student on its own samples under a teacher with another tokenizer.

    Reads FILE.toml (student, teacher, dataset, and the tables objective_options, train and lora); options override
    it. Writes model/, run.json, samples.jsonl, report.html and checkpoints/ into the output folder.
    """
    require("train")
    if keys:
        from crossdistill.runs.config import RunConfig

        return print_keys(RunConfig.tables, file)
    named = {
        "student": student,
        "teacher": teacher,
        "teacher_tokenizer": teacher_tokenizer,
        "dataset": dataset,
        "eval_dataset": eval_dataset,
        "preset": preset,
        "objective": objective,
    }
    with Terminal() as terminal:
        terminal.begin("loading libraries")
        from crossdistill.report.alignment.terminal import print_warnings
        from crossdistill.runs.config import RunConfig, read_config

        config = read_config(RunConfig, file, overrides, named)
        check_before_loading(output, resume, (table.model for table in config.named_teachers.values()))
        if resume and is_nothing_left(terminal, output, config):
            return None
        keep_trackio(output)
        with reporting_interruption(output), shown_as_asked(terminal, config):
            from crossdistill.runs.train import train

            trainer, run = train(config, output, resume, terminal)
        if trainer.accelerator.is_main_process:
            print_warnings(Console(), run["warnings"])
        say_summary(terminal, run, output)
    return None
