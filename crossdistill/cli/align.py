"""``crossdistill align``: how two tokenizers cut the same text."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich.console import Console

from crossdistill.align import DropReason
from crossdistill.errors import InputError
from crossdistill.reading import Reading
from crossdistill.tokens import ByteVocab

if TYPE_CHECKING:
    from crossdistill.report.view import SampleView


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
    from crossdistill.report.html import write_alignment_page
    from crossdistill.report.terminal import print_sample
    from crossdistill.train.loading import read_tokenizer

    data = _read(text, file)
    student_vocab, teacher_vocab = (ByteVocab.from_tokenizer(read_tokenizer(name)) for name in (student, teacher))
    view = text_view(data, student_vocab, teacher_vocab)
    if html is not None:
        write_alignment_page(html, [view])
    if as_json:
        sys.stdout.write(json.dumps(view.as_dict(), ensure_ascii=False) + "\n")
    else:
        print_sample(Console(), view)


def text_view(text: bytes, student: ByteVocab, teacher: ByteVocab) -> "SampleView":
    """A text as a response of the student would be aligned; bytes that a side cannot spell are named."""
    from crossdistill.report.display import display
    from crossdistill.report.view import DroppedToken, sample_view

    encoded = student.encode(text)
    ids = encoded.ids[student.lengths[encoded.ids] > 0]  # what the student can really write of it
    reading = Reading.of(student, ids, teacher)
    lost = np.setdiff1d(np.arange(len(ids)), reading.student_positions)
    dropped = [
        DroppedToken(
            int(np.searchsorted(reading.student_positions, k)),
            display(student.pieces[ids[k]]),
            DropReason.UNENCODABLE,
        )
        for k in lost
    ]
    num_missing = int(np.diff(encoded.holes).sum())
    note = f"left out: {num_missing} bytes that no token of the student spells" if num_missing else ""
    ours, theirs = ids[reading.student_positions], reading.encoding.ids[reading.teacher_positions]
    return sample_view(ours, student, theirs, teacher, reading.alignment, note=note, dropped=dropped)


def _read(text: str | None, file: Path | None) -> bytes:
    if text is not None and file is not None:
        raise InputError("a text and --file were both given: give one of them.")
    if file is not None:
        if not file.is_file():
            raise InputError(f"there is no file {file}: give the path of an existing file.")
        return file.read_bytes()
    return sys.stdin.buffer.read() if text is None else text.encode("utf-8", "surrogateescape")
