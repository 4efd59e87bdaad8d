"""``crossdistill sft``: the warm start."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from crossdistill.cli.options import ConfigFile, Keys, Output, Overrides, Resume, print_keys
from crossdistill.cli.running import reporting_interruption


def command(
    file: ConfigFile = None,
    output: Output = Path("crossdistill-sft"),
    student: Annotated[str | None, typer.Option(help="Student: a folder or a hub id.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Rows with prompt and completion; see --teacher.")] = None,
    teacher: Annotated[
        str | None, typer.Option(help="Have this model write the completions first; rows then need a prompt only.")
    ] = None,
    overrides: Overrides = [],  # noqa: B006 typer reads the default, nobody writes it
    resume: Resume = False,
    keys: Keys = False,
) -> None:
    """Warm-start a student by supervised fine-tuning, on given responses or on a teacher's.

    Reads FILE.toml (student, dataset, teacher, and the tables train, lora); options override it. Writes model/,
    run.json and checkpoints/ into the output folder, and the teacher's responses.jsonl as they come.
    """
    from crossdistill.runs.config import SFTRunConfig, lora_fields, read_config, sft_fields

    if keys:
        return print_keys(SFTRunConfig, {"train": sft_fields, "lora": lora_fields})
    config = read_config(SFTRunConfig, file, overrides, {"student": student, "dataset": dataset, "teacher": teacher})
    from crossdistill.runs.sft import sft

    with reporting_interruption():
        sft(config, output, resume)
    Console().print(f"the model is in {output / 'model'}")
    return None
