"""Rebuild the models and data of arena A from scratch, without network, in about 20 minutes on two idle cores.

python -m benchmarks.arena.build --output benchmarks/arena

Each task has one student and teachers with tokenizers that are the student's own, finer, mixed, and for the sums
coarser. The student of the sums is the demo's, and so is the teacher of the mixed pair. The student of sorting learns
lists in which animals of one letter are mostly left in the order given, and then correct lists in which no two share a
letter: it knows the order and mostly does not keep it. All teachers learn correct text with rare slips.

Every input and every result is recorded in `BUILD.json`. Nothing here looks at test problems.
"""

import argparse
import json
import random
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.arena.data import TASKS, UNRELATED_SEED, easy_examples, write_data
from benchmarks.arena.pairs import DEMO_MODELS, measure_pairs, model_folder
from benchmarks.arena.recipes import RECIPES, STUDENT_SFT
from benchmarks.arena.split_task import SEEDS
from crossdistill.eval.task import TaskOptions
from tools.demo_tokenizers import TOKENIZER_SEED
from tools.tiny_training import (
    DATA_SEED,
    WEIGHT_SEED,
    accuracy,
    build_student,
    build_teacher,
    digests,
    save,
    train,
    warm_start,
)

NUM_WORKERS = 2


def build(name: str, root: Path, most_steps: int | None = None) -> dict[str, Any]:
    """Build one model and return its record; on one thread, so that weights do not depend on the number of cores.

    Args:
        name: of a recipe.
        root: the folder with ``models``.
        most_steps: of each stage, for a trial.
    """
    torch.set_num_threads(1)
    recipe = RECIPES[name]
    tokenizer = recipe.tokenizer()
    model = build_student(tokenizer) if recipe.is_student else build_teacher(tokenizer, recipe.num_layers)
    rng, draw = random.Random(DATA_SEED), recipe.drawing()  # noqa: S311
    stage = replace(recipe.stage, steps=min(recipe.stage.steps, most_steps or recipe.stage.steps))
    stages = {"training": {**train(model, lambda: draw(tokenizer, rng), stage), "text": recipe.text}}
    if recipe.is_student:
        sft = replace(STUDENT_SFT, steps=min(STUDENT_SFT.steps, most_steps or STUDENT_SFT.steps))
        stages["sft"] = warm_start(model, tokenizer, [(p.prompt, p.solution) for p in easy_examples(recipe.task)], sft)
    save(model, tokenizer, root / "models" / name)
    return {"parameters": model.num_parameters(), "stages": stages, **measure(name, root)}


def measure(name: str, root: Path) -> dict[str, Any]:
    """Exact match of a built model, or of one of the demo's, on the validation problems: greedily and sampled."""
    torch.set_num_threads(1)
    folder, task = model_folder(root / "models", name), TASKS[name.partition("-")[0]]
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    found = {
        way: accuracy(model, tokenizer, task, temperature=temperature, seed=SEEDS["validation"])
        for way, temperature in (("greedy", 0.0), ("sampled", 1.0))
    }
    print(f"{name}: {found}", flush=True)
    return {"exact_match": found}


def main() -> None:
    """Write the data, build the models side by side, and write their common record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder of data/, models/ and BUILD.json")
    parser.add_argument("--only", nargs="+", choices=RECIPES, help="build only these, and keep the others")
    parser.add_argument("--most-steps", type=int, help="of each stage, for a trial")
    given = parser.parse_args()
    root, names = given.output, given.only or list(RECIPES)
    write_data(root / "data")
    known = json.loads((root / "BUILD.json").read_text())["models"] if given.only else {}
    with ProcessPoolExecutor(max_workers=NUM_WORKERS, mp_context=get_context("spawn")) as pool:
        built = pool.map(build, names, [root] * len(names), [given.most_steps] * len(names))
        known |= dict(zip(names, built, strict=True))
        known |= dict(zip(DEMO_MODELS, pool.map(measure, DEMO_MODELS, [root] * len(DEMO_MODELS)), strict=True))
    write_record(root, {name: known[name] for name in (*DEMO_MODELS, *RECIPES)})


def write_record(root: Path, models: dict[str, Any]) -> None:
    """Write BUILD.json: records of the models, their pairs, seeds, and digests of all files."""
    seeds = {"tokenizer": TOKENIZER_SEED, "weights": WEIGHT_SEED, "data": DATA_SEED, "unrelated": UNRELATED_SEED}
    files = [path for part in ("data", "models") for path in (root / part).rglob("*") if path.is_file()]
    record = {
        "models": models,
        "pairs": measure_pairs(root / "models"),
        "validation_problems": len(TASKS["sums"].problems(TaskOptions())),
        "seeds": {**seeds, **SEEDS},
        "sha256": digests(root, files),
    }
    (root / "BUILD.json").write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
