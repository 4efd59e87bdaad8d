"""``crossdistill align``: how two tokenizers cut the same text."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from crossdistill.cli.names import check_there
from crossdistill.cli.output import check_page, print_json, writing
from crossdistill.errors import InputError

if TYPE_CHECKING:
    from crossdistill.report.alignment.view import SampleView
    from crossdistill.runs.responses import SampledText

NUM_SHOWN = 50
MAX_BYTES = 1_000_000


def command(
    student: Annotated[
        str | None, typer.Argument(help="Student: a folder or a hub id; only its tokenizer is read.")
    ] = None,
    teacher: Annotated[
        str | None, typer.Argument(help="Teacher: a folder or a hub id; only its tokenizer is read.")
    ] = None,
    text: Annotated[str | None, typer.Argument(help="Text to align; standard input where it is left out.")] = None,
    file: Annotated[Path | None, typer.Option(help="Read the text from a file, as bytes.")] = None,
    responses: Annotated[
        Path | None, typer.Option(help="Align the rows of a .jsonl, .json, .csv or .parquet file of responses.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="Show the samples of a finished run; with STUDENT and TEACHER, aligned anew.")
    ] = None,
    column: Annotated[
        str | None, typer.Option(help="Column of --responses with texts or token ids; found by itself where usual.")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help=f"Show so many responses; all with --json, otherwise {NUM_SHOWN}, by default."),
    ] = None,
    max_bytes: Annotated[int, typer.Option(min=1, help="Cut a text after so many bytes.")] = MAX_BYTES,
    html: Annotated[
        Path | None, typer.Option(help="Also write the alignment as a page that can be read, searched and linked.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the alignment as JSON, for programs: one line a response.")
    ] = False,
) -> None:
    """Show the chunks that student and teacher tokens of a text form, coloured."""
    from crossdistill.runs.responses import first

    check_page(html)
    views = _views(student, teacher, _AlignInput(text, file, responses, run, column, max_bytes))
    shown = NUM_SHOWN if limit is None and not as_json else limit
    if as_json and html is None:  # as they come: a file may be longer than memory
        print_json(view.as_dict() for view in islice(views, shown))
        return
    taken, has_more = first(views, shown)
    _write(taken, has_more, html, as_json)


def _write(views: list["SampleView"], has_more: bool, html: Path | None, as_json: bool) -> None:
    from crossdistill.report.alignment.terminal import print_sample
    from crossdistill.report.html import write_alignment_page

    note = f"the first {len(views)} responses; --limit shows more" if has_more else ""
    if html is not None:
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
class _AlignInput:
    """What the user named to align; at most one of text, file, responses and run."""

    text: str | None
    file: Path | None
    responses: Path | None
    run: Path | None
    column: str | None
    max_bytes: int

    def check(self) -> None:
        named = {"a text": self.text, "--file": self.file, "--responses": self.responses, "--run": self.run}
        given = [name for name, value in named.items() if value is not None]
        if len(given) > 1:
            raise InputError(f"{' and '.join(given)} were both given: give one of them.")
        if self.column is not None and self.responses is None:
            raise InputError("--column names a column of a file of responses: give the file with --responses.")


def _views(student: str | None, teacher: str | None, source: _AlignInput) -> Iterator["SampleView"]:
    from crossdistill.runs.responses import read_answers, read_sampled, read_samples

    source.check()
    if source.run is not None and student is None:
        return read_samples(source.run)
    if student is None or teacher is None:
        raise InputError("name a student and a teacher: folders or hub ids whose tokenizers are read.")
    check_there(student, teacher)
    if source.run is not None:
        return _answers_aligned(student, teacher, read_sampled(source.run))
    if source.responses is not None:
        return _answers_aligned(student, teacher, read_answers(source.responses, source.column))
    return _text_aligned(student, teacher, source)


def _text_aligned(student: str, teacher: str, source: _AlignInput) -> Iterator["SampleView"]:
    from crossdistill.inspection.model_files import read_tokenizer_info
    from crossdistill.report.alignment.text_view import text_view

    data = _read(source.text, source.file)
    ours, theirs = read_tokenizer_info(student), read_tokenizer_info(teacher)
    is_cut = len(data) > source.max_bytes
    note = f"the first {source.max_bytes:,} of {len(data):,} bytes; --max-bytes takes more" if is_cut else ""
    yield text_view(data[: source.max_bytes], ours.vocab, theirs.vocab, note=note)


def _answers_aligned(student: str, teacher: str, answers: Iterator["SampledText"]) -> Iterator["SampleView"]:
    from crossdistill.inspection.model_files import read_tokenizer_info
    from crossdistill.report.alignment.text_view import ids_view, text_view

    answer = next(answers, None)  # a file that cannot be read is told before tokenizers are
    ours, theirs = read_tokenizer_info(student), read_tokenizer_info(teacher)
    while answer is not None:
        if isinstance(answer.content, str | bytes):
            yield text_view(_bytes(answer.content), ours.vocab, theirs.vocab, prompt=answer.prompt)
        else:
            yield ids_view(
                answer.content,
                ours.vocab,
                theirs.vocab,
                stop_ids=ours.stop_ids,
                name=ours.name_of,
                prompt=answer.prompt,
            )
        answer = next(answers, None)


def _bytes(content: str | bytes) -> bytes:
    return content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content


def _read(text: str | None, file: Path | None) -> bytes:
    """The text's bytes, the file's (which may be a pipe or /dev/stdin), or those of standard input."""
    if file is None:
        return sys.stdin.buffer.read() if text is None else text.encode("utf-8", "surrogateescape")
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise InputError(f"there is no file {file}: give the path of an existing file.") from None
    except OSError as error:
        raise InputError(f"the file {file} cannot be read ({error.strerror}): give one that can.") from None
