"""``crossdistill init``: a commented run file for a pair."""

import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from crossdistill.cli.names import StudentTemplateKwargs, TeacherTemplateKwargs, check_folders, template_kwargs
from crossdistill.cli.waiting import waiting
from crossdistill.errors import InputError
from crossdistill.extras import require


def command(
    student: Annotated[str, typer.Argument(help="Student: a folder or a hub id; no weights are read.")],
    teacher: Annotated[str, typer.Argument(help="Teacher: a folder or a hub id; no weights are read.")],
    dataset: Annotated[
        str, typer.Option(help="Prompts: a file, a saved data set's folder or a hub id.")
    ] = "prompts.jsonl",
    output: Annotated[Path, typer.Option("--output", "-o", help="Run file to write; must be new.")] = Path("run.toml"),
    lora: Annotated[bool, typer.Option("--lora", help="Train a LoRA adapter.")] = False,
    memory: Annotated[
        float | None,
        typer.Option(min=1, help="GiB of the GPU that will train it; by default, what this machine has."),
    ] = None,
    student_template_kwargs: StudentTemplateKwargs = None,
    teacher_template_kwargs: TeacherTemplateKwargs = None,
) -> None:
    """Write a run file for a pair, with a comment on each key: what it means, and why it has its value.

    The objective, the end of turns and the templates' arguments follow from what `crossdistill inspect` finds; rate,
    batch, length and steps from runs that worked (docs/starting.md) and from the memory of the GPU.
    """
    require("train")
    if output.exists():
        raise InputError(f"{output} exists, and is not overwritten: name another file with --output.")
    if not output.absolute().parent.is_dir():
        raise InputError(f"there is no folder {output.absolute().parent}: make it, or name another file with --output.")
    from crossdistill.cli.output import writing
    from crossdistill.files import write_text
    from crossdistill.runs.proposed_file import proposed_file

    ours = template_kwargs(student_template_kwargs, "--student-template-kwargs")
    theirs = template_kwargs(teacher_template_kwargs, "--teacher-template-kwargs")
    with waiting("inspecting the pair"):
        from crossdistill.inspection import inspect_pair
        from crossdistill.inspection.model_pair import read_pair
        from crossdistill.runs.proposal import Device, propose
        from crossdistill.runs.quiet import quiet_libraries

        quiet_libraries()
        check_folders(student, teacher)
        models = read_pair(student, teacher, ours, theirs)
        device = Device.here() if memory is None else Device(memory * 2**30, is_cpu=False)
        entries = propose(models, inspect_pair(*models), dataset, lora, device)
    options = {
        "--dataset": dataset,
        "--memory": memory and f"{memory:g}",
        "--student-template-kwargs": student_template_kwargs,
        "--teacher-template-kwargs": teacher_template_kwargs,
    }
    words = [word for name, value in options.items() if value for word in (name, value)]
    words = ["crossdistill", "init", student, teacher, *words, *(["--lora"] if lora else [])]
    with writing(output):
        write_text(output, proposed_file(entries, shlex.join(words)))
    console = Console()
    console.print(f"{output} is written; train it with:", markup=False, soft_wrap=True)
    console.print(f"crossdistill train {shlex.quote(str(output))} --output runs/first", markup=False, soft_wrap=True)
