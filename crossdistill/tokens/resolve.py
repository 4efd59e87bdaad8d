"""Finds the source for a tokenizer object, by its capabilities and never by its name."""

from collections.abc import Collection, Mapping
from typing import Any

from crossdistill.errors import InputError
from crossdistill.tokens.backends.byt5 import ByT5Source, check_same_ids
from crossdistill.tokens.backends.huggingface import HuggingFaceSource
from crossdistill.tokens.backends.rwkv import RwkvSource
from crossdistill.tokens.backends.sentencepiece import SentencePieceSource
from crossdistill.tokens.backends.tiktoken import TiktokenSource
from crossdistill.tokens.cache import stored_entries
from crossdistill.tokens.source import Source
from crossdistill.tokens.special_tokens import control_tokens

# attributes in which wrappers keep the object that does the work
_INNER = ("tokenizer", "instruct_tokenizer", "sp_model", "trie_tokenizer", "model", "_model")
_MAX_DEPTH = 4


def source_of(tokenizer: Any, text_tokens: Collection[str] = ()) -> Source:
    """The source for a tokenizer object of any supported kind, wrapped or not.

    Args:
        tokenizer: as for :meth:`crossdistill.ByteVocab.from_tokenizer`.
        text_tokens: special tokens of a Hugging Face tokenizer that are words: they carry the bytes of their name.

    Raises:
        InputError: the object is not a supported tokenizer, or gives other ids than its wrapper does.
    """
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if _has(backend, "get_added_tokens_decoder", "pre_tokenizer"):
        control = control_tokens(tokenizer, text_tokens)
        return HuggingFaceSource(backend, control, stored_entries(tokenizer, backend, control))
    is_slow = _has(tokenizer, "added_tokens_decoder", "get_vocab")
    if is_slow and not control_tokens(tokenizer).isdisjoint(text_tokens):
        raise InputError(
            f"text_tokens names {', '.join(sorted(text_tokens))}, but {type(tokenizer).__name__} is not a fast "
            "tokenizer: use a fast one, or leave them out."
        )
    source = _unwrapped(tokenizer)
    if source is None and is_slow:
        source = ByT5Source(tokenizer)
    if source is not None:
        if is_slow:
            check_same_ids(tokenizer, source)
        return source
    raise InputError(
        f"{type(tokenizer).__name__} is not a supported tokenizer: pass a Hugging Face tokenizer, a "
        "tokenizers.Tokenizer, a tiktoken.Encoding, a tekken tokenizer, a SentencePieceProcessor or an RWKV World "
        "vocabulary (crossdistill.tokens.World)."
    )


def _unwrapped(tokenizer: Any, depth: int = 0) -> Source | None:
    """The source for `tokenizer` or for the object that it wraps, None if neither is of a supported kind."""
    if _has(tokenizer, "encode_ordinary", "decode_single_token_bytes"):
        return TiktokenSource(tokenizer)
    if _has(tokenizer, "id_to_byte_piece", "num_special_tokens"):
        return TiktokenSource(tokenizer._model, offset=tokenizer.num_special_tokens)
    if _has(tokenizer, "serialized_model_proto"):
        return SentencePieceSource(tokenizer)
    if isinstance(getattr(tokenizer, "idx2token", None), Mapping):
        return RwkvSource(tokenizer.idx2token)
    inner = (getattr(tokenizer, name, None) for name in _INNER)
    found = (_unwrapped(part, depth + 1) for part in inner if part is not None and depth < _MAX_DEPTH)
    return next((source for source in found if source is not None), None)


def _has(tokenizer: Any, *names: str) -> bool:
    return all(hasattr(tokenizer, name) for name in names)
