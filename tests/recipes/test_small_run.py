"""The recipe from data to tables and figure, with its own files, on the demo's pair and sums."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from recipes.paper import __main__ as driver
from recipes.paper.published import published
from recipes.paper.settings import read_settings
from tests.cli.harness import run
from tests.recipes.small import write_settings

CELLS = ("llama/opd", "llama/alm", "llama/cdm", "r1/sft", "qwen/opd")


@pytest.mark.slow
def test_from_data_to_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def execute(command: Sequence[str]) -> int:
        """In this process: it takes seconds to import what the commands need."""
        result = run(*command[3:])
        assert result.code == 0, result.err
        return result.code

    monkeypatch.setattr(driver, "execute", execute)
    files = write_settings(tmp_path)
    options = [part for path in files for part in ("--settings", str(path))]

    def call(*arguments: str) -> str:
        result = CliRunner().invoke(driver.app, [*arguments, *options], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    call("run", *CELLS)
    assert call("run", *CELLS).count("eval ") == 0  # all is done
    call("tables")
    out = read_settings(files).output
    saved = json.loads((out / "tables.json").read_text())
    columns = (*published().benchmarks, "average")
    assert set(saved["scores"]) == {*CELLS, "llama/sft", "qwen/sft"}
    for scores in saved["scores"].values():
        assert all(0 <= scores[column]["mean"] <= 1 for column in columns)
    # the teacher can add and the student cannot: four steps are enough to see it
    assert saved["scores"]["llama/opd"]["gain"]["average"]["ci"][0] > 0.05
    text = (out / "tables.md").read_text()
    assert [line.split("run ")[1] for line in text.split("`") if "recipes.paper run" in line] == [
        *("r1/alm", "r1/cdm", "r1/opd")
    ]
    for report in saved["compute"].values():
        [comparison] = report["comparisons"]
        assert comparison["start_points"] == 128
        [opd] = [one for one in report["runs"] if one["method"] == "OPD"]
        assert [point["data_points"] for point in opd["accuracy"]] == [0, 64, 128]
        [sft] = [one for one in report["runs"] if one["method"] == "SFT"]
        assert [point["data_points"] for point in sft["accuracy"]] == [64, 128]
    assert saved["compute"]["responses_written"]["runs"][0]["teacher_flops"] > 0
    assert "here: OPD" in (out / "figure2.svg").read_text()
