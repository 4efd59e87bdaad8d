"""Training of the tiny models that come with the repository: next-token training on worked examples, on one thread."""

import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers import (
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from crossdistill.eval.task import Task, TaskOptions
from crossdistill.runs.accuracy import ACCURACY
from crossdistill.runs.evaluate import evaluate_model

WEIGHT_SEED, DATA_SEED = 3, 4

Example = tuple[list[int], list[int]]  # prompt ids, completion ids


@dataclass(frozen=True)
class Stage:
    """One run of next-token training: AdamW under a one-cycle learning rate."""

    steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float = 0.01


def build_student(tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """A Qwen3 of three layers with random weights."""
    torch.manual_seed(WEIGHT_SEED)
    config = Qwen3Config(**_sizes(tokenizer), **_stops(tokenizer), num_hidden_layers=3)
    return _with_plain_sampling(Qwen3ForCausalLM(config), tokenizer)


def build_teacher(tokenizer: PreTrainedTokenizerFast, num_layers: int = 4) -> PreTrainedModel:
    """A Llama with random weights."""
    torch.manual_seed(WEIGHT_SEED)
    config = LlamaConfig(**_sizes(tokenizer), **_stops(tokenizer), num_hidden_layers=num_layers)
    return _with_plain_sampling(LlamaForCausalLM(config), tokenizer)


def _sizes(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 128,
        "intermediate_size": 384,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "head_dim": 32,
        "max_position_embeddings": 256,
        "tie_word_embeddings": True,
    }


def _stops(tokenizer: PreTrainedTokenizerFast) -> dict[str, int | None]:
    return {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}


def _with_plain_sampling(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    model.generation_config = GenerationConfig(do_sample=True, temperature=1.0, top_k=0, top_p=1.0, **_stops(tokenizer))
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


def encode_text(tokenizer: PreTrainedTokenizerFast, text: str) -> Example:
    """A text outside any conversation, with its stop."""
    return [], [*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id]


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


def train(model: PreTrainedModel, draw: Callable[[], Example], stage: Stage) -> dict[str, Any]:
    """Run one stage on independently drawn examples and return its record."""
    start = time.perf_counter()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=stage.learning_rate, betas=(0.9, 0.98), weight_decay=stage.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, stage.learning_rate, total_steps=stage.steps, pct_start=0.1
    )
    batches = draw_batches(draw, stage.batch_size)
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
    return {**asdict(stage), "seconds": round(time.perf_counter() - start)}


def draw_batches(draw: Callable[[], Example], batch_size: int) -> Iterator[list[Example]]:
    """An endless stream of batches of independently drawn examples."""
    while True:
        yield [draw() for _ in range(batch_size)]


def warm_start(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, worked: Sequence[tuple[str, str]], stage: Stage
) -> dict[str, Any]:
    """Fine-tune on worked examples, each a prompt and a completion; return the record of the stage."""
    rng = random.Random(DATA_SEED)  # noqa: S311
    examples = [encode_example(tokenizer, prompt, completion) for prompt, completion in worked]
    return {**train(model, lambda: rng.choice(examples), stage), "examples": len(examples)}


def accuracy(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, task: Task, *, temperature: float, seed: int
) -> float:
    """Share of the task's problems solved, greedily or sampled."""
    sampling = replace(task.sampling, temperature=temperature, seed=seed)
    with TemporaryDirectory() as folder:
        found = evaluate_model(model, tokenizer, task, TaskOptions(), sampling, Path(folder), is_quiet=True)
    share: float = found["tasks"][task.name]["metrics"][ACCURACY]["mean"]
    return share


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write weights, configurations and tokenizer into the folder."""
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)


def digests(root: Path, files: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of each file, by its path below the root, in the order of paths."""
    return {path.relative_to(root).as_posix(): sha256(path.read_bytes()).hexdigest() for path in sorted(files)}
