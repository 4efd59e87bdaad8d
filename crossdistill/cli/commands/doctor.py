"""``crossdistill doctor``: check this installation, and if asked, a pair of models, a teacher's server or a launch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from crossdistill.cli.names import StudentTemplateKwargs, TeacherTemplateKwargs
from crossdistill.cli.waiting import waiting

_NUM_NAMES = 2
"""Columns of a way's names, before its figures."""
_MOST_SPACED = 6
"""Columns above which a table needs the space between them, to fit into 80."""


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
    compare_with: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL", help="With --teacher: a folder or a hub id, whose scores the server's should be."
        ),
    ] = None,
    overrides: Annotated[
        list[str],
        typer.Option(
            "--set",
            "-s",
            metavar="KEY=VALUE",
            help="Set a field of the server's settings, such as max_in_flight=64; with --run, a key of the run file.",
        ),
    ] = [],  # noqa: B006 typer only reads the default
    run: Annotated[
        Path | None,
        typer.Option("--run", metavar="FILE.toml", help="Run file, to tell what will run and what memory it takes."),
    ] = None,
    launch: Annotated[
        Path | None,
        typer.Option(
            "--launch",
            metavar="FILE.yaml",
            help="Its accelerate configuration; by default as `accelerate launch` has started this process.",
        ),
    ] = None,
    prompt_tokens: Annotated[
        int, typer.Option(min=0, help="With --run or --memory: tokens of the longest prompt.")
    ] = 512,
    memory: Annotated[
        float | None,
        typer.Option(
            min=1, metavar="GIB", help="Memory of a GPU, to tell how STUDENT and TEACHER can be trained in it."
        ),
    ] = None,
    gpus: Annotated[int, typer.Option(min=1, help="With --memory: number of GPUs.")] = 1,
    response_tokens: Annotated[int, typer.Option(min=1, help="With --memory: tokens of the longest response.")] = 1024,
    responses: Annotated[int, typer.Option(min=1, help="With --memory: responses that each GPU samples at once.")] = 8,
) -> None:
    """Report what is installed, which back-ends work here, and what a pair of models will do (like inspect).

    With --teacher, probe a teacher's server as a run would, score some texts twice, and measure for some seconds how
    fast it scores. The exit code is 1 if it cannot teach.

    With --run, tell what the launch will run, and estimate the memory of a GPU from the models' configurations alone.

    With STUDENT, TEACHER and --memory, tell which engine fits: all weights and LoRA, the teacher here or served.
    """
    from crossdistill.cli import installation
    from crossdistill.errors import InputError
    from crossdistill.versions import conflicts

    console = Console()
    if memory is not None:
        if student is None or teacher is None or server is not None or run is not None:
            raise InputError("--memory is a question about a pair: give a student and a teacher, and nothing else.")
        _print_fitting(console, (student, teacher), (gpus, memory), (prompt_tokens, response_tokens, responses))
        return
    if (student is None) != (teacher is None):
        raise InputError("give a student and a teacher, or neither.")
    if student is None and (student_template_kwargs is not None or teacher_template_kwargs is not None):
        raise InputError("keyword arguments of templates are about a pair: give a student and a teacher.")
    if run is not None and (server is not None or student is not None):
        raise InputError("--run is a question of its own: ask about a pair or a teacher's server in another call.")
    if run is None and launch is not None:
        raise InputError("a launch is told together with what it runs: give the run file with --run.")
    asked = _Server(server, teacher_tokenizer, teacher_model, compare_with, [] if run else overrides)
    asked.check()
    if run is not None:
        _print_run(console, run, launch, overrides, prompt_tokens)
        return
    _print(console, "installed", installation.packages())
    _print(console, "versions that do not go together", [("", str(one)) for one in conflicts()])
    _print(console, "extras", installation.extras())
    _print(console, "back-ends here", installation.backends())
    if student is not None and teacher is not None:
        from crossdistill.cli.commands.inspect import inspected
        from crossdistill.report.inspection.terminal import print_inspection

        pair = inspected(student, teacher, student_template_kwargs, teacher_template_kwargs)
        print_inspection(console, pair, is_full=True)
    if server is not None and teacher_tokenizer is not None:
        _print_server(console, server, teacher_tokenizer, asked)


def _print_run(console: Console, file: Path, launch: Path | None, overrides: list[str], prompt_tokens: int) -> None:
    from crossdistill.extras import require

    require("train", user="telling what a run will be")
    from crossdistill.inspection.memory import Phase, peaks
    from crossdistill.runs.config import RunConfig, read_config
    from crossdistill.runs.forecast import forecast
    from crossdistill.train.launch import Launch
    from crossdistill.versions import conflicts

    config = read_config(RunConfig, file, overrides, {})
    started = Launch.of(config.trainer_arguments(), launch)
    if not started.is_first:
        return
    found = forecast(config, started, prompt_tokens)
    _print(console, "what will run", [("", sentence) for sentence in found.sentences])
    _print(console, "versions that do not go together", [("", str(one)) for one in conflicts()])
    parts = sorted(found.parts, key=lambda part: list(Phase).index(part.phase))
    rows = [(part.phase.value, part.name, _mib(part.num_bytes)) for part in parts]
    _print(console, "memory of a GPU, estimated, in MiB", rows)
    _print(console, "peaks", [(phase.value, _mib(size)) for phase, size in peaks(parts).items()])


def _print_fitting(
    console: Console, pair: tuple[str, str], devices: tuple[int, float], work: tuple[int, int, int]
) -> None:
    from crossdistill.extras import require

    require("train", user="telling what fits")
    from crossdistill.cli.names import check_folders
    from crossdistill.runs.fitting_tables import length_table, memory_table, split

    check_folders(*pair)
    with waiting("computing what fits"):
        from crossdistill.runs.fitting import Devices, Pair, Work, weights_of
        from crossdistill.runs.quiet import quiet_libraries

        quiet_libraries()
        where, step, models = Devices(*devices), Work(*work), Pair(*pair)
        found = list(models.ways(where, step))
    told = [(name, weights) for name in pair if (weights := weights_of(name))]
    _print(console, "weights", told)
    title = (
        f"GiB on each of {where.count} with {where.gib:g} GiB, {step.responses} responses of {step.response_tokens:,}"
    )
    all_peaks, parts = split(memory_table(found, where))
    _print_rows(console, f"{title} tokens; a peak in brackets does not fit", all_peaks)
    _print_rows(console, "what the first peak is made of, in GiB", parts)
    _print_rows(console, "longest response that fits, in tokens, by powers of two", length_table(found))
    if short := models.shortfall(step):
        console.print(Text(short, style="yellow"))


def _mib(num_bytes: float) -> str:
    return f"{num_bytes / 2**20:,.0f}"


@dataclass(frozen=True)
class _Server:
    """The options about a teacher's server."""

    url: str | None
    tokenizer: str | None
    model: str | None
    local_model: str | None
    overrides: list[str]

    def check(self) -> None:
        """Check them against each other, and that the server is there, before anything else is loaded.

        Raises:
            InputError: one is missing or wrong, or nothing listens at the URL.
        """
        from crossdistill.cli.names import check_folders
        from crossdistill.errors import InputError
        from crossdistill.extras import require

        if self.url is None:
            if any((self.tokenizer, self.model, self.local_model, self.overrides)):
                raise InputError(
                    "--teacher-tokenizer, --teacher-model, --compare-with and --set are about a server: give its URL "
                    "with --teacher."
                )
            return
        require("served", user="a teacher behind a server")
        if self.local_model is not None:
            require("train", user="comparing a server with a local model")
        check_folders(*(name for name in (self.tokenizer, self.local_model) if name is not None))
        from crossdistill.cli.server_check import listed, settings

        options = settings(self.model, self.overrides)
        try:
            names = listed(self.url, options)
        except InputError as error:
            raise _cannot_teach(error) from None
        if self.tokenizer is None:
            served = f"; it serves {names}" if names else ""
            raise InputError(
                f"a server is checked against its model's tokenizer: give it with --teacher-tokenizer{served}."
            )


def _print_server(console: Console, url: str, tokenizer: str, asked: _Server) -> None:
    from crossdistill.cli.server_check import examine, local_teacher, settings
    from crossdistill.errors import InputError, TeacherError
    from crossdistill.inspection.model_files import declared_stops, read_tokenizer

    options = settings(asked.model, asked.overrides)
    with waiting("reading the tokenizer"):
        loaded, stops = read_tokenizer(tokenizer), declared_stops(tokenizer)
        model = None if asked.local_model is None else local_teacher(asked.local_model, loaded)
    try:
        with waiting("asking the server"):
            findings = examine(url, loaded, stops, options, model)
    except (InputError, TeacherError) as error:
        raise _cannot_teach(error) from None
    _print(console, "teacher", [(name, value) for name, _, value in (line.partition(": ") for line in findings)])


def _cannot_teach(error: Exception) -> typer.Exit:
    """Say why, and how the command ends."""
    Console(stderr=True).print(Text(f"this server cannot teach: {error}"), soft_wrap=True)
    return typer.Exit(1)


def _print_rows(console: Console, title: str, rows: list[list[str]]) -> None:
    """A table whose first row has the titles of its columns."""
    head, *body = rows
    space = 0 if len(head) > _MOST_SPACED else 1
    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.padding = (0, space, 0, 0)
    for i, name in enumerate(head):
        is_name = i < _NUM_NAMES
        table.add_column(name, justify="left" if is_name else "right", no_wrap=is_name)
    for row in body:
        table.add_row(*map(Text, row))
    console.print(table, "", sep="\n")


def _print(console: Console, title: str, rows: Sequence[tuple[str, ...]]) -> None:
    if not rows:
        return
    table = Table(title=title, title_justify="left", show_header=False)
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)
