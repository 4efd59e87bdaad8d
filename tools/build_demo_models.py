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
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from demo_tokenizers import (
    TOKENIZER_SEED,
    build_other_teacher_tokenizer,
    build_student_tokenizer,
    build_teacher_tokenizer,
)
from transformers import (
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from crossdistill.demo.sums import Sums
from crossdistill.demo.task import make_problem, number_words, operand_pairs, problems
from crossdistill.eval.task import TaskOptions
from crossdistill.runs.accuracy import ACCURACY
from crossdistill.runs.evaluate import evaluate_model

SFT_SEED, HELD_OUT_SEED, WEIGHT_SEED, DATA_SEED = 1, 2, 3, 4

TEACHERS = {"teacher": build_teacher_tokenizer, "other_teacher": build_other_teacher_tokenizer}
ROLES = ("student", *TEACHERS)

Example = tuple[list[int], list[int]]  # prompt ids, completion ids


@dataclass(frozen=True)
class Stage:
    """One run of next-token training: AdamW under a one-cycle learning rate."""

    steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float = 0.01


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


def build_model(role: str, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """A decoder with random weights: a Qwen3 of three layers for the student, a Llama of four for a teacher."""
    sizes = {
        "vocab_size": len(tokenizer),
        "hidden_size": 128,
        "intermediate_size": 384,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "head_dim": 32,
        "max_position_embeddings": 256,
        "tie_word_embeddings": True,
    }
    stops = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    torch.manual_seed(WEIGHT_SEED)
    if role in TEACHERS:
        model = LlamaForCausalLM(LlamaConfig(**sizes, **stops, num_hidden_layers=4))
    else:
        model = Qwen3ForCausalLM(Qwen3Config(**sizes, **stops, num_hidden_layers=3))
    model.generation_config = GenerationConfig(do_sample=True, temperature=1.0, top_k=0, top_p=1.0, **stops)
    return model


def encode_prompt(tokenizer: PreTrainedTokenizerFast, prompt: str) -> list[int]:
    """The ids of one user turn, up to the start of the answer."""
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}], add_generation_prompt=True, tokenize=False
    )
    return tokenizer.encode(text, add_special_tokens=False)


def encode_example(tokenizer: PreTrainedTokenizerFast, prompt: str, completion: str) -> Example:
    """Prompt and completion, tokenised separately so that no token spans both; the completion ends with its stop."""
    completion_ids = [*tokenizer.encode(completion, add_special_tokens=False), tokenizer.eos_token_id]
    return encode_prompt(tokenizer, prompt), completion_ids


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


def collate(examples: list[Example], pad_id: int) -> dict[str, torch.Tensor]:
    """Right-padded `input_ids`, `attention_mask` and `labels` [batch, position]; only completions have labels."""
    width = max(len(prompt) + len(completion) for prompt, completion in examples)
    input_ids = torch.full((len(examples), width), pad_id)
    labels = torch.full_like(input_ids, -100)
    attention_mask = torch.zeros_like(input_ids)
    for row, (prompt, completion) in enumerate(examples):
        end = len(prompt) + len(completion)
        input_ids[row, :end] = torch.tensor(prompt + completion)
        labels[row, len(prompt) : end] = torch.tensor(completion)
        attention_mask[row, :end] = 1
    return {"input_ids": input_ids, "attention_mask": attention_mask, "labels": labels}


def train(model: PreTrainedModel, batches: Iterator[list[Example]], stage: Stage) -> float:
    """Run one stage and return the seconds it took."""
    start = time.perf_counter()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=stage.learning_rate, betas=(0.9, 0.98), weight_decay=stage.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, stage.learning_rate, total_steps=stage.steps, pct_start=0.1
    )
    model.train()
    for step in range(stage.steps):
        loss = model(**collate(next(batches), model.config.pad_token_id)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 100 == 0:
            print(f"  step {step:5d}  loss {loss.item():.4f}", flush=True)
    return time.perf_counter() - start


def draw_batches(draw: Callable[[], Example], batch_size: int) -> Iterator[list[Example]]:
    """An endless stream of batches of independently drawn examples."""
    while True:
        yield [draw() for _ in range(batch_size)]


def accuracy(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, *, temperature: float) -> float:
    """Share of the held-out problems solved, greedily or sampled."""
    sampling = replace(Sums.sampling, temperature=temperature, seed=HELD_OUT_SEED)
    with TemporaryDirectory() as folder:
        parts = Sums(NUM_HELD_OUT, HELD_OUT_SEED), TaskOptions(), sampling, Path(folder)
        found = evaluate_model(model, tokenizer, *parts, is_quiet=True)
    share: float = found["tasks"][Sums.name]["metrics"][ACCURACY]["mean"]
    return share


def train_on_sums(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, habits: Habits, stage: Stage
) -> dict[str, Any]:
    """Train on random sums of the train split; return the record of the stage."""
    rng = random.Random(DATA_SEED)  # noqa: S311
    pairs = operand_pairs("train")
    batches = draw_batches(
        lambda: encode_example(tokenizer, *worked_sum(*rng.choice(pairs), habits, rng)), stage.batch_size
    )
    seconds = train(model, batches, stage)
    return {**asdict(stage), "habits": asdict(habits), "seconds": round(seconds)}


def warm_start(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, sft_path: Path, stage: Stage
) -> dict[str, Any]:
    """Fine-tune on the shipped examples; return the record of the stage."""
    rng = random.Random(DATA_SEED)  # noqa: S311
    rows = [json.loads(line) for line in sft_path.read_text().splitlines()]
    examples = [encode_example(tokenizer, row["prompt"], row["completion"]) for row in rows]
    seconds = train(model, draw_batches(lambda: rng.choice(examples), stage.batch_size), stage)
    return {**asdict(stage), "examples": len(rows), "seconds": round(seconds)}


def build(role: str, assets: Path) -> dict[str, Any]:
    """Build one folder and return its record; on one thread, so that weights do not depend on the number of cores."""
    torch.set_num_threads(1)
    stages: dict[str, Any] = {}
    scores: dict[str, float] = {}
    if role in TEACHERS:
        tokenizer = TEACHERS[role]()
        model = build_model(role, tokenizer)
        stages["training"] = train_on_sums(model, tokenizer, TEACHER_HABITS, TEACHER_TRAINING)
    else:
        tokenizer = build_student_tokenizer()
        model = build_model(role, tokenizer)
        stages["pretraining"] = train_on_sums(model, tokenizer, STUDENT_HABITS, STUDENT_PRETRAINING)
        scores["greedy_before_sft"] = accuracy(model, tokenizer, temperature=0.0)
        stages["sft"] = warm_start(model, tokenizer, assets / "sft.jsonl", STUDENT_SFT)
    scores["greedy"] = accuracy(model, tokenizer, temperature=0.0)
    scores["sampled"] = accuracy(model, tokenizer, temperature=1.0)
    print(f"{role}: {scores} (n = {NUM_HELD_OUT})", flush=True)
    tokenizer.save_pretrained(assets / role)
    model.save_pretrained(assets / role)
    return {"parameters": model.num_parameters(), "stages": stages, "exact_match": scores}


def write_sft_examples(path: Path) -> None:
    """Write the worked sums of the student's warm start."""
    rows = [{"prompt": p.prompt, "completion": p.solution} for p in problems("sft", NUM_SFT_EXAMPLES, SFT_SEED)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


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
    files = sorted([assets / "sft.jsonl", *(path for role in ROLES for path in (assets / role).iterdir())])
    record["sha256"] = {path.relative_to(assets).as_posix(): sha256(path.read_bytes()).hexdigest() for path in files}
    (assets / "BUILD.json").write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
