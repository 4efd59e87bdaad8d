"""Tokenizers named on the command line."""

from typing import Any

from crossdistill.errors import InputError
from crossdistill.tokens import ByteVocab


def load_tokenizer(name: str) -> Any:
    """The tokenizer in a folder or on the hub; InputError where there is none."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise InputError(f"there is no tokenizer at {name!r} ({reason}): give a model's folder or hub id.") from None


def load_vocab(name: str) -> ByteVocab:
    """Its vocabulary as bytes, verified."""
    return ByteVocab.from_tokenizer(load_tokenizer(name))
