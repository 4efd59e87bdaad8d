"""Rebuild the demo's tokenizers, models and examples from scratch, without network, in about ten minutes on two cores.

The teachers learn worked sums with rare errors. The student is pretrained on sums in which most carries are forgotten,
just as a base model learns the mistakes of its text along with its facts. Then it is warm-started by SFT on a few
correct but easy (carry-free) examples, `sft.jsonl`. It knows how to carry and mostly does not: on-policy distillation
can correct such a policy. More SFT on the same examples cannot, because none has a carry; SFT on correct examples
*with* carries corrects it as well (30 examples: 88 %, 300: 99 %). So the demo shows what feedback without labels does,
not that SFT is weaker.

Every input and every result is recorded in `BUILD.json`.
"""

import argparse
import json
import random
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from crossdistill.demo.sums import Sums
from crossdistill.demo.task import make_problem, number_words, operand_pairs, problems
from tools.demo_tokenizers import (
    TOKENIZER_SEED,
    build_other_teacher_tokenizer,
    build_student_tokenizer,
    build_teacher_tokenizer,
)
from tools.tiny_training import (
    DATA_SEED,
    WEIGHT_SEED,
    Stage,
    accuracy,
    build_student,
    build_teacher,
    digests,
    encode_example,
    save,
    train,
    warm_start,
)

SFT_SEED, HELD_OUT_SEED = 1, 2

TEACHERS = {"teacher": build_teacher_tokenizer, "other_teacher": build_other_teacher_tokenizer}
ROLES = ("student", *TEACHERS)


@dataclass(frozen=True)
class Habits:
    """Error rates of the text that a model learns.

    Attributes:
        forgotten_carry: probability that a carry is left out.
        slip: probability, for each of a worked sum's four numbers, that a random number takes its place.
    """

    forgotten_carry: float
    slip: float


STUDENT_HABITS = Habits(forgotten_carry=0.65, slip=0.0)
TEACHER_HABITS = Habits(forgotten_carry=0.0, slip=0.05)
STUDENT_PRETRAINING = Stage(steps=1100, batch_size=64, learning_rate=2e-3)
STUDENT_SFT = Stage(steps=40, batch_size=32, learning_rate=1e-4)
TEACHER_TRAINING = Stage(steps=1200, batch_size=64, learning_rate=2e-3)
NUM_SFT_EXAMPLES = 300
NUM_HELD_OUT = 500


def worked_sum(left: int, right: int, habits: Habits, rng: random.Random) -> tuple[str, str]:
    """The prompt and a worked completion with errors at these rates.

    The text after an error is consistent with it. A model of such text is right when it decodes greedily, gives
    mistakes a finite log-probability, and can continue from a mistake that another model made.
    """
    digits = [left // place % 10 + right // place % 10 for place in (100, 10, 1)]
    hundreds, tens, ones = (
        rng.randint(0, top) if rng.random() < habits.slip else digit
        for digit, top in zip(digits, (8, 18, 18), strict=True)
    )
    tens_total = tens + (ones >= 10 and rng.random() >= habits.forgotten_carry)
    hundreds_total = hundreds + (tens_total >= 10 and rng.random() >= habits.forgotten_carry)
    answer = hundreds_total * 100 + tens_total % 10 * 10 + ones % 10
    if rng.random() < habits.slip:
        answer = rng.randint(0, 999)
    partial_sums = " and ".join(map(number_words, (hundreds * 100, tens * 10, ones)))
    return make_problem(left, right).prompt, f"{partial_sums} is {number_words(answer)}"


def train_on_sums(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, habits: Habits, stage: Stage
) -> dict[str, Any]:
    """Train on random sums of the train split; return the record of the stage."""
    rng = random.Random(DATA_SEED)  # noqa: S311
    pairs = operand_pairs("train")
    found = train(model, lambda: encode_example(tokenizer, *worked_sum(*rng.choice(pairs), habits, rng)), stage)
    return {**found, "habits": asdict(habits)}


def build(role: str, assets: Path) -> dict[str, Any]:
    """Build one folder and return its record; on one thread, so that weights do not depend on the number of cores."""
    torch.set_num_threads(1)
    held_out = Sums(NUM_HELD_OUT, HELD_OUT_SEED)
    stages: dict[str, Any] = {}
    scores: dict[str, float] = {}
    if role in TEACHERS:
        tokenizer = TEACHERS[role]()
        model = build_teacher(tokenizer)
        stages["training"] = train_on_sums(model, tokenizer, TEACHER_HABITS, TEACHER_TRAINING)
    else:
        tokenizer = build_student_tokenizer()
        model = build_student(tokenizer)
        stages["pretraining"] = train_on_sums(model, tokenizer, STUDENT_HABITS, STUDENT_PRETRAINING)
        scores["greedy_before_sft"] = accuracy(model, tokenizer, held_out, temperature=0.0, seed=HELD_OUT_SEED)
        stages["sft"] = warm_start(model, tokenizer, read_sft_examples(assets / "sft.jsonl"), STUDENT_SFT)
    scores["greedy"] = accuracy(model, tokenizer, held_out, temperature=0.0, seed=HELD_OUT_SEED)
    scores["sampled"] = accuracy(model, tokenizer, held_out, temperature=1.0, seed=HELD_OUT_SEED)
    print(f"{role}: {scores} (n = {NUM_HELD_OUT})", flush=True)
    save(model, tokenizer, assets / role)
    return {"parameters": model.num_parameters(), "stages": stages, "exact_match": scores}


def write_sft_examples(path: Path) -> None:
    """Write the worked sums of the student's warm start."""
    rows = [{"prompt": p.prompt, "completion": p.solution} for p in problems("sft", NUM_SFT_EXAMPLES, SFT_SEED)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def read_sft_examples(path: Path) -> list[tuple[str, str]]:
    """Prompts and completions of these sums."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [(row["prompt"], row["completion"]) for row in rows]


def main() -> None:
    """Build the folders in parallel and write their common record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder to write the assets to")
    parser.add_argument("--only", choices=ROLES, help="build only this one, and keep the others")
    given = parser.parse_args()
    assets, roles = given.output, [given.only] if given.only else list(ROLES)
    assets.mkdir(parents=True, exist_ok=True)
    write_sft_examples(assets / "sft.jsonl")
    record: dict[str, Any] = json.loads((assets / "BUILD.json").read_text()) if given.only else {}
    with ProcessPoolExecutor(max_workers=2, mp_context=get_context("spawn")) as pool:
        record |= dict(zip(roles, pool.map(build, roles, [assets] * len(roles)), strict=True))
    record["held_out_problems"] = NUM_HELD_OUT
    record["seeds"] = {
        "tokenizer": TOKENIZER_SEED, "sft": SFT_SEED, "held_out": HELD_OUT_SEED,
        "weights": WEIGHT_SEED, "data": DATA_SEED,
    }  # fmt: skip
    files = [assets / "sft.jsonl", *(path for role in ROLES for path in (assets / role).iterdir())]
    record["sha256"] = digests(assets, files)
    (assets / "BUILD.json").write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
