"""The recipe in small: its own files with the demo's pair, and data sets of the same form as the real ones."""

import sys
from pathlib import Path

import pytest
from datasets import Dataset

from crossdistill.demo.run import asset
from crossdistill.demo.task import problems
from recipes.paper.settings import Settings, read_settings

SMALL = Path(__file__).parent / "small.toml"
REPEATS, DISTINCT = 3, 2  # OpenThoughts asks each question several times; here two of the responses are equal


def data_sets(folder: Path, num: int = 160) -> tuple[str, str]:
    """OpenThoughts and DeepMath in small: sums of the training split, and one of each benchmark."""
    from tests.recipes.tasks import aime24, math500

    folder.mkdir(parents=True, exist_ok=True)
    sums = problems("train", 2 * num, seed=3)
    thoughts = [
        {
            "conversations": [
                {"from": "human", "value": one.prompt + ("\n" if repeat else "")},
                {"from": "gpt", "value": one.solution if repeat < 2 else f"so {one.solution}"},
            ]
        }
        for one in sums[:num]
        for repeat in range(REPEATS)
    ]
    leaked = aime24.all_problems(None)[0].prompt[0]["content"]
    thoughts.append({"conversations": [{"from": "human", "value": leaked}, {"from": "gpt", "value": "known"}]})
    math = [{"question": one.prompt, "final_answer": one.answer, "difficulty": 5.0} for one in sums[num:]]
    math.append({"question": math500.all_problems(None)[0].prompt[0]["content"], "final_answer": "known"})
    math.append({"question": "long " * 200, "final_answer": "0"})
    paths = folder / "open_thoughts.parquet", folder / "deep_math.parquet"
    for path, rows in zip(paths, (thoughts, math), strict=True):
        Dataset.from_list(rows).to_parquet(str(path))
    return str(paths[0]), str(paths[1])


def write_settings(folder: Path, seeds: tuple[int, ...] = (0,)) -> list[Path]:
    """Files of settings for a recipe in this folder."""
    thoughts, math = data_sets(folder / "sets")
    student, teacher, command = asset("student"), asset("teacher"), [sys.executable, "-m", "crossdistill"]
    local = folder / "local.toml"
    pairs = "".join(
        f'[pairs.{name}]\nteacher = "{of}"\n{start} = "{student}"\nserved = ""\n'
        for name, of, start in (("llama", teacher, "base"), ("r1", teacher, "start"), ("qwen", student, "base"))
    )
    local.write_text(
        f'output = "{folder / "out"}"\nseeds = {list(seeds)}\n{pairs}'
        f'[data]\nopen_thoughts = "{thoughts}"\ndeep_math = "{math}"\n'
        f"[hardware]\nlaunch = {command!r}\ncrossdistill = {command!r}\n"
    )
    return [SMALL, local]


@pytest.fixture
def small(tmp_path: Path) -> Settings:
    return read_settings(write_settings(tmp_path))
