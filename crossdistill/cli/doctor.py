"""``crossdistill doctor``: what is installed, what works here, and what a pair of models will do."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from crossdistill.cli.names import StudentTemplateKwargs, TeacherTemplateKwargs


def command(
    student: Annotated[str | None, typer.Argument(help="Student: a folder or a hub id.")] = None,
    teacher: Annotated[str | None, typer.Argument(help="Teacher: a folder or a hub id.")] = None,
    student_template_kwargs: StudentTemplateKwargs = None,
    teacher_template_kwargs: TeacherTemplateKwargs = None,
) -> None:
    """Say what is installed, which back-ends work here, and what a pair of models will do (as inspect does)."""
    from crossdistill.cli import installation
    from crossdistill.errors import InputError

    console = Console()
    if (student is None) != (teacher is None):
        raise InputError("give a student and a teacher, or neither.")
    if student is None and (student_template_kwargs is not None or teacher_template_kwargs is not None):
        raise InputError("keyword arguments of templates are about a pair: give a student and a teacher.")
    _print(console, "installed", installation.packages())
    _print(console, "back-ends here", installation.backends())
    if student is not None and teacher is not None:
        from crossdistill.cli.inspect import inspected
        from crossdistill.report.inspection_terminal import print_inspection

        print_inspection(console, inspected(student, teacher, student_template_kwargs, teacher_template_kwargs))


def _print(console: Console, title: str, rows: list[tuple[str, str]]) -> None:
    table = Table(title=title, title_justify="left", show_header=False)
    for name, value in rows:
        table.add_row(name, value.replace("[", r"\["))
    console.print(table)
