"""A student and a teacher of random weights with the shapes of real models, and tokenizers of their sizes: no download.

The tokenizers are BPE over bytes whose entries are made up from two shorter ones. Both have the first ones in common,
as those of real models have; the rest of each is its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from string import ascii_lowercase
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

STOP, PAD = "<stop>", "<pad>"
SHARED = 0.95
"""Share of the smaller vocabulary that both have: more than real models, whose text is made of the frequent entries. A
student of random weights samples all alike, and what the teacher lacks is many of its tokens.
"""
LONGEST = 14
WORDS = 0.9
"""Share of the entries that begin with a space."""
READY = "ready"
STUDENT = {
    "vocab_size": 151936,
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "tie_word_embeddings": True,
    "max_position_embeddings": 32768,
}
"""Of Qwen2.5-0.5B: 494 million parameters."""
TEACHER = {
    "vocab_size": 128256,
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "tie_word_embeddings": False,
    "max_position_embeddings": 32768,
}
"""Of Llama-3.2-1B, with a head of its own: 1.5 billion parameters."""
TINY = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}


@dataclass(frozen=True)
class Pair:
    """Folders of the two models."""

    student: str
    teacher: str


def saved_pair(folder: Path, device: str, small: bool) -> Pair:
    """The pair in a folder, built on the device if it is not there yet."""
    pair = Pair(str(folder / "student"), str(folder / "teacher"))
    if (folder / READY).exists():
        return pair
    sizes = STUDENT, TEACHER
    if small:
        sizes = {**TINY, "vocab_size": 1200}, {**TINY, "vocab_size": 900, "hidden_size": 48}
    shared = round(SHARED * min(size["vocab_size"] for size in sizes))
    for seed, (path, size) in enumerate(zip((pair.student, pair.teacher), sizes, strict=True)):
        _save(path, size, made_up_tokenizer(size["vocab_size"], shared, seed), device, seed)
    (folder / READY).touch()
    return pair


def _save(path: str, size: dict[str, Any], tokenizer: Any, device: str, seed: int) -> None:
    ids = {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    with torch.random.fork_rng(), torch.device(device):
        torch.manual_seed(seed)
        made = LlamaForCausalLM(LlamaConfig(**size, **ids)).to(torch.bfloat16)
    made.generation_config = GenerationConfig(**ids)
    made.save_pretrained(path)
    tokenizer.save_pretrained(path)


def made_up_tokenizer(size: int, shared: int, seed: int) -> PreTrainedTokenizerFast:
    """BPE over bytes with `size` entries, of which the first `shared` are the same for every seed.

    Example:
        >>> ours, theirs = (made_up_tokenizer(size, 600, seed) for seed, size in enumerate((1000, 800)))
        >>> len(ours), len(theirs), 600 <= len(ours.get_vocab().keys() & theirs.get_vocab().keys()) < 800
        (1000, 800, True)
        >>> ours.decode(ours("any text")["input_ids"])
        'any text'
    """
    entries = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges: list[tuple[str, str]] = []
    _grow(entries, merges, shared, Random(-1))  # noqa: S311 - reproducible, not secret
    _grow(entries, merges, size - 2, Random(seed))  # noqa: S311
    vocabulary = {entry: token_id for token_id, entry in enumerate(entries)}
    backend = Tokenizer(models.BPE(vocabulary, merges, ignore_merges=True))  # a word that is an entry stays whole
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token=STOP,
        pad_token=PAD,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def _grow(entries: list[str], merges: list[tuple[str, str]], size: int, rng: Random) -> None:
    """Add entries of two earlier ones; most begin with a space, and are words."""
    made, taken = ["".join(pair) for pair in merges], set(entries)
    words = ["Ġ", *(entry for entry in made if entry.startswith("Ġ"))]
    inner = [*ascii_lowercase, *(entry for entry in made if not entry.startswith("Ġ"))]
    while len(entries) < size:
        begins = words if rng.random() < WORDS else inner
        pair = _early(begins, rng), _early(inner, rng)
        entry = "".join(pair)
        if len(entry) <= LONGEST and entry not in taken:
            taken.add(entry)
            entries.append(entry)
            merges.append(pair)
            begins.append(entry)


def _early(items: Sequence[str], rng: Random) -> str:
    """A random one; the first ones are more probable."""
    return items[int(len(items) * rng.random() ** 2)]
