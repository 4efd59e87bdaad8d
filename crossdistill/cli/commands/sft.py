"""``crossdistill sft``: the warm start of a student."""

from pathlib import Path
from typing import Annotated

import typer

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
    output: Output = Path("crossdistill-sft"),
    student: Annotated[str | None, typer.Option(help="Student: a folder or a hub id.")] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Rows with answers: a file, a saved data set's folder or a hub id.")
    ] = None,
    eval_dataset: Annotated[str | None, typer.Option(help="Held-out rows, to measure the loss on.")] = None,
    teacher: Annotated[
        str | None, typer.Option(help="Model that writes the completions first; the rows then need only a prompt.")
    ] = None,
    overrides: Overrides = [],  # noqa: B006 typer only reads the default
    resume: Resume = False,
    keys: Keys = False,
) -> None:
    """Warm-start a student by supervised fine-tuning, on given responses or on a teacher's.

    Reads FILE.toml (student, dataset, teacher, and the tables train and lora); options override it. Writes model/,
    run.json, report.html and checkpoints/ into the output folder, and the teacher's responses to responses.jsonl as
    they come.
    """
    require("train")
    if keys:
        from crossdistill.runs.config import SFTRunConfig

        return print_keys(SFTRunConfig.tables, file)
    named = {"student": student, "dataset": dataset, "eval_dataset": eval_dataset, "teacher": teacher}
    with Terminal() as terminal:
        terminal.begin("loading libraries")
        from crossdistill.runs.config import SFTRunConfig, read_config

        config = read_config(SFTRunConfig, file, overrides, named)
        check_before_loading(output, resume)
        if resume and is_nothing_left(terminal, output, config):
            return None
        keep_trackio(output)
        with reporting_interruption(output), shown_as_asked(terminal, config):
            from crossdistill.runs.sft import sft

            run = sft(config, output, resume, terminal)
        say_summary(terminal, run, output)
    return None
