"""``crossdistill sft``: the warm start of a student."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from crossdistill.cli.keys import print_keys
from crossdistill.cli.options import ConfigFile, Keys, Output, Overrides, Resume
from crossdistill.cli.running import reporting_interruption
from crossdistill.extras import require


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
    from crossdistill.runs.config import SFTRunConfig, read_config

    if keys:
        return print_keys(SFTRunConfig.tables, file)
    named = {"student": student, "dataset": dataset, "eval_dataset": eval_dataset, "teacher": teacher}
    config = read_config(SFTRunConfig, file, overrides, named)
    from crossdistill.runs.sft import sft

    with reporting_interruption(output):
        sft(config, output, resume)
    from accelerate import PartialState

    if PartialState().is_main_process:
        Console().print(f"the model is in {output / 'model'}", markup=False, soft_wrap=True)
    return None
