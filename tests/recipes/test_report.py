"""The tables and the figure from folders with known figures."""

import json
from pathlib import Path
from typing import Any

import pytest

from crossdistill.demo.run import asset
from crossdistill.flops import ModelFlops
from crossdistill.runs.forecast import without_weights
from recipes.paper.compute import Compute
from recipes.paper.published import published
from recipes.paper.report import write_report
from recipes.paper.settings import Settings, read_settings
from tests.recipes.folders import cell, evaluated, right
from tests.report.cost.folders import LENGTH, STUDENT, opd_run, sft_run

BENCHMARKS = published().benchmarks


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    path = tmp_path / "mine.toml"
    path.write_text(
        f'output = "{tmp_path / "out"}"\n[pairs.llama]\nteacher = "{asset("teacher")}"\nbase = "{tmp_path / "base"}"\n'
    )
    return read_settings([path])


def fill(settings: Settings, name: str, count: int) -> None:
    """An evaluation in which so many of 100 problems of each task are solved."""
    found = cell(settings, name)
    evaluated(found.evaluation, found.model, {task: right(count, 100) for task in BENCHMARKS})


def papers_runs(settings: Settings, served: bool = False) -> None:
    """SFT on 400K and distillation on 20K in thousandths, with the paper's accuracies on AIME24."""
    sft, opd = cell(settings, "llama/sft"), cell(settings, "llama/opd-0")
    given = {"sft_step": 400 * LENGTH}, {"sft_step": STUDENT.step([LENGTH] * 400)}
    counts = {"tokens": given[0], "flops": given[1]}
    sft_run(sft.run, 400, student=cell(settings, "llama/sft").start, **counts)
    opd_run(opd.run, 20, student=sft.model)
    if served:
        run = json.loads((opd.run / "run.json").read_text())
        del run["flops"]["teacher_prefill"]
        (opd.run / "run.json").write_text(json.dumps(run))
    for one, seen, half, end in ((sft, 200, 333, 385), (opd, 10, 405, 444)):
        checkpoint = one.run / "checkpoints" / "checkpoint-1"
        for folder in (one.run / "model", checkpoint):
            folder.mkdir(parents=True)
        (checkpoint / "usage.json").write_text(json.dumps({"data_points": seen}))
        others = {task: right(5, 10) for task in BENCHMARKS if task != "aime24"}
        evaluated(one.evaluation, str(one.run / "model"), {"aime24": right(end, 1_000), **others})
        evaluated(one.of_checkpoint, str(checkpoint), {"aime24": right(half, 1_000)})


def rows(folder: Path) -> list[list[str]]:
    lines = (folder / "tables.md").read_text().splitlines()
    return [[text.strip() for text in line.strip("|").split("|")] for line in lines if line.startswith("|")]


def test_nothing_was_run(settings, tmp_path):
    """Each row of ours has the command that fills it, and the paper's are there."""
    paths = write_report(settings, tmp_path)
    assert [path.name for path in paths] == ["tables.md", "tables.json", "figure2.svg"]
    found = rows(tmp_path)
    for pair in ("llama", "r1"):
        for method in ("sft", "alm", "cdm", "opd"):
            assert any(row[-1] == f"not run: `python -m recipes.paper run {pair}/{method}`" for row in found)
    assert ["+ SFT + OPD", "paper", "44.4", "43.3", "41.7", "82.6", "7.6", "24.8", "40.7"] in found
    assert ["Avg.", "paper", "52.6", "58.1", "+5.5", "35.1", "40.7", "+5.6"] in found
    assert any("run llama/sft llama/opd`" in cell for row in found for cell in row)
    assert any("run qwen/opd`; not run: `python -m recipes.paper run llama/opd`" in row[0] for row in found)
    assert not any("seqkd" in line or "credit" in line for line in (tmp_path / "tables.md").read_text().splitlines())
    assert json.loads((tmp_path / "tables.json").read_text())["scores"] == {}
    figure = (tmp_path / "figure2.svg").read_text()
    assert "paper: OPD" in figure
    assert "here:" not in figure


def test_known_scores_stand_in_their_cells(settings, tmp_path):
    fill(settings, "llama/sft", 35)
    fill(settings, "llama/opd-0", 40)
    fill(settings, "llama/seqkd-0", 38)
    write_report(settings, tmp_path)
    found = rows(tmp_path)
    [opd] = [row for row in found if row[:2] == ["+ SFT + OPD", "here"] and "not run" not in row[-1]]
    assert len(opd) == 9
    assert opd[2] == "40.0 (30.9 to 49.8)"  # Wilson, 40 of 100
    assert opd[-1].startswith("40.0 (36.")  # of six tasks: 4 points each way
    assert [row for row in found if row[:2] == ["+ SFT + SeqKD", "here"]]  # ours, because it was run
    [average] = [row for row in found if row[:2] == ["Avg.", "here"]]
    assert average[2:5] == ["–", "–", "–"]
    assert average[5].startswith("35.0 (")
    assert average[7].startswith("+5.0 (+3.")
    saved = json.loads((tmp_path / "tables.json").read_text())["scores"]["llama/opd"]
    assert saved["average"]["mean"] == pytest.approx(0.4)
    assert saved["gain"]["average"]["mean"] == pytest.approx(0.05)


def test_compute_gives_the_papers_figures_for_its_accuracies(settings, tmp_path):
    """38.5 % with 400 and 44.4 % with 20 more: +482 of SFT, 4.1 % of the data (33.3 % at 200 is read off those)."""
    papers_runs(settings)
    write_report(settings, tmp_path)
    found = [row for row in rows(tmp_path) if row[0].startswith("SFT, extrapolated")]
    assert [row[0] for row in found] == ["SFT, extrapolated; responses written", "SFT, extrapolated; responses given"]
    saved: dict[str, Any] = json.loads((tmp_path / "tables.json").read_text())["compute"]
    for report in saved.values():
        [comparison] = report["comparisons"]
        assert comparison["start_points"] == 400
        assert comparison["additional"]["value"] == pytest.approx(482, rel=0.02)
        assert comparison["data_share"]["value"] == pytest.approx(0.0415, rel=0.02)
    figure = (tmp_path / "figure2.svg").read_text()
    assert "here: OPD" in figure
    assert "here: SFT" in figure
    assert "mathdefault" not in figure  # the labels of the ticks are plain numbers


def test_given_responses_count_as_written_by_the_teacher(settings):
    papers_runs(settings)
    compute = Compute.read(settings)
    teacher = ModelFlops.of(without_weights("teacher", asset("teacher")))
    a_point = teacher.forward([LENGTH])
    [written], [given] = compute.written.comparisons, compute.given.comparisons
    assert given.teacher_flops.value == 0
    assert written.teacher_flops.value == pytest.approx(a_point * written.additional.value)
    assert written.student_flops == given.student_flops
    own = written.run.total_flops
    more = written.additional.value * (a_point + STUDENT.step([LENGTH]))
    assert written.efficiency.value == pytest.approx(more / own)


def test_a_served_teacher_is_priced_by_its_configuration(settings):
    papers_runs(settings, served=True)
    teacher = ModelFlops.of(without_weights("teacher", asset("teacher")))
    [found] = Compute.read(settings).given.comparisons
    assert found.run.teacher_flops == teacher.forward([LENGTH] * 20)


def test_a_teacher_whose_configuration_is_not_there_is_said(settings, tmp_path):
    papers_runs(settings)
    moved = settings.pairs["llama"].model_copy(update={"teacher": str(tmp_path / "gone")})
    compute = Compute.read(settings.model_copy(update={"pairs": {**settings.pairs, "llama": moved}}))
    assert compute.written is None
    assert compute.given is not None
    assert compute.notes[0].startswith("the teacher's FLOPs are not known: ")
