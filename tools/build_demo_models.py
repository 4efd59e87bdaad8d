"""Rebuild the embedded demo's tokenizers, models and examples from nothing (no network, a few minutes on two cores).

The teacher sees as many worked sums as it likes. The student is first pretrained on related text (`pretraining_text`), as
a real base model is, and then fine-tuned on a few worked sums (`sft.jsonl`): it knows the form, and is right some of the
time. Every number that went in or came out is recorded in `BUILD.json`.
"""

import argparse
import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import (
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from crossdistill.demo.task import Problem, grade, number_words, problems

STUDENT_SPECIALS = ["<|pad|>", "<|user|>", "<|assistant|>", "<|end|>"]
STUDENT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
TEACHER_SPECIALS = ["<pad>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
TEACHER_TEMPLATE = (
    "<bos>{% for message in messages %}<start_of_turn>"
    "{{ 'model' if message['role'] == 'assistant' else message['role'] }}\n{{ message['content'] }}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
STUDENT_MERGES = 50
TEACHER_MERGES = 70
# Training the teacher's merges keeps words whole except here, so that tokens such as "▁hundred▁and" cross a border.
TEACHER_WORD_BORDER = "▁(?!and|is)"

TOKENIZER_SEED, SFT_SEED, HELD_OUT_SEED, WEIGHT_SEED, DATA_SEED = 0, 1, 2, 3, 4

Example = tuple[list[int], list[int]]  # prompt ids, completion ids


@dataclass(frozen=True)
class Stage:
    """One run of next-token training: AdamW under a one-cycle learning rate."""

    steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float = 0.01


def tokenizer_corpus() -> list[str]:
    """Problems and solutions, one text a line."""
    return [text for p in problems("train", 3000, TOKENIZER_SEED) for text in (p.prompt, p.solution)]


def build_student_tokenizer() -> PreTrainedTokenizerFast:
    """GPT-2 style: BPE over bytes, all 256 in the alphabet, no merge across a word border."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=len(STUDENT_SPECIALS) + 256 + STUDENT_MERGES,
        special_tokens=STUDENT_SPECIALS,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(tokenizer_corpus(), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|end|>",
        pad_token="<|pad|>",
        additional_special_tokens=["<|user|>", "<|assistant|>"],
        chat_template=STUDENT_TEMPLATE,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def learn_teacher_merges() -> tuple[list[str], list[list[str]]]:
    """Characters and merges of a BPE over text whose spaces read "▁"."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(TEACHER_WORD_BORDER), "merged_with_next")
    corpus = tokenizer_corpus() + ["user", "model"]
    characters = sorted(set("".join(corpus).replace(" ", "▁")))
    trainer = trainers.BpeTrainer(vocab_size=len(characters) + TEACHER_MERGES, show_progress=False)
    tokenizer.train_from_iterator(corpus, trainer)
    return characters, json.loads(tokenizer.to_str())["model"]["merges"]


def build_teacher_tokenizer() -> PreTrainedTokenizerFast:
    """Gemma style: BPE over characters with spaces as "▁", no pre-tokenizer, 256 byte tokens to fall back on."""
    characters, merges = learn_teacher_merges()
    byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    # dict.fromkeys, because two merges may build the same token.
    pieces = dict.fromkeys(
        TEACHER_SPECIALS + byte_tokens + characters + [left + right for left, right in merges]
    )
    tokenizer = Tokenizer(
        models.BPE(
            vocab={piece: index for index, piece in enumerate(pieces)},
            merges=[(left, right) for left, right in merges],
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<bos>",
        eos_token="<end_of_turn>",
        unk_token="<unk>",
        pad_token="<pad>",
        additional_special_tokens=["<start_of_turn>"],
        chat_template=TEACHER_TEMPLATE,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def build_student_model(tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """A Qwen3 with random weights."""
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=32,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(WEIGHT_SEED)
    return with_generation_config(Qwen3ForCausalLM(config), tokenizer)


def build_teacher_model(tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """A Llama with random weights."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(WEIGHT_SEED)
    return with_generation_config(LlamaForCausalLM(config), tokenizer)


def with_generation_config(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """Set the defaults that `generate` reads: sample at temperature 1, stop at the end of the turn."""
    model.generation_config = GenerationConfig(
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return model


def encode_prompt(tokenizer: PreTrainedTokenizerFast, prompt: str) -> list[int]:
    """The ids of one user turn, up to where the answer starts."""
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}], add_generation_prompt=True, tokenize=False
    )
    return tokenizer.encode(text, add_special_tokens=False)


def encode_example(tokenizer: PreTrainedTokenizerFast, prompt: str, completion: str) -> Example:
    """Prompt and completion tokenised apart, so that no token spans both; the completion ends in the stop token."""
    completion_ids = tokenizer.encode(completion, add_special_tokens=False) + [tokenizer.eos_token_id]
    return encode_prompt(tokenizer, prompt), completion_ids


def partial_results(prompt: str, hundreds: int, tens: int, ones: int, answer: int) -> tuple[str, str]:
    """A prompt and a worked completion in the task's form."""
    return prompt, f"{number_words(hundreds)} and {number_words(tens)} and {number_words(ones)} is {number_words(answer)}"


def difference_text(rng: random.Random) -> tuple[str, str]:
    """A worked difference without borrowing: the form of the task, with another operation."""
    left, right = zip(*(sorted((rng.randint(0, 9), rng.randint(0, 9)), reverse=True) for _ in range(3)), strict=True)
    hundreds, tens, ones = ((high - low) * place for high, low, place in zip(left, right, (100, 10, 1), strict=True))
    first, second = (digits[0] * 100 + digits[1] * 10 + digits[2] for digits in (left, right))
    prompt = f"{number_words(first)} minus {number_words(second)}"
    return partial_results(prompt, hundreds, tens, ones, hundreds + tens + ones)


def place_sum_text(rng: random.Random) -> tuple[str, str]:
    """A sum of two digits of one place."""
    place = rng.choice((1, 10, 100))
    left, right = (rng.randint(0, 4 if place == 100 else 9) * place for _ in range(2))
    return f"{number_words(left)} plus {number_words(right)}", number_words(left + right)


def slipping_sum_text(rng: random.Random, problem_pairs: list[tuple[int, int]], slip: float) -> tuple[str, str]:
    """A worked sum of the task in which each partial sum, and the answer, is replaced at random with probability `slip`.

    What follows a slip follows *from* it. A teacher of such text is right when it decodes greedily, gives mistakes a
    finite log-probability, and can go on from a mistake that a student made.
    """
    left, right = rng.choice(problem_pairs)
    digits = [(left // place % 10 + right // place % 10) for place in (100, 10, 1)]
    largest = (9, 18, 18)
    digits = [
        rng.randint(0, top) if rng.random() < slip else digit
        for digit, top in zip(digits, largest, strict=True)
    ]
    hundreds, tens, ones = (d * p for d, p in zip(digits, (100, 10, 1), strict=True))
    answer = min(hundreds + tens + ones, 999)
    if rng.random() < slip:
        answer = rng.randint(0, 999)
    return partial_results(f"{number_words(left)} plus {number_words(right)}", hundreds, tens, ones, answer)


def pretraining_text(rng: random.Random) -> tuple[str, str]:
    """A text near the task but not of it."""
    return (difference_text if rng.random() < 0.6 else place_sum_text)(rng)


def collate(examples: list[Example], pad_id: int) -> dict[str, torch.Tensor]:
    """Right-padded `input_ids`, `attention_mask` and `labels`, each [batch, position]; the loss is on completions only."""
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
    """Batches of independently drawn examples, without end."""
    while True:
        yield [draw() for _ in range(batch_size)]


@torch.no_grad()
def accuracy(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, held_out: list[Problem]) -> float:
    """Share of problems solved by greedy decoding."""
    model.eval()
    correct = 0
    for start in range(0, len(held_out), 125):
        batch = held_out[start : start + 125]
        prompts = [encode_prompt(tokenizer, p.prompt) for p in batch]
        inputs = tokenizer.pad({"input_ids": prompts}, return_tensors="pt")
        output = model.generate(**inputs, do_sample=False, max_new_tokens=48)
        responses = tokenizer.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        correct += sum(grade(p, response) for p, response in zip(batch, responses, strict=True))
    return correct / len(held_out)
