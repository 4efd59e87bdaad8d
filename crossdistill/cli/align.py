"""``crossdistill align``: how two tokenizers cut the same text."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from crossdistill.errors import InputError


def command(
    student: Annotated[str, typer.Argument(help="Student: a folder or a hub id; only its tokenizer is read.")],
    teacher: Annotated[str, typer.Argument(help="Teacher: a folder or a hub id; only its tokenizer is read.")],
    text: Annotated[str | None, typer.Argument(help="Text to align; standard input where it is left out.")] = None,
    file: Annotated[Path | None, typer.Option(help="Read the text from a file, as bytes.")] = None,
    html: Annotated[
        Path | None, typer.Option(help="Also write the alignment as a page that can be read and linked.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the alignment as JSON, for programs.")] = False,
) -> None:
    """Show the chunks that student and teacher tokens of a text form, coloured."""
    from crossdistill.align import align
    from crossdistill.cli.tokenizers import load_vocab
    from crossdistill.report.html import write_alignment_page
    from crossdistill.report.terminal import print_sample
    from crossdistill.report.view import sample_view

    data = _read(text, file)
    student_vocab, teacher_vocab = load_vocab(student), load_vocab(teacher)
    ours, theirs = student_vocab.encode(data), teacher_vocab.encode(data)
    alignment = align(ours.ends, theirs.ends)
    view = sample_view(ours.ids, student_vocab, theirs.ids, teacher_vocab, alignment)
    if html is not None:
        write_alignment_page(html, [view])
    if as_json:
        sys.stdout.write(json.dumps(view.as_dict(), ensure_ascii=False) + "\n")
    else:
        print_sample(Console(), view)


def _read(text: str | None, file: Path | None) -> bytes:
    if text is not None and file is not None:
        raise InputError("a text and --file were both given: give one of them.")
    if file is not None:
        if not file.is_file():
            raise InputError(f"there is no file {file}: give the path of an existing file.")
        return file.read_bytes()
    return sys.stdin.buffer.read() if text is None else text.encode("utf-8", "surrogateescape")
