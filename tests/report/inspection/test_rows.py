"""JSON, terminal and page of an inspected pair agree."""

import io
import json
import re
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from crossdistill import ByteVocab
from crossdistill.findings import Severity
from crossdistill.inspection import Document, Inspection, ModelInfo, inspect_pair
from crossdistill.objectives import available
from crossdistill.report.inspection.page import write_inspection_page
from crossdistill.report.inspection.rows import as_dict, histogram, overlap_rows, side_rows, summary_rows
from crossdistill.report.inspection.terminal import print_inspection
from crossdistill.report.inspection.verdict import verdict
from tests.models import student_tokenizer, teacher_tokenizer
from tests.report.test_html import Page

ATTACK = "<script>alert(1)</script> [bold]loud[/bold]"
TEXTS = {
    "words": "The quick brown fox: naïve café, 12 + 30 = 42.\n\n<think>答案是 42。 Привет</think>🤗🤗",
    "attack": f"{ATTACK} e\u0301",
}


@pytest.fixture(scope="module")
def pair() -> Inspection:
    student, teacher = student_tokenizer(), teacher_tokenizer()
    padded = ByteVocab.from_tokenizer(student, size=len(student) + 6)
    documents = [Document("kind", name, text.encode()) for name, text in TEXTS.items()]
    sides = (
        ModelInfo("/models/some-student", student, padded, context=128, declared_stops=[student.eos_token_id]),
        ModelInfo("org/teacher", teacher, ByteVocab.from_tokenizer(teacher), declared_stops=0),
    )
    return inspect_pair(*sides, documents)


@pytest.fixture(scope="module")
def facts(pair: Inspection) -> dict[str, Any]:
    return json.loads(json.dumps(as_dict(pair)))


@pytest.fixture(scope="module")
def shown(pair: Inspection) -> str:
    console = Console(file=io.StringIO(), width=220)
    print_inspection(console, pair, is_full=True)
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def page(pair: Inspection, tmp_path_factory: pytest.TempPathFactory) -> Page:
    path = tmp_path_factory.mktemp("page") / "inspection.html"
    write_inspection_page(path, pair)
    return Page(path)


def test_the_sides(facts):
    student, teacher = facts["student"], facts["teacher"]
    assert (student["kind"], teacher["kind"]) == ("byte_level_bpe", "sentencepiece_bpe")
    assert student["ids"] == student["entries"] + student["control"] + student["padding"]
    assert student["padding"] == 6
    assert student["control"] == 4
    assert student["holes"] == []
    assert student["context"] == 128
    assert teacher["context"] is None
    assert student["has_template"]
    assert student["stops"] == ["<|end|>"]
    assert set(teacher["stops"]) == {"<stop>", teacher_tokenizer().convert_ids_to_tokens(0)}
    assert student["thinking"] == {"<think>": "text", "</think>": "text"}


def test_figures(pair, facts):
    assert facts["promised_coverage"] == 1.0
    assert facts["minimum_coverage"] == 0.95
    assert facts["total"]["bytes"] == sum(len(text.encode()) for text in TEXTS.values())
    assert facts["total"] == facts["categories"]["kind"]
    assert set(facts["documents"]) == {"kind/words", "kind/attack"}
    assert sum(number for *_, number in facts["total"]["chunk_sizes"]) == facts["total"]["num_chunks"]
    assert facts["overlap"]["shared"] == pair.overlap.shared > 100
    assert facts["tokens_never_one_to_one"]["tokens"] == len(pair.never_one_to_one)
    assert len(facts["largest_chunks"]) == len(pair.largest) > 0
    assert facts["largest_chunks"][0]["document"] == "kind/words"
    assert [entry["objective"] for entry in facts["objectives"]] == list(available())


def test_the_histogram_caps_large_chunks(pair):
    counts = histogram(pair.total, 2)
    assert sum(map(sum, counts)) == pair.total.num_chunks
    assert counts[0][0] == pair.total.chunks[1, 1]
    assert counts[1][0] == sum(number for (s, t), number in pair.total.chunks.items() if s > 1 and t == 1)


def test_terminal_and_page_say_it_all(pair, shown, page):
    rows = [*side_rows(pair.student), *side_rows(pair.teacher), *overlap_rows(pair.overlap), *summary_rows(pair)]
    terminal = " ".join(shown.split())
    for name, value in rows:
        for words in (name, " ".join(value.split())):
            assert words in terminal
            assert words in page.text
    for title in ("by category", "largest chunks", "objectives", "dpca"):
        assert title in terminal
        assert title in page.text.lower()
    assert "some-student" in terminal
    assert "/models" not in terminal + page.text
    assert "a teacher in this process" in terminal


@pytest.fixture(scope="module")
def a_page(pair: Inspection) -> str:
    console = Console(file=io.StringIO(), width=100)
    print_inspection(console, pair)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_the_verdict_comes_first_everywhere(pair, shown, a_page, page, facts):
    first, second = verdict(pair).lines
    assert first.startswith("usable: the teacher can supervise 100.0 % of the bytes")
    assert f"Best objective: {facts['verdict']['objectives'][0]}" in first
    assert second.startswith("mind: ")
    for text in (shown, a_page):
        assert " ".join(text.split()).startswith(f"{first} {second}")
    assert page.text.index(first) < page.text.index("The two sides")
    assert facts["verdict"]["usability"] == "usable"


def test_a_page_of_a_terminal_holds_it(a_page):
    assert a_page.count("\n") <= 40
    assert max(map(len, a_page.splitlines())) <= 100
    for words in ("ends a turn with", "by category", "large chunk", "--full"):
        assert words in a_page
    assert "objectives" not in a_page


def with_coverage(pair: Inspection, share: float, **changes: Any) -> Inspection:
    total = replace(pair.total, supervised_bytes=int(share * pair.total.bytes))
    return replace(pair, total=total, categories={"kind": total}, **changes)


def test_a_pair_of_which_little_can_be_supervised_is_not_usable(pair):
    for share, usability in ((1.0, "usable"), (0.9, "usable in part"), (0.3, "not usable")):
        found = verdict(with_coverage(pair, share))
        assert found.usability == usability
        assert found.lines[0].startswith(f"{usability}: the teacher can supervise ")
        assert ("least of kind" in found.lines[0]) == (share < 1)
        assert ("Best objective" in found.lines[0]) == (usability != "not usable")


def test_what_to_mind_names_warnings_and_sides_that_never_stop(pair):
    (warned, *_) = [finding for finding in pair.findings if finding.kind.severity is Severity.WARNING]
    endless = with_coverage(pair, 1.0, findings=[warned], student=replace(pair.student, stops=()))
    assert verdict(endless).mind[:2] == (
        f"1 warning ({warned.kind.name.replace('_', ' ')})",
        "the student has no stop token",
    )
    spelled = replace(endless.total, one_to_one_tokens=1)
    assert "1:1 in kind" in verdict(replace(endless, categories={"kind": spelled})).mind[-1]


def test_findings_are_shown(pair, shown, page):
    assert pair.findings
    for finding in pair.findings:
        assert finding.message in page.text
        assert finding.message in " ".join(shown.split())


def test_text_cannot_inject_markup(shown, page):
    assert page.tags["script"] == 0
    assert "<script" not in page.source
    assert page.values("src") == []
    assert not re.search(r"https?:|@import|url\((?!#)", page.source)
    assert "default-src 'none'" in page.values("content")[2]
    assert "\x1b" not in shown


def test_a_pair_without_any_chunk(tmp_path):
    student, teacher = student_tokenizer(), teacher_tokenizer()
    sides = [ModelInfo(name, tok, ByteVocab.from_tokenizer(tok)) for name, tok in (("s", student), ("t", teacher))]
    pair = inspect_pair(*sides, [])
    print_inspection(Console(file=io.StringIO()), pair)
    write_inspection_page(tmp_path / "page.html", pair)
    assert as_dict(pair)["promised_coverage"] == 1.0
