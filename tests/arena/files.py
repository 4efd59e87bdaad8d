"""An arena's file on the demo's pair, with its data."""

import json
from pathlib import Path
from typing import Any

from crossdistill.arena.file import ArenaFile, read_arena
from crossdistill.demo.run import asset, message
from crossdistill.demo.task import problems

TEXT = """
seeds = [0, 1]
tuning_seed = 100
rates = [3e-4, 1e-3]
reference = "dpca"
controls = ["sft", "seqkd"]
eval_every = 2
[methods.dpca]
[tasks.sums]
prompts = "prompts.jsonl"
examples = "examples.jsonl"
unrelated = "unrelated.txt"
validation = {task = "tests.arena.split_sums:Validation"}
test = {task = "tests.arena.split_sums:Test"}
[pairs.demo]
task = "sums"
student = "STUDENT"
teacher = "TEACHER"
[train]
max_steps = 2
per_device_train_batch_size = 4
activation_checkpointing = false
use_cpu = true
max_completion_length = 48
[teacher_writes]
max_new_tokens = 48
"""


def write_file(folder: Path, text: str = TEXT) -> Path:
    """Write arena.toml and its data; returns the file's path."""
    rows = [{"prompt": message(one)} for one in problems("train", 20, seed=3)]
    examples = [{"prompt": message(one), "completion": one.solution} for one in problems("sft", 8, seed=3)]
    (folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "examples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in examples))
    (folder / "unrelated.txt").write_text("two hundred and forty\n\nseven\n")
    path = folder / "arena.toml"
    path.write_text(text.replace("STUDENT", asset("student")).replace("TEACHER", asset("teacher")))
    return path


def read(folder: Path, *overrides: str, text: str = TEXT) -> ArenaFile:
    """The file with some values changed."""
    return read_arena(write_file(folder, text), overrides)


def changed(arena: ArenaFile, **values: Any) -> ArenaFile:
    """A copy with other values."""
    return ArenaFile.model_validate({**arena.model_dump(), **values})
