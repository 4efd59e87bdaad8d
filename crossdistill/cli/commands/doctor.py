"""``crossdistill doctor``: check this installation, and if asked, a pair of models or a teacher's server."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from crossdistill.cli.names import StudentTemplateKwargs, TeacherTemplateKwargs


def command(
    student: Annotated[str | None, typer.Argument(help="Student: a folder or a hub id.")] = None,
    teacher: Annotated[str | None, typer.Argument(help="Teacher: a folder or a hub id.")] = None,
    student_template_kwargs: StudentTemplateKwargs = None,
    teacher_template_kwargs: TeacherTemplateKwargs = None,
    server: Annotated[
        str | None,
        typer.Option("--teacher", metavar="URL", help="URL of a teacher's server, to probe what it can do."),
    ] = None,
    teacher_tokenizer: Annotated[
        str | None, typer.Option(help="Tokenizer of the teacher behind the server: a folder or a hub id.")
    ] = None,
    teacher_model: Annotated[
        str | None, typer.Option(help="Its name on the server; needed only if the server has several models.")
    ] = None,
    overrides: Annotated[
        list[str],
        typer.Option(
            "--set", "-s", metavar="KEY=VALUE", help="Set a field of the server's settings, such as max_in_flight=64."
        ),
    ] = [],  # noqa: B006 typer only reads the default
) -> None:
    """Report what is installed, which back-ends work here, and what a pair of models will do (like inspect).

    With --teacher, probe a teacher's server as a run would, and measure for some seconds how fast it scores. The exit
    code is 1 if it cannot teach.
    """
    from crossdistill.cli import installation
    from crossdistill.errors import InputError

    console = Console()
    if (student is None) != (teacher is None):
        raise InputError("give a student and a teacher, or neither.")
    if student is None and (student_template_kwargs is not None or teacher_template_kwargs is not None):
        raise InputError("keyword arguments of templates are about a pair: give a student and a teacher.")
    _check_server(server, teacher_tokenizer, teacher_model, overrides)
    _print(console, "installed", installation.packages())
    _print(console, "extras", installation.extras())
    _print(console, "back-ends here", installation.backends())
    if student is not None and teacher is not None:
        from crossdistill.cli.commands.inspect import inspected
        from crossdistill.report.inspection.terminal import print_inspection

        print_inspection(console, inspected(student, teacher, student_template_kwargs, teacher_template_kwargs))
    if server is not None and teacher_tokenizer is not None:
        _print_server(console, server, teacher_tokenizer, teacher_model, overrides)


def _check_server(server: str | None, tokenizer: str | None, model: str | None, overrides: list[str]) -> None:
    from crossdistill.cli.names import check_folders
    from crossdistill.errors import InputError
    from crossdistill.extras import require

    if server is None and (tokenizer is not None or model is not None or overrides):
        raise InputError(
            "--teacher-tokenizer, --teacher-model and --set are about a server: give its URL with --teacher."
        )
    if server is not None and tokenizer is None:
        raise InputError("a server is checked against its model's tokenizer: give it with --teacher-tokenizer.")
    if tokenizer is not None:
        check_folders(tokenizer)
    if server is not None:
        require("served", user="a teacher behind a server")


def _print_server(console: Console, url: str, tokenizer: str, model: str | None, overrides: list[str]) -> None:
    from crossdistill.cli.server_check import examine, settings
    from crossdistill.errors import InputError, TeacherError
    from crossdistill.inspection.model_files import declared_stops, read_tokenizer

    options = settings(model, overrides)
    loaded, stops = read_tokenizer(tokenizer), declared_stops(tokenizer)
    try:
        findings = examine(url, loaded, stops, options)
    except (InputError, TeacherError) as error:
        Console(stderr=True).print(Text(f"this server cannot teach: {error}"), soft_wrap=True)
        raise typer.Exit(1) from None
    _print(console, "teacher", [(name, value) for name, _, value in (line.partition(": ") for line in findings)])


def _print(console: Console, title: str, rows: list[tuple[str, str]]) -> None:
    table = Table(title=title, title_justify="left", show_header=False)
    for name, value in rows:
        table.add_row(name, Text(value))
    console.print(table)
