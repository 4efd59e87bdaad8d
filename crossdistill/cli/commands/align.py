"""``crossdistill align``: how two tokenizers split the same text."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from crossdistill.cli.names import check_folders
from crossdistill.cli.output import check_page, print_json, writing
from crossdistill.cli.waiting import waiting
from crossdistill.errors import InputError

if TYPE_CHECKING:
    from crossdistill.report.alignment.view import SampleView
    from crossdistill.runs.responses import RecordedResponse

NUM_SHOWN = 50
MAX_BYTES = 1_000_000


def command(
    student: Annotated[
        str | None, typer.Argument(help="Student: a folder or a hub id; only its tokenizer is read.")
    ] = None,
    teacher: Annotated[
        str | None, typer.Argument(help="Teacher: a folder or a hub id; only its tokenizer is read.")
    ] = None,
    text: Annotated[str | None, typer.Argument(help="Text to align; standard input by default.")] = None,
    file: Annotated[Path | None, typer.Option(help="Read the text from a file, as bytes.")] = None,
    responses: Annotated[
        Path | None, typer.Option(help="Align the rows of a .jsonl, .json, .csv or .parquet file of responses.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="Show the samples of a finished run; with STUDENT and TEACHER, aligned anew.")
    ] = None,
    column: Annotated[
        str | None,
        typer.Option(help="Column of --responses, texts or token ids; by default, one with a usual name."),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help=f"Show at most this many responses; by default all with --json, else {NUM_SHOWN}."),
    ] = None,
    max_bytes: Annotated[int, typer.Option(min=1, help="Cut a text after this many bytes.")] = MAX_BYTES,
    html: Annotated[
        Path | None, typer.Option(help="Also write the alignment as a page that can be read, searched and linked.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the alignment as JSON, for programs: one line per response.")
    ] = False,
) -> None:
    """Show the chunks that the tokens of student and teacher form, in colour."""
    check_page(html)
    source = _Source(text, file, responses, run, column, max_bytes)
    num_shown = NUM_SHOWN if limit is None and not as_json else limit
    if as_json and html is None:  # row by row, because a file may be larger than memory
        print_json(view.as_dict() for view in islice(_views(student, teacher, source), num_shown))
        return
    with waiting("aligning", is_quiet=source.is_typed):
        from crossdistill.runs.responses import take

        shown, has_more = take(_views(student, teacher, source), num_shown)
    _write(shown, has_more, html, as_json)


def _write(views: list["SampleView"], has_more: bool, html: Path | None, as_json: bool) -> None:
    from crossdistill.report.alignment.terminal import print_sample

    note = f"the first {len(views)} responses; --limit shows more" if has_more else ""
    if html is not None:
        from crossdistill.report.html import write_alignment_page

        with writing(html):
            write_alignment_page(html, views, note)
    if as_json:
        print_json(view.as_dict() for view in views)
        return
    console = Console()
    for number, view in enumerate(views, 1):
        if len(views) > 1:
            console.rule(Text(f"sample {number}"), align="left")
        print_sample(console, view)
    if note:
        console.print(Text(note, style="dim"))


@dataclass(frozen=True)
class _Source:
    """The arguments and options that name what to align: at most one of text, file, responses and run."""

    text: str | None
    file: Path | None
    responses: Path | None
    run: Path | None
    column: str | None
    max_bytes: int

    @property
    def is_typed(self) -> bool:
        """Whether a person types the text, in which a status would get."""
        given = (self.text, self.file, self.responses, self.run)
        return all(one is None for one in given) and sys.stdin.isatty()

    def check(self) -> None:
        options = {"a text": self.text, "--file": self.file, "--responses": self.responses, "--run": self.run}
        given = [name for name, value in options.items() if value is not None]
        if len(given) > 1:
            raise InputError(f"{' and '.join(given)} were both given: give one of them.")
        if self.column is not None and self.responses is None:
            raise InputError("--column names a column of a file of responses: give the file with --responses.")


def _views(student: str | None, teacher: str | None, source: _Source) -> Iterator["SampleView"]:
    from crossdistill.runs.responses import read_responses, read_sample_responses, read_sample_views

    source.check()
    if source.run is not None and student is None:
        return read_sample_views(source.run)
    if student is None or teacher is None:
        raise InputError("name a student and a teacher: folders or hub ids whose tokenizers are read.")
    check_folders(student, teacher)
    if source.run is not None:
        return _views_of_responses(student, teacher, read_sample_responses(source.run))
    if source.responses is not None:
        return _views_of_responses(student, teacher, read_responses(source.responses, source.column))
    return _views_of_text(student, teacher, source)


def _views_of_text(student: str, teacher: str, source: _Source) -> Iterator["SampleView"]:
    from crossdistill.inspection.model_files import read_tokenizer_info
    from crossdistill.report.alignment.text_view import text_view

    data = _read(source.text, source.file)
    ours, theirs = read_tokenizer_info(student), read_tokenizer_info(teacher)
    is_cut = len(data) > source.max_bytes
    note = f"the first {source.max_bytes:,} of {len(data):,} bytes; --max-bytes takes more" if is_cut else ""
    yield text_view(data[: source.max_bytes], ours.vocab, theirs.vocab, note=note)


def _views_of_responses(student: str, teacher: str, responses: Iterator["RecordedResponse"]) -> Iterator["SampleView"]:
    from crossdistill.inspection.model_files import read_tokenizer_info
    from crossdistill.report.alignment.text_view import ids_view, text_view

    response = next(responses, None)  # report a file that cannot be read before tokenizers are read
    ours, theirs = read_tokenizer_info(student), read_tokenizer_info(teacher)
    while response is not None:
        if isinstance(response.content, str | bytes):
            yield text_view(_bytes(response.content), ours.vocab, theirs.vocab, prompt=response.prompt)
        else:
            yield ids_view(
                response.content,
                ours.vocab,
                theirs.vocab,
                stop_ids=ours.stop_ids,
                name=ours.name_of,
                prompt=response.prompt,
            )
        response = next(responses, None)


def _bytes(content: str | bytes) -> bytes:
    return content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content


def _read(text: str | None, file: Path | None) -> bytes:
    """The bytes of the text, of the file (which may be a pipe or /dev/stdin), or of standard input."""
    if file is None:
        return sys.stdin.buffer.read() if text is None else text.encode("utf-8", "surrogateescape")
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise InputError(f"there is no file {file}: give the path of an existing file.") from None
    except OSError as error:
        raise InputError(f"the file {file} cannot be read ({error.strerror}): give one that can.") from None
