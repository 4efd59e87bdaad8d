import base64
import hashlib
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from crossdistill import ByteVocab
from crossdistill.report import html
from crossdistill.report.alignment.view import TokenView
from crossdistill.report.html import write_alignment_page, write_report
from tests.report.views import view_of

VOID = {"meta", "input", "br", "wbr", "hr", "img", "link"}
# the SVG's own elements that are written without an end tag
SELF_CLOSED = {"path", "rect", "line", "use"}
SAMPLED = {"sampled_bytes": 1000, "supervised_bytes": 990, "dropped": {"teacher_context": 9, "special_token": 1}}


class Page(HTMLParser):
    """Reads a page, checks that its tags nest, and keeps what the tests ask for."""

    def __init__(self, path: Path):
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.is_inside_a_word = False
        self.feed(self.source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.is_inside_a_word = tag == "wbr"
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in SELF_CLOSED
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            before = self.words.pop() if self.is_inside_a_word else ""
            self.words += (before + data).split()
            self.is_inside_a_word = False

    @property
    def text(self) -> str:
        return " ".join(self.words)

    def values(self, name: str) -> list[str]:
        return [value for _, attribute, value in self.attributes if attribute == name]


@pytest.fixture
def run() -> dict[str, Any]:
    return {
        "objective": "dpca",
        "student": "some/student",
        "teacher": "some/teacher",
        "seed": 17,
        "versions": {"torch": "2.8.0"},
        "config": {"train": {"learning_rate": 1e-06}},
        "seconds": 3725.0,
        "tokens": {"student_rollout": 1234567},
        "flops": {"student_rollout": 3420000000000000, "total": 3420000000000000},
        "coverage": SAMPLED,
        "metrics": {
            "before": {"mean": 0.25, "ci": [0.2, 0.3], "n": 400},
            "after": {"mean": 0.5, "ci": [0.45, 0.55], "n": 400},
            "teacher": {"mean": 0.75, "ci": None, "n": 1},
        },
    }


def history() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {"step": step, "loss": 1 / step, "teacher_gap": 2 / step, "completions/mean_length": 40.0 + step}
        for step in range(1, 81)
    ]
    return [*rows, {"step": 81, "loss": float("nan")}, {"step": 82, "stopped": 0.5}, {"train_runtime": 3.0}]


def test_the_report_has_what_the_run_has(
    tmp_path: Path, run: dict[str, Any], student_vocab: ByteVocab, teacher_vocab: ByteVocab
) -> None:
    view = view_of("120 is...]", student_vocab, teacher_vocab, prompt="How many?")
    write_report(tmp_path / "report.html", run, history(), [view])
    page = Page(tmp_path / "report.html")
    for expected in (
        "some/student ← some/teacher",
        "objective dpca",
        "seed 17",
        "1 h 02 min",
        "student before 0.250 0.200 to 0.300 – 400",
        "student after 0.500 0.450 to 0.550 +0.250 400",
        "teacher 0.750 – +0.500 1",
        "990 of the 1,000 bytes that the student sampled (99.0 %)",
        "teacher context 9 0.9 %",
        "student rollout 1,234,567 3.42 P",
        "total – 3.42 P",
        "How many?",
        "torch 2.8.0",
        "train.learning_rate 1e-06",
        "Gap to the teacher 2 → 0.025; lower is better",
        "Responses that ended by themselves 50.0 %; higher is better",
        "supervised 990 99.0 %",
    ):
        assert expected in page.text
    assert "control" not in page.text
    assert page.tags["figure"] == 4
    assert "Accuracy" not in page.text


def test_the_page_loads_nothing_and_runs_nothing(
    tmp_path: Path, run: dict[str, Any], student_vocab: ByteVocab, teacher_vocab: ByteVocab
) -> None:
    write_report(tmp_path / "report.html", run, history(), [view_of("120 is", student_vocab, teacher_vocab)])
    page = Page(tmp_path / "report.html")
    for forbidden in ("script", "link", "img", "iframe", "object", "base"):
        assert page.tags[forbidden] == 0
    assert page.values("src") == []
    assert all(value.startswith("#") for value in page.values("href"))
    assert not re.search(r"https?:|@import|url\((?!#)", page.source)
    assert "default-src 'none'" in page.values("content")[2]


def test_ids_are_unique_and_links_lead_somewhere(
    tmp_path: Path, run: dict[str, Any], student_vocab: ByteVocab, teacher_vocab: ByteVocab
) -> None:
    views = [view_of(text, student_vocab, teacher_vocab) for text in ("120 is", "the...]")]
    write_report(tmp_path / "report.html", run, history(), views)
    page = Page(tmp_path / "report.html")
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert {value.removeprefix("#") for value in page.values("href")} <= set(ids)
    assert {"s1-c1", "s1-c2", "s2-c1"} <= set(ids)


def test_a_response_cannot_write_the_page(
    tmp_path: Path, run: dict[str, Any], student_vocab: ByteVocab, teacher_vocab: ByteVocab
) -> None:
    attack = "<script>alert(1)</script>"
    breaking_out = '"><script>alert(2)</script>'
    view = view_of(
        attack, student_vocab, teacher_vocab, prompt=attack, note=attack, stop=(TokenView(attack), TokenView(attack))
    )
    hostile = {
        **run,
        "student": breaking_out,
        "config": {"name": breaking_out},
        "versions": {attack: attack},
        "coverage": {**SAMPLED, "dropped": {attack: 1}},
        "tokens": {attack: 1},
    }
    write_report(tmp_path / "report.html", hostile, history(), [view])
    page = Page(tmp_path / "report.html")
    assert page.tags["script"] == 0
    assert "<script" not in page.source
    assert "&lt;script&gt;" in page.source
    assert attack in page.text  # the reader sees it verbatim


def test_chunks_show_tokens_scores_and_advantages(
    tmp_path: Path, student_vocab: ByteVocab, teacher_vocab: ByteVocab
) -> None:
    view = view_of(
        "120 is",
        student_vocab,
        teacher_vocab,
        student_logprobs=[-2.0, -0.5],
        teacher_logprobs=[-0.5, -0.25, -0.125, -1.75],
        advantages=[1.125, -1.25],
    )
    write_alignment_page(tmp_path / "align.html", [view])
    page = Page(tmp_path / "align.html")
    assert "1:3 120 −2.00 +1.12 1 −0.50 2 −0.25 0 −0.12" in page.text
    assert page.values("title")[0] == (
        "chunk 1, 1:n, bytes 0–3, log p student −2.00, teacher −0.88, difference +1.12 nats"
    )
    assert "␣is −0.50 −1.25 ␣is −1.75" in page.text
    classes = page.values("class")
    assert classes.count("chunk mismatched") == classes.count("chunk one") == 1
    assert classes.count("token up3") == 1
    assert classes.count("token down3") == 1
    assert "Largest differences: ␣is −1.25 120 +1.12" in page.text


def test_half_characters(tmp_path: Path, student_vocab: ByteVocab, teacher_vocab: ByteVocab) -> None:
    write_alignment_page(tmp_path / "align.html", [view_of("€é", student_vocab, teacher_vocab)])
    page = Page(tmp_path / "align.html")
    assert r"2:1 \xe2\x82 \xac €" in page.text
    assert page.values("data-text") == ["€"]  # its tokens do not show it
    assert r"\xc3 \xc3 of é" in page.text
    assert "nats" not in page.text  # there are no scores to explain


def test_a_run_file_that_lacks_everything(tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", {}, [], [])
    page = Page(tmp_path / "report.html")
    assert page.text.startswith("crossdistill: student ← teacher student ← teacher")
    assert page.tags["section"] == 0


def test_an_empty_run(tmp_path: Path) -> None:
    coverage = {"sampled_bytes": 0, "supervised_bytes": 0, "dropped": {}}
    metrics = {"after": {"mean": 0.5, "ci": [None, None]}, "teacher": {"mean": None}, "before": None}
    write_report(tmp_path / "report.html", {"coverage": coverage, "metrics": metrics}, [{"step": 0}], [])
    text = Page(tmp_path / "report.html").text
    assert "0 of the 0 bytes" in text
    assert "Nothing was dropped" in text
    assert "student after 0.500 – – –" in text


def test_a_very_long_response_is_cut_and_says_so(
    tmp_path: Path, student_vocab: ByteVocab, teacher_vocab: ByteVocab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(html, "MAX_CHUNKS", 3)
    write_alignment_page(tmp_path / "align.html", [view_of("x" * 10, student_vocab, teacher_vocab)])
    page = Page(tmp_path / "align.html")
    assert page.values("class").count("chunk one") == 3
    assert "7 more chunks are not shown" in page.text
    assert "10 chunks" in page.text


def test_every_sample_and_chunk_of_an_alignment_has_an_anchor(
    tmp_path: Path, student_vocab: ByteVocab, teacher_vocab: ByteVocab
) -> None:
    views = [view_of(text, student_vocab, teacher_vocab) for text in ("120 is", "the...]" * 200)]
    write_alignment_page(tmp_path / "align.html", views, note="the first 2 responses")
    page = Page(tmp_path / "align.html")
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    wanted = {f"s{s}-c{c}" for s, view in enumerate(views, 1) for c in range(1, len(view.chunks) + 1)} | {"s1", "s2"}
    assert wanted <= set(ids)
    assert {value.removeprefix("#") for value in page.values("href")} <= set(ids)
    assert "the first 2 responses" in page.text
    assert "2 samples" in page.text
    assert page.values("class").count("flow long") >= 2  # a long response is laid out in blocks, as they are seen


def test_an_alignment_runs_its_search_and_nothing_else(
    tmp_path: Path, student_vocab: ByteVocab, teacher_vocab: ByteVocab
) -> None:
    attack = "<script>alert(1)</script>"
    view = view_of(attack, student_vocab, teacher_vocab, prompt=attack)
    write_alignment_page(tmp_path / "align.html", [view], note=attack)
    page = Page(tmp_path / "align.html")
    assert page.tags["script"] == 1
    for forbidden in ("link", "img", "iframe", "object", "base"):
        assert page.tags[forbidden] == 0
    assert page.values("src") == []
    assert not re.search(r"https?:|@import|url\((?!#)", page.source)
    (script,) = re.findall(r"<script>(.*?)</script>", page.source, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = page.values("content")[2]
    assert policy == f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    assert ("form", "hidden", "") in page.attributes  # there is no search where scripts do not run


def test_a_report_runs_nothing(tmp_path: Path, run: dict[str, Any]) -> None:
    write_report(tmp_path / "report.html", run, [], [])
    assert "script" not in Page(tmp_path / "report.html").source


def test_the_expected_coverage_is_shown(tmp_path: Path, run: dict[str, Any]) -> None:
    run["coverage"] = {**SAMPLED, "promised": 1.0, "minimum": 0.95, "low_coverage": "stop"}
    write_report(tmp_path / "report.html", run, [], [])
    text = Page(tmp_path / "report.html").text
    assert "Expected of this pair of tokenizers: 100.0 % (crossdistill inspect)." in text
    assert "Minimum for the run: 95.0 % (below it: stop)." in text


def test_settings_that_were_made_come_first_and_the_others_are_folded(tmp_path: Path, run: dict[str, Any]) -> None:
    run["arguments"] = {
        "given": {"dataset": "prompts.jsonl", "train.learning_rate": 1e-06},
        "defaults": {"train.stop_unit": True},
        "library_defaults": {"train.adam_beta1": 0.9, "train.hub_model_id": None},
    }
    run["device"] = {"device": "a GPU", "processes": 2}
    write_report(tmp_path / "report.html", run, [], [])
    page = Page(tmp_path / "report.html")
    assert "Settings dataset prompts.jsonl train.learning_rate 1e-06 Left at crossdistill's defaults (1)" in page.text
    assert "TRL and transformers (2) train.adam_beta1 0.9 train.hub_model_id –" in page.text
    assert "Device and versions device a GPU processes 2 torch 2.8.0" in page.text
    assert page.tags["details"] == 2
    assert ("details", "open", "") not in page.attributes


def test_evaluations_begin_before_training(tmp_path: Path, run: dict[str, Any]) -> None:
    run |= {
        "metric": "teacher gap, nats per byte",
        "accuracy": {
            "sums": [{"step": 0, "mean": 0.25, "ci": [0.2, 0.3]}, {"step": 9, "mean": 0.75, "ci": [0.7, 0.8]}]
        },
    }
    rows = [{"step": step, "eval_teacher_gap": 1 / step, "eval_teacher_gap_se": 0.01} for step in (4, 8)]
    write_report(tmp_path / "report.html", run, rows, [])
    text = Page(tmp_path / "report.html").text
    assert "Results: teacher gap, nats per byte (lower is better)" in text
    assert "Evaluation Gap to the teacher on held-out prompts 0.25 → 0.125; lower is better" in text
    assert "Accuracy on sums 25.0 % → 75.0 %; higher is better" in text


def test_the_bar_of_coverage_is_filled_by_what_became_of_the_bytes(tmp_path: Path, run: dict[str, Any]) -> None:
    write_report(tmp_path / "report.html", run, [], [])
    source = (tmp_path / "report.html").read_text()
    parts = re.findall(r'<rect class="(\w+)" x="([\d.]+)" width="([\d.]+)" height="3"/>', source)
    assert parts == [("part", "0.0", "99.0"), ("lost1", "99.0", "0.9"), ("lost2", "99.9", "0.1")]


def test_warnings_come_first_and_are_text(tmp_path: Path, run: dict[str, Any]) -> None:
    write_report(tmp_path / "report.html", run | {"warnings": []}, [], [])
    assert "Warnings" not in Page(tmp_path / "report.html").text
    run["warnings"] = [{"step": 40, "kind": "entropy", "message": "the student's <b>entropy</b> collapses"}]
    write_report(tmp_path / "report.html", run, [], [])
    text = Page(tmp_path / "report.html").text
    assert "Warnings Step 40 : the student's <b>entropy</b> collapses" in text
    assert text.index("Warnings") < text.index("Results")


def test_a_failed_report_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    with pytest.raises(AttributeError):
        write_report(path, {"coverage": "not a mapping"}, [], [])
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]
