"""The recipe for the paper's pairs: its run files for verl, and the draw of its prompts on files of the same form."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from crossdistill.demo.run import asset
from crossdistill.errors import InputError
from crossdistill.integrations.verl.checks import check_settings
from crossdistill.integrations.verl.run_file import Launch, verl_settings
from crossdistill.runs.config import RunConfig, read_config
from tests.integrations.verl.pair import composed

FOLDER = Path(__file__).parents[3] / "recipes" / "verl"


@pytest.fixture(scope="module")
def recipe() -> Any:
    spec = importlib.util.spec_from_file_location("prompts", FOLDER / "prompts.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Both data sets in their forms; each question of OpenThoughts is asked twice, and one is very long."""
    thoughts = [
        {"conversations": [{"from": "human", "value": f"thought {k // 2} "}, {"from": "gpt", "value": f"{k}"}]}
        for k in range(40)
    ]
    math = [{"question": f"sum {k}", "final_answer": k, "difficulty": 5.0} for k in range(19)]
    math.append({"question": "long " * 500, "final_answer": 0, "difficulty": 9.0})
    written = {}
    for name, rows in (("open_thoughts", thoughts), ("deep_math", math)):
        written[name] = str(tmp_path / f"{name}.parquet")
        Dataset.from_list(rows).to_parquet(written[name])
    return written


def draw(recipe: Any, output: Path, files: dict[str, str], **options: Any) -> list[dict[str, Any]]:
    recipe.main(asset("student"), output, **files, **options)
    return [json.loads(line) for line in output.read_text().splitlines()]


def test_prompts_of_both_are_distinct_and_fit(recipe, files, tmp_path):
    rows = draw(recipe, tmp_path / "prompts.jsonl", files, num=19, longest=128)
    texts = [row["prompt"][0]["content"] for row in rows]
    assert len(texts) == len(set(texts)) == 38
    assert sum(text.startswith("thought") for text in texts) == 19
    assert all(row["answer"] == row["prompt"][0]["content"].split()[1] for row in rows if "answer" in row)
    assert not any(text.startswith("long") for text in texts)
    assert [row["source"] for row in rows] != sorted(row["source"] for row in rows)


def test_the_draw_is_seeded(recipe, files, tmp_path):
    drawn = [
        draw(recipe, tmp_path / f"{k}.jsonl", files, num=5, longest=128, seed=seed) for k, seed in enumerate((1, 1, 2))
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_too_few_questions_are_named(recipe, files, tmp_path):
    with pytest.raises(InputError, match=r"open_thoughts.parquet has 20 questions that fit, not 21: lower --num"):
        draw(recipe, tmp_path / "prompts.jsonl", files, num=21, longest=128)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.toml")), ids=lambda path: path.stem)
def test_run_files_have_the_papers_settings(path):
    made = verl_settings(read_config(RunConfig, path, [], {}), Launch("out", "train.parquet", None, 40_000, 1024))
    assert made["data.train_batch_size"] == 128
    assert made["data.max_response_length"] == 16_384
    assert made["actor_rollout_ref.actor.optim.lr"] == 1e-6
    assert made["actor_rollout_ref.actor.optim.lr_warmup_steps"] == 10
    assert made["actor_rollout_ref.actor.clip_ratio_high"] == 0.28
    assert check_settings(composed(made)).make_objective().name == "dpca"
