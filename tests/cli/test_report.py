"""``crossdistill report``."""

import json
from pathlib import Path

import pytest

from tests.cli.harness import run
from tests.report.cost.folders import evaluation, opd_run, sft_run


@pytest.fixture
def folders(tmp_path: Path) -> list[str]:
    """Two sizes of SFT, and a distillation that is ahead of both."""
    found = []
    for name, data_points, right in (("sft-1", 100, 20), ("sft-2", 1_000, 40), ("opd <b> $x$", 50, 60)):
        make = opd_run if name.startswith("opd") else sft_run
        (tmp_path / name / "model").mkdir(parents=True)
        results = {str(number): [number < right] for number in range(100)}
        found.append(make(tmp_path / name, data_points=data_points))
        found.append(evaluation(tmp_path / f"eval-{right}", str(tmp_path / name / "model"), results))
    return list(map(str, found))


def test_tables_and_what_sft_would_take(folders: list[str]) -> None:
    result = run("report", *folders)
    assert result.code == 0
    assert result.err == ""
    for words in ("What the runs cost", "teacher rollout", "SFT, extrapolated", "+10,000 (", "bootstrap over problems"):
        assert words in result.out
    assert "To reach 60.0 % on gsm8k, SFT would take 10,000 (" in result.out


def test_json_is_all_that_programs_get(folders: list[str]) -> None:
    result = run("report", *folders, "--json")
    found = json.loads(result.out)
    assert found["task"] == "gsm8k"
    assert [one["method"] for one in found["runs"]] == ["SFT", "SFT", "OPD"]
    (comparison,) = found["comparisons"]
    assert comparison["needed"]["value"] == pytest.approx(10_000)
    assert comparison["efficiency"]["ci"][0] < comparison["efficiency"]["value"]


def test_an_interval_without_an_upper_end_is_unbounded(tmp_path: Path) -> None:
    folders = []
    for name, data_points, problems in (("sft-1", 100, "abc"), ("sft-2", 1_000, "bcd"), ("opd", 50, "abcd")):
        (tmp_path / name / "model").mkdir(parents=True)
        results = {problem: [problem in problems or (name == "sft-2" and problem == "e")] for problem in "abcdef"}
        make = opd_run if name == "opd" else sft_run
        folders.append(str(make(tmp_path / name, data_points=data_points)))
        folders.append(str(evaluation(tmp_path / f"eval-{name}", str(tmp_path / name / "model"), results)))
    result = run("report", *folders)
    assert "to unbounded)" in result.out
    assert json.loads(run("report", *folders, "--json").out)["comparisons"][0]["needed"]["ci"][1] is None


def test_quiet_writes_files_alone(folders: list[str], tmp_path: Path) -> None:
    page, tables = tmp_path / "page.html", tmp_path / "tables.md"
    result = run("report", *folders, "--html", str(page), "--markdown", str(tables), "--quiet")
    assert (result.code, result.out, result.err) == (0, "", "")
    html = page.read_text()
    assert "<svg" in html
    assert "mathdefault" not in html  # labels of ticks, which are no formulas here
    assert "opd &lt;b&gt; $x$ against SFT" in html
    assert "<b> $x$" not in html
    for outside in ("http://", "https://", "<script", "src="):
        assert outside not in html.replace("http://www.w3.org/", "")
    assert "**What the runs cost**\n\n| run | method |" in tables.read_text()


def test_bad_input(folders: list[str], tmp_path: Path) -> None:
    assert "has neither run.json nor eval.json" in run("report", str(tmp_path)).message
    assert "no run was measured on 'aime24', only on gsm8k" in run("report", *folders, "--task", "aime24").message
    assert "cannot be written" in run("report", *folders, "--markdown", str(tmp_path)).message
