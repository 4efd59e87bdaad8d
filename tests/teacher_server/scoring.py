"""Log-probabilities of a prompt at every position, from one plain forward pass."""

from dataclasses import dataclass
from typing import Any

import torch

_PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_OTHERS = [byte for byte in range(256) if byte not in _PRINTABLE]
GPT2_BYTES = [chr(byte) if byte in _PRINTABLE else chr(256 + _OTHERS.index(byte)) for byte in range(256)]


@dataclass(frozen=True)
class Entry:
    """One token at one position; its rank is 1 if it is the most probable."""

    logprob: float
    rank: int


Row = dict[int, Entry]
"""A position's tokens by id: the realised one first, then the most probable in order."""


class Scorer:
    """A model and its tokenizer; one sequence at a time."""

    def __init__(self, model: Any, tokenizer: Any):
        self.model, self.tokenizer = model.eval(), tokenizer
        self.max_length: int = model.config.max_position_embeddings
        self.vocab_size: int = model.config.vocab_size

    @torch.no_grad()
    def log_probs(self, ids: list[int]) -> torch.Tensor:
        """Nats, [len(ids), vocabulary]: row j is of the token after ids[: j + 1]."""
        return self.model(input_ids=torch.tensor([ids])).logits[0].float().log_softmax(-1)

    def encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False)

    def decode(self, token_id: int) -> str:
        return self.tokenizer.decode([token_id])

    def raw_bytes(self, token_id: int) -> bytes:
        """Bytes of a piece that is not UTF-8: one byte by its number, or characters in place of bytes as in GPT-2."""
        piece = self.tokenizer.convert_ids_to_tokens(token_id)
        return bytes.fromhex(piece[3:5]) if piece.startswith("<0x") else bytes(map(GPT2_BYTES.index, piece))


def prompt_rows(log_probs: torch.Tensor, ids: list[int], k: int) -> list[Row | None]:
    """One row for each position of the prompt; the first is None, because nothing predicts it."""
    return [None, *(row_of(log_probs[j], ids[j + 1], k) for j in range(len(ids) - 1))]


def row_of(log_probs: torch.Tensor, token_id: int, k: int) -> Row:
    """The token and the k most probable ones: k entries if it is among them, else k + 1."""
    chosen = log_probs[token_id]
    row = {token_id: Entry(chosen.item(), 1 + int((log_probs > chosen).sum()))}
    top = log_probs.topk(k)
    for rank, (logprob, other) in enumerate(zip(top.values.tolist(), top.indices.tolist(), strict=True), start=1):
        if other != token_id:
            row[other] = Entry(logprob, rank)
    return row


def wanted_row(log_probs: torch.Tensor, sampled: int, wanted: list[int]) -> Row:
    """The sampled token and the wanted ones."""
    return {
        token_id: Entry(log_probs[token_id].item(), 1 + int((log_probs > log_probs[token_id]).sum()))
        for token_id in (sampled, *wanted)
    }
