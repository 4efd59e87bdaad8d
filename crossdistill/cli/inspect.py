"""``crossdistill inspect``: a pair of models before money is spent on it."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

Student = Annotated[str, typer.Argument(help="Student: a folder or a hub id; no weights are read.")]
Teacher = Annotated[str, typer.Argument(help="Teacher: a folder or a hub id; no weights are read.")]


def command(
    student: Student,
    teacher: Teacher,
    html: Annotated[Path | None, typer.Option(help="Also write what was found as a page.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON, for programs.")] = False,
) -> None:
    """Say what a pair of models will do, before money is spent on it.

    Reads both vocabularies as a training run would, and measures on the shipped corpus (languages, code, mathematics,
    conversations, ...) how they align: what can be supervised, which objectives suit, what their templates do.
    """
    from crossdistill.cli.pair import read_pair
    from crossdistill.inspection import inspect_pair
    from crossdistill.report.inspection import as_dict
    from crossdistill.report.inspection_page import write_inspection_page
    from crossdistill.report.inspection_terminal import print_inspection

    pair = inspect_pair(*read_pair(student, teacher))
    if html is not None:
        write_inspection_page(html, pair)
    if as_json:
        sys.stdout.write(json.dumps(as_dict(pair), ensure_ascii=False) + "\n")
    else:
        print_inspection(Console(), pair)
