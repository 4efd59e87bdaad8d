"""The files of each task: training prompts, worked examples, and a text that tells what is forgotten."""

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.arena.sentences import sentence
from benchmarks.arena.sorting import Sorting
from benchmarks.arena.split_task import SEEDS, SplitTask
from benchmarks.arena.sums import Sums
from crossdistill.demo.run import message
from crossdistill.demo.task import Problem

TASKS: dict[str, SplitTask] = {task.name: task for task in (Sums(), Sorting())}
NUM_PROMPTS = 2048
NUM_EXAMPLES = 300
NUM_LINES = 300
UNRELATED_SEED = 15


def write_data(folder: Path) -> None:
    """Write ``TASK/prompts.jsonl``, ``TASK/sft.jsonl`` and ``TASK/unrelated.txt`` for each task.

    The unrelated text is of the kind that the student was pretrained on and that its task does not ask for: sentences
    about animals. The student of the sums, the demo's, has learned nothing but sums: there it is worked sums without a
    carry that are not among its examples, which it could do from the start.
    """
    easy = TASKS["sums"].draw("sft", NUM_EXAMPLES + NUM_LINES, SEEDS["sft"])
    rng = random.Random(UNRELATED_SEED)  # noqa: S311
    unrelated = {
        "sums": [problem.solution for problem in easy[NUM_EXAMPLES:]],
        "sorting": [sentence(rng) for _ in range(NUM_LINES)],
    }
    for name, task in TASKS.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        rows = ({"prompt": message(p), "completion": p.solution} for p in easy_examples(name))
        _write_rows(folder / name / "sft.jsonl", rows)
        prompts = task.draw("train", NUM_PROMPTS, SEEDS["train"])
        _write_rows(folder / name / "prompts.jsonl", ({"prompt": message(p)} for p in prompts))
        (folder / name / "unrelated.txt").write_text("".join(f"{line}\n" for line in unrelated[name]))


def easy_examples(task: str) -> list[Problem]:
    """The worked examples of a task."""
    return TASKS[task].draw("sft", NUM_EXAMPLES, SEEDS["sft"])


def _write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
