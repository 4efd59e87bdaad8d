"""The preparation of arena B, small, on the demo's models."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.arena.prepare_real import Training, headroom, prepare, show
from benchmarks.arena.spelling import HELD_OUT_SEEDS, Words, prompt_of, word_of, worked
from crossdistill.demo.run import asset
from crossdistill.errors import InputError
from crossdistill.eval.tasks import get
from tests.eval.comparison.factory import entry, verdicts, write_evaluation

WORDS = Words(num_validation=4, num_test=4, max_tokens=8)
TRAINING = Training(num_start=4, num_expert=4, num_prompts=8, batch_size=2, is_bf16=False)
MODELS = [Path(asset("student")), Path(asset("teacher"))]


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("arena") / "real"
    prepare(MODELS, folder, WORDS, TRAINING)
    return folder


def test_no_word_is_in_two_sets() -> None:
    words = Words()
    held_out = [[word_of(one) for one in words.held_out(split).problems] for split in HELD_OUT_SEEDS]
    everything = [*words.training(500), *held_out[0], *held_out[1]]
    assert len(everything) == len(set(everything)) == 500 + 200 + 400


def test_training_prompts_read_as_the_problems_do() -> None:
    problem = WORDS.held_out("test").problems[0]
    assert prompt_of(word_of(problem)) == [{"role": "user", "content": problem.prompt}]


def test_the_verifier_takes_worked_responses_and_no_others() -> None:
    planned = WORDS.held_out("test")
    with get("reasoning_gym:spell_backward").grader(planned.options) as grader:
        right = [(one, worked(word_of(one))) for one in planned.problems]
        wrong = [(one, worked(word_of(one)[::-1])) for one in planned.problems]
        assert [verdict.correct for verdict in grader.grade(right)] == [True] * 4
        assert [verdict.correct for verdict in grader.grade(wrong)] == [False] * 4


def test_too_few_words_are_refused() -> None:
    with pytest.raises(InputError, match="ask for fewer, or longer ones"):
        replace(WORDS, shortest=3, longest=3).training(1500)


def test_held_out_sets_that_share_words_are_refused() -> None:
    with pytest.raises(InputError, match="validation and test problems share"):
        Words(shortest=3, longest=3).training(1)


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
    prepare(MODELS, prepared, WORDS, TRAINING)
    assert len(files) == 4
    assert [path.stat().st_mtime_ns for path in files] == before


def test_other_sizes_are_refused(prepared: Path) -> None:
    with pytest.raises(InputError, match="was prepared with other sizes"):
        prepare(MODELS, prepared, WORDS, replace(TRAINING, num_start=2))


def test_headroom_is_the_paired_difference(tmp_path: Path) -> None:
    for model, kind, share in (("a", "start", 0.1), ("a", "expert", 0.9), ("b", "start", 0.9), ("b", "expert", 0.9)):
        write_evaluation(tmp_path / model / f"{kind}-validation", {"sums": entry(verdicts(share))})
    found = {(pair["student"], pair["teacher"]): pair for pair in headroom(tmp_path, ["a", "b"])}
    assert found["a", "b"]["headroom"]["mean"] == pytest.approx(0.8, abs=0.1)
    assert found["a", "b"]["is"]
    assert not found["b", "a"]["is"]
