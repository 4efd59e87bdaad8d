"""The draw of the recipe's data, on files of the real data sets' form."""

import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, load_dataset

from crossdistill.demo.run import asset
from crossdistill.errors import InputError
from recipes.paper.data import Draw, prepare
from tests.recipes.small import DISTINCT, data_sets
from tests.recipes.tasks import aime24, math500

TASKS = ("tests.recipes.tasks:aime24", "tests.recipes.tasks:math500")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return data_sets(tmp_path_factory.mktemp("sets"), num=40)


def draw(sources: tuple[str, str], **fields: Any) -> Draw:
    usual = Draw(asset("student"), *sources, 30, 12, 64, 96, 0, TASKS, {})
    return dataclasses.replace(usual, **fields)


def read(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]


def questions(rows: list[dict[str, Any]]) -> list[str]:
    return [row["prompt"][0]["content"] for row in rows]


def test_each_file_has_its_rows_and_they_are_apart(sources, tmp_path):
    counts = prepare(draw(sources), tmp_path)
    sft, given, prompts = (read(tmp_path, name) for name in ("sft", "given", "prompts"))
    assert counts["rows"] == {"sft": 30, "given": 12, "prompts": 24}
    assert Counter(row["source"] for row in prompts) == {"OpenThoughts": 12, "DeepMath": 12}
    assert len(set(questions(prompts))) == 24
    assert set(questions(given)) == {row["prompt"][0]["content"] for row in prompts if row["source"] == "OpenThoughts"}
    assert not set(questions(sft)) & set(questions(prompts))
    assert max(Counter(questions(sft)).values()) > 1  # a question is asked several times
    assert len({(question, row["completion"]) for question, row in zip(questions(sft), sft, strict=True)}) == 30
    assert {"answer"} == {key for row in prompts if row["source"] == "DeepMath" for key in row} - {"prompt", "source"}


def test_problems_of_the_evaluation_are_left_out_and_counted(sources, tmp_path):
    counts = prepare(draw(sources, num_sft=0, num_prompts=40), tmp_path)
    assert counts["questions"] == {"OpenThoughts": 41, "DeepMath": 42}
    assert counts["left_out"] == {"OpenThoughts": {"aime24": 1}, "DeepMath": {"math500": 1, "too long": 1}, "SFT": {}}
    assert not {one.prompt[0]["content"] for task in (aime24, math500) for one in task.all_problems(None)} & set(
        questions(read(tmp_path, "prompts"))
    )
    assert prepare(draw(sources, num_sft=60, num_prompts=10), tmp_path / "sft")["rows"]["sft"] == 60
    assert aime24.all_problems(None)[0].prompt[0]["content"] not in questions(read(tmp_path / "sft", "sft"))


def test_the_order_of_rows_does_not_matter_and_the_seed_does(sources, tmp_path):
    shuffled = []
    for number, source in enumerate(sources):
        rows = load_dataset("parquet", data_files=source, split="train").shuffle(seed=1)
        shuffled.append(str(tmp_path / f"{number}.parquet"))
        Dataset.from_list(rows.to_list()).to_parquet(shuffled[-1])
    folders = [tmp_path / name for name in ("first", "shuffled", "other")]
    for folder, given, seed in zip(folders, (sources, shuffled, sources), (0, 0, 1), strict=True):
        prepare(draw(tuple(given), seed=seed), folder)
    for name in ("sft", "given", "prompts"):
        first, other_order, other_seed = (read(folder, name) for folder in folders)
        assert first == other_order
        assert questions(first) != questions(other_seed)


def test_equal_rows_count_once(sources, tmp_path):
    rows = load_dataset("parquet", data_files=sources[0], split="train").to_list()
    twice = str(tmp_path / "twice.parquet")
    Dataset.from_list([*rows, *rows]).to_parquet(twice)
    prepare(draw(sources), tmp_path / "once")
    prepare(draw((twice, sources[1])), tmp_path / "twice")
    for name in ("sft", "given", "prompts"):
        assert read(tmp_path / "once", name) == read(tmp_path / "twice", name)


def test_lengths_are_those_of_the_student(sources, tmp_path):
    with pytest.raises(
        InputError, match=r"open_thoughts.parquet has 0 questions that fit, and not 12: lower sizes.prom"
    ):
        prepare(draw(sources, longest_prompt=5), tmp_path / "prompts")
    with pytest.raises(InputError, match="has 0 questions that fit"):
        prepare(draw(sources, longest_example=10), tmp_path / "examples")


def test_too_few_examples_are_named(sources, tmp_path):
    most = (40 - 12) * DISTINCT
    with pytest.raises(
        InputError, match=rf"has {most} examples that fit, beside the prompts, and not {most + 1}: lower"
    ):
        prepare(draw(sources, num_sft=most + 1), tmp_path)
    assert not (tmp_path / "data.json").exists()
    assert not (tmp_path / "sft.jsonl").exists()


def test_a_draw_is_made_once_and_another_one_refused(sources, tmp_path):
    prepare(draw(sources), tmp_path)
    (tmp_path / "sft.jsonl").write_text("mine")
    assert prepare(draw(sources), tmp_path)["rows"]["sft"] == 30
    assert (tmp_path / "sft.jsonl").read_text() == "mine"
    with pytest.raises(InputError, match="holds data of another draw: name another output, or delete it"):
        prepare(draw(sources, seed=1), tmp_path)
