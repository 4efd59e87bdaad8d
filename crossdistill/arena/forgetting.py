"""Bits per byte of an unrelated text: what a training forgets."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from crossdistill.chat import stop_ids
from crossdistill.distill.student import collate, supervised_logprobs
from crossdistill.errors import InputError
from crossdistill.ops import micro_batches
from crossdistill.ops.mode import in_mode
from crossdistill.tokens import ByteVocab


def unrelated_lines(name: str) -> list[str]:
    """The lines of the unrelated text.

    Args:
        name: of its file.

    Raises:
        InputError: there is no such file, it is no UTF-8, or it has no text.
    """
    if not Path(name).is_file():
        raise InputError(f"there is no file {name}: give a text file, or leave it out.")
    try:
        lines = Path(name).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{name} cannot be read as UTF-8 ({error}): give a text file, or leave it out.") from None
    if not any(map(str.strip, lines)):
        raise InputError(f"{name} has no text: give a file with some, or leave it out.")
    return lines


def bits_per_byte(model: Any, tokenizer: Any, lines: Sequence[str]) -> float:
    """The bits that a model needs for a byte of a text, each line by itself.

    A line follows the tokenizer's first token of a sequence (BOS), or a stop token if it has none.

    Args:
        model: a Hugging Face causal language model, on its device.
        tokenizer: the model's.
        lines: of the text; empty ones do not count.

    Returns:
        ``- sum of log2 p / number of bytes``. It depends on how the tokenizer splits the text, so compare a model with
        itself alone.

    Raises:
        ValueError: there is no text.
    """
    vocab = ByteVocab.from_tokenizer(tokenizer, model.get_input_embeddings().weight.shape[0])
    rows = [vocab.encode(line).ids.tolist() for line in lines if line.strip()]
    num_bytes = sum(len(line.encode("utf-8")) for line in lines if line.strip())
    if not rows:
        raise ValueError("there is no line of text")
    first = [tokenizer.bos_token_id if tokenizer.bos_token_id is not None else stop_ids(tokenizer)[0]]
    nats, device = 0.0, next(model.parameters()).device
    with in_mode(model, training=False), torch.no_grad():
        for batch in micro_batches([1 + len(row) for row in rows], max_rows=64):
            inputs = collate([first] * len(batch), [rows[row] for row in batch], 0, device)
            nats -= float(supervised_logprobs(model, inputs, inputs["completion_mask"], 1.0).double().sum())
    return nats / math.log(2) / num_bytes
