"""``crossdistill inspect``: a pair of models before a run."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from crossdistill.cli.names import StudentTemplateKwargs, TeacherTemplateKwargs, check_folders, template_kwargs
from crossdistill.cli.output import check_page, print_json, writing
from crossdistill.cli.waiting import waiting

if TYPE_CHECKING:
    from crossdistill.inspection import Inspection

Student = Annotated[str, typer.Argument(help="Student: a folder or a hub id; no weights are read.")]
Teacher = Annotated[str, typer.Argument(help="Teacher: a folder or a hub id; no weights are read.")]


def command(
    student: Student,
    teacher: Teacher,
    html: Annotated[Path | None, typer.Option(help="Also write the findings as a page.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON, for programs.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Print everything, not a page of it.")] = False,
    student_template_kwargs: StudentTemplateKwargs = None,
    teacher_template_kwargs: TeacherTemplateKwargs = None,
    objective: Annotated[
        list[str] | None,
        typer.Option(help="An objective of your own to describe, my_package.my_file:MyObjective; may be repeated."),
    ] = None,
) -> None:
    """Inspect a pair of models before spending money on a run.

    Reads both vocabularies as a training run would, and measures how they align on the shipped corpus (languages,
    code, mathematics, conversations, ...): what can be supervised, which objectives suit, what their templates do. The
    verdict comes first.
    """
    check_page(html)
    from crossdistill.report.inspection.page import write_inspection_page
    from crossdistill.report.inspection.rows import as_dict
    from crossdistill.report.inspection.terminal import print_inspection

    pair = inspected(student, teacher, student_template_kwargs, teacher_template_kwargs, objective or ())
    if html is not None:
        with writing(html):
            write_inspection_page(html, pair)
    if as_json:
        print_json([as_dict(pair)])
    else:
        print_inspection(Console(), pair, full)


def inspected(
    student: str,
    teacher: str,
    student_kwargs: str | None,
    teacher_kwargs: str | None,
    own_objectives: Sequence[str] = (),
) -> "Inspection":
    """Inspect a pair; the keyword arguments of its templates are JSON."""
    with waiting("inspecting the pair"):
        from crossdistill.inspection import inspect_pair
        from crossdistill.inspection.model_pair import read_pair
        from crossdistill.objectives import get

        own = [get(name) for name in own_objectives]
        ours = template_kwargs(student_kwargs, "--student-template-kwargs")
        theirs = template_kwargs(teacher_kwargs, "--teacher-template-kwargs")
        check_folders(student, teacher)
        return inspect_pair(*read_pair(student, teacher, ours, theirs), own_objectives=own)
