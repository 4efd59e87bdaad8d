"""The preparation of arena B, small, on the demo's models."""

import doctest
import json
import signal
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from benchmarks.arena import prepare_real, rare_words
from benchmarks.arena.prepare_real import Sizes, headroom, prepare, show
from benchmarks.arena.rare_words import SortWords, answer_of, draw, prompt_of
from crossdistill.demo.run import asset
from crossdistill.errors import InputError
from crossdistill.eval.task import TaskOptions
from crossdistill.runs.interrupt import Interrupted
from tests.eval.comparison.factory import entry, verdicts, write_evaluation

SIZES = Sizes(num_words=2, num_validation=4, num_start=4, num_expert=4, num_prompts=8, batch_size=2, is_bf16=False)
MODELS = [Path(asset("student")), Path(asset("teacher"))]
SPLITS = ("validation", "test", "examples", "prompts")


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("arena") / "real"
    prepare(MODELS, folder, SIZES)
    return folder


def test_the_examples_in_the_docstrings_run() -> None:
    assert doctest.testmod(rare_words) == (0, 4)


def test_no_word_is_in_two_splits() -> None:
    words = [{word for problem in draw(split, 1000) for word in problem} for split in SPLITS]
    assert len(set.union(*words)) == sum(map(len, words))


@pytest.mark.parametrize("split", SPLITS)
def test_problems_are_distinct_and_fewer_are_the_first_of_more(split: Any) -> None:
    drawn = draw(split, 300, 3)
    assert len(set(drawn)) == 300
    assert drawn[:20] == draw(split, 20, 3)


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(InputError, match="choose one of validation, test, examples, prompts"):
        SortWords().problems(TaskOptions(parameters={"split": "train"}))


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"size": 0}, "size be a whole number above 0"),
        ({"size": "ten"}, "size be a whole number above 0"),
        ({"num_words": 0}, "num_words be a whole number from 2 to 20"),  # each problem would be the same
        ({"num_words": "3"}, "num_words be a whole number from 2 to 20"),
        ({"num_words": 10_000}, "num_words be a whole number from 2 to 20"),  # more than there are
    ],
)
def test_problems_that_cannot_be_are_refused(parameters: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        SortWords().problems(TaskOptions(parameters=parameters))


@pytest.mark.parametrize("models", [["a/model", "b/model"], ["a"]])
def test_models_that_would_share_a_folder_are_refused(models: list[str], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="two models in folders of different names"):
        prepare(map(Path, models), tmp_path / "real", SIZES)
    assert not (tmp_path / "real").exists()


def test_answers_are_in_order_and_hold_the_words() -> None:
    for problem in SortWords().problems(TaskOptions(parameters={"split": "test", "size": 50})):
        asked, answer = problem.prompt[-1]["content"].split(", "), problem.reference.split(", ")
        assert all(one < other for one, other in pairwise(answer))
        assert {*asked} == {*answer}


def test_only_the_right_list_is_right() -> None:
    problem = SortWords().problems(TaskOptions(parameters={"size": 1}))[0]
    *others, last = problem.reference.split(", ")
    responses = [
        problem.reference,
        f" {problem.reference}\n",
        f"{problem.reference}.",
        ", ".join([last, *others]),
        ", ".join(others),
        problem.reference.upper(),
        "",
    ]
    with SortWords().grader(TaskOptions()) as grader:
        given = list(grader.grade((problem, response) for response in responses))
    assert [verdict.correct for verdict in given] == [True, True, *[False] * 5]
    assert not given[-1].parsed


def test_examples_ask_what_problems_ask(prepared: Path) -> None:
    (words,) = draw("examples", 1, 2)
    assert rows(prepared / "examples.jsonl")[0] == {"prompt": prompt_of(words), "completion": answer_of(words)}


def test_files_hold_as_many_rows_as_were_asked_for(prepared: Path) -> None:
    counts = {name: len(rows(prepared / f"{name}.jsonl")) for name in ("examples", "worked", "prompts")}
    assert counts == {"examples": 4, "worked": 4, "prompts": 8}


def test_an_expert_goes_on_from_its_start(prepared: Path) -> None:
    for model in MODELS:
        config = json.loads((prepared / model.name / "expert" / "config.json").read_text())
        assert Path(config["student"]) == prepared / model.name / "start" / "model"


def test_each_start_is_compared_with_each_expert(prepared: Path) -> None:
    pairs = json.loads((prepared / "headroom.json").read_text())["pairs"]
    assert [(pair["student"], pair["teacher"]) for pair in pairs] == [
        ("student", "student"), ("student", "teacher"), ("teacher", "student"), ("teacher", "teacher")
    ]  # fmt: skip
    assert not any(pair["is"] for pair in pairs)  # two steps teach nobody to spell
    assert show(pairs).row_count == 4


def test_a_second_command_repeats_nothing(prepared: Path) -> None:
    files = list(prepared.rglob("*.safetensors"))
    before = [path.stat().st_mtime_ns for path in files]
    prepare(MODELS, prepared, SIZES)
    assert len(files) == 4
    assert [path.stat().st_mtime_ns for path in files] == before


def test_other_sizes_are_refused(prepared: Path) -> None:
    with pytest.raises(InputError, match="was prepared with other sizes"):
        prepare(MODELS, prepared, replace(SIZES, num_start=2))


def test_headroom_is_the_paired_difference(tmp_path: Path) -> None:
    for model, kind, share in (("a", "start", 0.1), ("a", "expert", 0.9), ("b", "start", 0.9), ("b", "expert", 0.9)):
        write_evaluation(tmp_path / model / f"{kind}-validation", {"sums": entry(verdicts(share))})
    found = {(pair["student"], pair["teacher"]): pair for pair in headroom(tmp_path, ["a", "b"])}
    assert found["a", "b"]["headroom"]["mean"] == pytest.approx(0.8, abs=0.1)
    assert found["a", "b"]["is"]
    assert not found["b", "a"]["is"]


def test_a_signal_ends_the_command_without_a_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: Any) -> None:
        raise Interrupted(signal.SIGTERM, 3)

    monkeypatch.setattr(prepare_real, "prepare", stopped)
    app = typer.Typer()
    app.command()(prepare_real.main)
    result = CliRunner().invoke(app, ["--output", str(tmp_path)])
    assert result.exit_code == 128 + signal.SIGTERM
    assert "stopped by SIGTERM after step 3; give the command again to continue it." in result.output
