"""Tokenizers named on the command line."""

from typing import Any

from crossdistill.tokens import ByteVocab


def load_tokenizer(name: str) -> Any:
    """The tokenizer in a folder or on the hub; InputError where there is none."""
    from transformers import AutoTokenizer

    from crossdistill.train.checks import reading

    with reading("the tokenizer", name):
        return AutoTokenizer.from_pretrained(name)


def load_vocab(name: str) -> ByteVocab:
    """Its vocabulary as bytes, verified."""
    return ByteVocab.from_tokenizer(load_tokenizer(name))
