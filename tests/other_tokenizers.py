"""Tokenizer objects of other libraries, made in process: deterministic, no network."""

import io
import json
from typing import Any

import sentencepiece
import tiktoken
from transformers import ByT5Tokenizer

from crossdistill.tokens import World
from crossdistill.tokens.families.byte_level import piece_to_bytes
from tests.tokenizers_in_process import CORPUS, byte_level

_GPT2_PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"
TIKTOKEN_SPECIAL = {"<|endoftext|>": 500, "<|fim|>": 503}  # with unused ids before and between them


def merges(num_merges: int) -> list[bytes]:
    """The merged entries, as bytes in order, of a byte-level BPE trained on the corpus."""
    learner = byte_level(num_merges=num_merges, special=(), ordinary=())
    pairs = json.loads(learner.to_str())["model"]["merges"]
    return [piece_to_bytes(left + right) for left, right in pairs]


def tiktoken_encoding() -> tiktoken.Encoding:
    entries = [*(bytes([byte]) for byte in reversed(range(256))), *merges(120)]
    ranks = {data: rank for rank, data in enumerate(dict.fromkeys(entries))}
    return tiktoken.Encoding("small", pat_str=_GPT2_PATTERN, mergeable_ranks=ranks, special_tokens=TIKTOKEN_SPECIAL)


class Tekken:
    """The attributes of Mistral's tekken that are used: a tiktoken encoding after control tokens with the first ids."""

    num_special_tokens = 10

    def __init__(self) -> None:
        encoding = tiktoken_encoding()
        self._model = tiktoken.Encoding(
            "tekken", pat_str=_GPT2_PATTERN, mergeable_ranks=encoding._mergeable_ranks, special_tokens={}
        )

    def id_to_byte_piece(self, token_id: int) -> bytes:
        if token_id < self.num_special_tokens:
            return b""
        return self._model.decode_single_token_bytes(token_id - self.num_special_tokens)

    def encode(self, text: str, bos: bool, eos: bool) -> list[int]:
        return [token_id + self.num_special_tokens for token_id in self._model.encode(text)]


class Wrapper:
    """Wraps a tokenizer as a chat tokenizer does."""

    def __init__(self, tokenizer: Any):
        self.tokenizer = tokenizer


def world() -> World:
    """Ids start at 1, as in RWKV's own vocabulary: 0 is the end of text and carries no bytes."""
    words = sorted({word.encode() for text in CORPUS for word in text.split(" ")} | {b"\n\n", b"  ", " 你好".encode()})
    entries = [*(bytes([byte]) for byte in range(256)), *(word for word in words if len(word) > 1)]
    return World(dict(enumerate(entries, 1)))


def processor(model_type: str, **options: Any) -> sentencepiece.SentencePieceProcessor:
    """A SentencePiece model trained on the corpus."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([*CORPUS] * 20),
        model_writer=model,
        model_type=model_type,
        hard_vocab_limit=False,
        minloglevel=2,
        user_defined_symbols=["<think>"],
        control_symbols=["<|im_end|>"],
        **options,
    )
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def llama() -> sentencepiece.SentencePieceProcessor:
    """BPE with byte fallback that leaves the text as it is, with a dummy prefix."""
    return processor(
        "bpe",
        vocab_size=560,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        character_coverage=0.98,
    )


def t5() -> sentencepiece.SentencePieceProcessor:
    """Unigram without byte fallback that composes compatibility forms and strips white space."""
    return processor("unigram", vocab_size=260, character_coverage=0.98)


BUILDERS = {
    "tiktoken": tiktoken_encoding,
    "tekken": Tekken,
    "world": world,
    "llama.model": llama,
    "t5.model": t5,
    "byt5": ByT5Tokenizer,
}
SPELLING_NAMES = ("tiktoken", "tekken", "world", "llama.model", "byt5")
