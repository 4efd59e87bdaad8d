"""A tiny student and a tiny teacher with other tokenizers, templates and stop tokens, saved as users have them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tests.tokenizers_in_process import byte_level, sentencepiece

STUDENT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
TEACHER_TEMPLATE = (
    "<bos>{% for message in messages %}<turn>{{ message['role'] }}\n{{ message['content'] }}<stop>\n{% endfor %}"
    "{% if add_generation_prompt %}<turn>assistant\n{% endif %}"
)
STUDENT_CONTEXT, TEACHER_CONTEXT = 128, 256
PADDING_IDS = 6  # ids that the student's model can emit and its tokenizer does not know
TEXTS = [
    "Add 12 and 30.",
    "The quick brown fox",
    "naïve café: déjà vu?",
    "你好，世界。",
    "Привет, мир!",
    "Great job 🤗!",
    "x ≥ 2√2",
    "def f(x):  return x",
]
MESSAGES = [[{"role": "user", "content": text}] for text in TEXTS]


@dataclass(frozen=True)
class Pair:
    """Folders of the two models."""

    student: str
    teacher: str


def student_tokenizer() -> PreTrainedTokenizerFast:
    backend = byte_level(num_merges=60, special=("<|pad|>", "<|user|>", "<|assistant|>", "<|end|>"), ordinary=())
    return _fast(backend, "<|end|>", "<|pad|>", STUDENT_TEMPLATE)


def teacher_tokenizer() -> PreTrainedTokenizerFast:
    backend = sentencepiece(num_merges=120, special=("<pad>", "<bos>", "<turn>", "<stop>"), ordinary=())
    return _fast(backend, "<stop>", "<pad>", TEACHER_TEMPLATE, bos_token="<bos>")


def student_model(tokenizer: PreTrainedTokenizerFast, seed: int = 0) -> Any:
    return _llama(tokenizer, seed, padding=PADDING_IDS, width=32, layers=1, context=STUDENT_CONTEXT)


def teacher_model(tokenizer: PreTrainedTokenizerFast, seed: int = 1) -> Any:
    return _llama(tokenizer, seed, padding=0, width=48, layers=2, context=TEACHER_CONTEXT)


def save_student(folder: Path) -> str:
    return _save(folder, student_tokenizer(), student_model)


def save_teacher(folder: Path) -> str:
    return _save(folder, teacher_tokenizer(), teacher_model)


def save_pair(folder: Path) -> Pair:
    return Pair(save_student(folder / "student"), save_teacher(folder / "teacher"))


def _save(folder: Path, tokenizer: PreTrainedTokenizerFast, build: Any) -> str:
    build(tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def _fast(backend: Tokenizer, eos: str, pad: str, template: str, **special: str) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token=eos,
        pad_token=pad,
        chat_template=template,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        **special,
    )


def _llama(tokenizer: PreTrainedTokenizerFast, seed: int, padding: int, width: int, layers: int, context: int) -> Any:
    """Random weights; the stop token's logits vary more than the others', so that some responses end and some not."""
    ids = {name: getattr(tokenizer, f"{name}_id") for name in ("bos_token", "eos_token", "pad_token")}
    config = LlamaConfig(
        vocab_size=len(tokenizer) + padding,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=context,
        initializer_range=0.3,
        tie_word_embeddings=False,
        **ids_of(ids),
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        model.lm_head.weight[tokenizer.eos_token_id] *= 1.2
    model.generation_config = GenerationConfig(**ids_of(ids))
    return model


def ids_of(ids: dict[str, int | None]) -> dict[str, int | None]:
    return {f"{name}_id": value for name, value in ids.items()}
