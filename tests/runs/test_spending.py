"""What folders of runs and evaluations tell of costs and accuracies."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from crossdistill.costs import Part
from crossdistill.errors import InputError
from crossdistill.report.cost.comparison import BY_PROBLEMS, compare
from crossdistill.report.cost.spending import Method
from crossdistill.runs.run_file import write_json
from crossdistill.runs.spending import read_spendings
from tests.report.cost.folders import evaluation, opd_run, sft_run

TASK = "gsm8k"


def test_a_run_as_it_is_written(tmp_path: Path) -> None:
    ([run], notes) = read_spendings([opd_run(tmp_path / "opd", data_points=640)])
    assert notes == []
    assert run.method is Method.OPD
    assert (run.name, run.model) == ("opd", str(tmp_path / "opd" / "model"))
    assert run.data_points == 640
    assert set(run.tokens) == {Part.STUDENT_ROLLOUT, Part.STUDENT_SCORE, Part.STUDENT_STEP, Part.TEACHER_PREFILL}
    written = json.loads((tmp_path / "opd" / "run.json").read_text())["flops"]
    assert run.total_flops == written["total"] == run.student_flops + run.teacher_flops


def test_accuracies_of_steps_and_their_problems(tmp_path: Path) -> None:
    folder = opd_run(tmp_path / "opd", data_points=600, steps=30, accuracy={0: 0.25, 10: 0.5, 30: 0.75})
    evaluation(folder / "evaluations" / "step-000030", "step 30", {"a": [1, 0], "b": [1, 1]})  # 0.75
    ([run], _) = read_spendings([folder])
    points = run.measured(TASK)
    assert [(point.data_points, point.mean) for point in points] == [(0, 0.25), (200, 0.5), (600, 0.75)]
    assert [point.problems for point in points] == [None, None, {"a": 0.5, "b": 1.0}]
    assert points[-1].ci == (0.65, 0.85)


def test_evaluations_belong_to_the_run_that_wrote_their_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = sft_run(Path("sft"), data_points=100)
    (folder / "model").mkdir()
    checkpoint = folder / "checkpoints" / "checkpoint-2"
    checkpoint.mkdir(parents=True)
    write_json(checkpoint / "usage.json", {"data_points": 40})
    (tmp_path / "base").mkdir()
    parts = [
        evaluation(Path("end"), "sft/model", {"a": [1], "b": [1]}),
        evaluation(Path("middle"), "sft/checkpoints/checkpoint-2", {"a": [1], "b": [0]}),
        evaluation(Path("before"), "base", {"a": [0], "b": [0]}),
        evaluation(Path("foreign"), "someone/else", {"a": [0], "b": [0]}),
    ]
    ([run], notes) = read_spendings([*parts, folder])
    assert [(point.data_points, point.mean) for point in run.measured(TASK)] == [(0, 0), (40, 0.5), (100, 1)]
    assert notes == ["foreign is of someone/else, which none of the runs wrote: it is left out"]


def test_a_whole_comparison(tmp_path: Path) -> None:
    runs, answers = [], {"sft-1": (100, 20), "sft-2": (1_000, 40), "opd": (50, 60)}
    for name, (data_points, right) in answers.items():
        make = opd_run if name == "opd" else sft_run
        runs.append(make(tmp_path / name, data_points=data_points))
        (tmp_path / name / "model").mkdir()
        results = {str(number): [number < right] for number in range(100)}
        runs.append(evaluation(tmp_path / f"eval-{name}", str(tmp_path / name / "model"), results))
    report = compare(*(read_spendings(runs)[:1]))
    assert report.method == BY_PROBLEMS
    (found,) = report.comparisons
    assert found.needed.value == pytest.approx(10_000)
    assert found.efficiency is not None
    assert 1 < found.efficiency.value < math.inf


# --- bad input


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has neither run\.json nor eval\.json: give the output folder"):
        read_spendings([tmp_path])


@pytest.mark.parametrize("missing", ["data_points", "tokens", "flops"])
def test_a_run_without_figures_is_refused(tmp_path: Path, missing: str) -> None:
    folder = opd_run(tmp_path / "opd")
    run = json.loads((folder / "run.json").read_text())
    del run[missing]
    write_json(folder / "run.json", run)
    with pytest.raises(InputError, match=rf"opd/run\.json has no {missing}, because an earlier version"):
        read_spendings([folder])


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"tokens": {"weird": 3}}, "tokens.weird"),
        ({"tokens": [1]}, "tokens"),
        ({"flops": None}, "flops"),
        ({"data_points": "many"}, "data_points"),
        ({"data_points": -1}, "data_points"),
        ({"student": None}, "student"),
        ({"seconds": "long"}, "seconds"),
        ({"history": 5}, "history"),
        ({"accuracy": [1]}, "accuracy"),
        ({"accuracy": {"gsm8k": [{"step": 1}]}}, r"accuracy\.gsm8k\.0\.mean"),
        ({"accuracy": {"gsm8k": [{"step": 1, "mean": 0.5, "ci": [0.1]}]}}, r"accuracy\.gsm8k\.0\.ci\.1"),
    ],
)
def test_a_damaged_run_is_refused(tmp_path: Path, fields: dict[str, Any], place: str) -> None:
    folder = opd_run(tmp_path / "opd")
    write_json(folder / "run.json", {**json.loads((folder / "run.json").read_text()), **fields})
    with pytest.raises(InputError, match=rf"opd/run\.json is damaged \({place}.*: .*repeat the run, or restore"):
        read_spendings([folder])


@pytest.mark.parametrize("metrics", [5, {"avg@k": 5}, {"avg@k": {"ci": ["a"]}}])
def test_damaged_metrics_are_refused(tmp_path: Path, metrics: Any) -> None:
    with pytest.raises(InputError, match=r"eval\.json is damaged \(metrics"):
        read_spendings([evaluation(tmp_path / "end", "model", {"a": [1]}, metrics=metrics)])


def test_of_two_evaluations_of_a_model_the_latter_counts_and_that_is_said(tmp_path: Path) -> None:
    folder = sft_run(tmp_path / "sft")
    (folder / "model").mkdir()
    one, two = (
        evaluation(tmp_path / name, str(folder / "model"), {"a": [right]}) for name, right in (("one", 0), ("two", 1))
    )
    ([run], notes) = read_spendings([folder, one, two])
    assert [point.mean for point in run.measured(TASK)] == [1]
    assert notes == [f"{one} and {two} are of one model on {TASK}: the latter counts"]


def test_a_folder_that_is_given_twice_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = sft_run(tmp_path / "sft")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="sft is given twice: name each run once"):
        read_spendings([folder, Path("sft")])


def test_evaluations_alone_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="only evaluations were given: name the folders of the training runs too"):
        read_spendings([evaluation(tmp_path / "end", "model", {"a": [1]})])


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"model": 1, "tasks": 2}', '{"tasks": {"gsm8k": {}}}'])
def test_a_damaged_evaluation_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "eval.json").write_text(content)
    with pytest.raises(InputError, match=r"eval\.json (is not JSON|holds a list|names no task|is damaged)"):
        read_spendings([tmp_path])


@pytest.mark.parametrize(
    ("difference", "said"),
    [
        ({"digest": "other"}, "are of other problems of 'gsm8k'"),
        ({"sampling": {"temperature": 0.0, "k": 1}}, "were not sampled alike on 'gsm8k': temperature"),
    ],
)
def test_other_problems_or_settings_are_refused(tmp_path: Path, difference: dict[str, Any], said: str) -> None:
    one = evaluation(tmp_path / "one", "model", {"a": [1]})
    two = evaluation(tmp_path / "two", "model", {"a": [1]}, **difference)
    with pytest.raises(InputError, match=rf"one and .*two {said}"):
        read_spendings([opd_run(tmp_path / "opd"), one, two])
