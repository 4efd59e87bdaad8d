"""ByT5, and the check of slow Hugging Face tokenizers: those in Python, without a ``tokenizers`` object inside."""

from typing import Any

from crossdistill.errors import InputError
from crossdistill.tokens.source import PROBE_TEXTS, ByteSource, Source, VocabEntries, byte_ids_of
from crossdistill.tokens.special_tokens import control_tokens

_ANCHOR = "#"  # hardly anything merges with it, so the text after it is tokenised as in mid-text


class ByT5Source(ByteSource):
    """A tokenizer whose tokens are the single bytes of the text (ByT5).

    Args:
        tokenizer: a slow Hugging Face tokenizer.

    Raises:
        InputError: the vocabulary is of another kind.
    """

    def __init__(self, tokenizer: Any):
        added = tokenizer.added_tokens_decoder
        pieces = [b""] * len(tokenizer)
        for token, token_id in tokenizer.get_vocab().items():
            if token_id not in added and len(token) == 1 and ord(token) < 256:
                pieces[token_id] = bytes([ord(token)])
        self.entries = VocabEntries("bytes", pieces, byte_ids_of(pieces))
        if None in self.entries.byte_ids:
            raise InputError(
                f"{type(tokenizer).__name__} is a slow tokenizer of an unsupported kind, so its bytes cannot be "
                "verified; load it with AutoTokenizer and use_fast=True, or convert it to a tokenizer.json."
            )

    def ids(self, text: str) -> list[int]:
        return self.merged(text.encode("utf-8"))

    def merged(self, data: bytes) -> list[int]:
        ids = (self.entries.byte_ids[byte] for byte in data)
        return [token_id for token_id in ids if token_id is not None]


def check_same_ids(tokenizer: Any, source: Source) -> None:
    """Check that `source` gives known texts, after an anchor, the ids that the slow `tokenizer` gives them.

    Raises:
        InputError: the ids of a text differ.
    """
    before = list(tokenizer.encode(_ANCHOR, add_special_tokens=False))
    control = control_tokens(tokenizer)
    words = [token.content for token in tokenizer.added_tokens_decoder.values() if token.content not in control]
    for text in [*PROBE_TEXTS, *words]:
        whole, ours = list(tokenizer.encode(_ANCHOR + text, add_special_tokens=False)), source.ids(text)
        if whole[: len(before)] != before or whole[len(before) :] != ours:
            raise InputError(
                f"{type(tokenizer).__name__} gives {_ANCHOR + text!r} the ids {whole}, but its vocabulary read as "
                f"bytes gives {before} and {ours}; it cannot be verified, so it is refused; load it with AutoTokenizer "
                "and use_fast=True, or convert it to a tokenizer.json."
            )
