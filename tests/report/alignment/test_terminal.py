import io
from itertools import pairwise

import pytest
from rich.cells import cell_len
from rich.console import Console

from crossdistill import ByteVocab
from crossdistill.align import DropReason
from crossdistill.report.alignment.terminal import print_sample, print_warnings, summary
from crossdistill.report.alignment.view import DroppedToken, SampleView, TokenView
from tests.report.views import view_of


def printed(view: SampleView, width: int = 100, **options: int) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    print_sample(console, view, **options)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_student_is_printed_above_teacher(student_vocab: ByteVocab, teacher_vocab: ByteVocab) -> None:
    lines = printed(view_of("120 is...]", student_vocab, teacher_vocab, prompt="Why?", note="a note")).splitlines()
    assert lines[:4] == ["Why?", "a note", "student  120   ␣is ...|]", "teacher  1|2|0 ␣is ...]"]
    assert lines[-1] == "3 chunks · 25.0 % of student tokens 1:1 · largest chunk 1:3 (120)"


def test_table_of_mismatched_chunks(student_vocab: ByteVocab, teacher_vocab: ByteVocab) -> None:
    view = view_of(
        " is...]",
        student_vocab,
        teacher_vocab,
        student_logprobs=[-1.0, -0.5, -0.25],
        teacher_logprobs=[-1.0, -0.5],
        advantages=[0.0, 0.17, 0.08],
    )
    (row,) = [line for line in printed(view).splitlines() if "n:1" in line]
    assert row.split() == ["2", "3–7", "n:1", "...]", "...|]", "...]", "−0.75", "−0.50", "+0.17", "+0.08"]


def test_there_is_no_table_if_everything_is_one_to_one(student_vocab: ByteVocab, teacher_vocab: ByteVocab) -> None:
    text = printed(view_of(" is the", student_vocab, teacher_vocab))
    assert "mismatched" not in text
    assert text.endswith("2 chunks · 100.0 % of student tokens 1:1 · largest chunk 1:1 (␣is)\n")


def test_the_table_says_what_it_leaves_out(student_vocab: ByteVocab, teacher_vocab: ByteVocab) -> None:
    text = printed(view_of("120 " * 5, student_vocab, teacher_vocab), max_rows=2)
    assert "and 3 more mismatched chunks" in text
    assert text.count("1:n") == 2


@pytest.mark.parametrize("width", [30, 60])
def test_lines_keep_to_the_width(student_vocab: ByteVocab, teacher_vocab: ByteVocab, width: int) -> None:
    lines = printed(view_of("the 東京 is 120 " * 6, student_vocab, teacher_vocab), width).splitlines()
    assert max(map(cell_len, lines)) <= width
    pairs = pairwise(lines)
    assert all(below.startswith("teacher") for line, below in pairs if line.startswith("student  "))


def test_markup_in_a_response_is_text(student_vocab: ByteVocab, teacher_vocab: ByteVocab) -> None:
    text = printed(view_of("x", student_vocab, teacher_vocab, prompt="[red]not markup[/red] [/nothing]"))
    assert "[red]not markup[/red] [/nothing]" in text


def test_mismatched_chunks_alternate_in_colour(student_vocab: ByteVocab, teacher_vocab: ByteVocab) -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=True, color_system="standard")
    print_sample(console, view_of("120120 is", student_vocab, teacher_vocab))
    line = console.file.getvalue().splitlines()[0]  # type: ignore[attr-defined]
    cyan, magenta, dim = "\x1b[1;36m120", "\x1b[1;35m120", "\x1b[2;39m␣is"
    assert cyan in line
    assert line.index(cyan) < line.index(magenta) < line.index(dim)


def test_summary_counts_dropped_tokens(student_vocab: ByteVocab, teacher_vocab: ByteVocab) -> None:
    view = view_of(
        "x",
        student_vocab,
        teacher_vocab,
        stop=(TokenView("<|end|>"), TokenView("</s>")),
        dropped=[DroppedToken(0, "<t>", DropReason.SPECIAL_TOKEN)],
    )
    assert summary(view) == "1 chunk · 100.0 % of student tokens 1:1 · largest chunk 1:1 (x) · 1 token dropped"
    assert summary(SampleView("", ())) == "0 chunks · 100.0 % of student tokens 1:1"


def test_warnings_are_lines_of_text() -> None:
    console = Console(file=io.StringIO(), width=40, color_system=None)
    print_warnings(console, [{"step": 7, "kind": "length", "message": "longer [bold]and longer[/bold] than the line"}])
    print_warnings(console, [])
    assert console.file.getvalue() == "warning at step 7: longer [bold]and longer[/bold] than the line\n"  # type: ignore[attr-defined]
