"""The ids that a tokenizer's own library gives to text in the middle of a conversation."""

from collections.abc import Callable, Sequence

from tests.matrix.loading import Real
from tests.matrix.truth import Rewriter

# after one of these a text is not at the start, where some tokenizers put a space before it
_ANCHORS = ("\n", "。", "|")


def own_ids(real: Real, text: str, rewrite: Rewriter) -> list[int] | None:
    """The tokenizer's ids of `text`, or None if they are not known.

    They are not known if the tokenizer drops part of the text, if the text contains the name of an added token (the
    library then reads a control token, which a response must never contain), or if every anchor merges with the
    beginning of the text.
    """
    if any(added in text for added in _added(real)):
        return None
    encode = _encoder(real)
    if real.vocab.kind in ("byte_level_bpe", "wordpiece", "longest_match"):
        return _if_whole(real, encode(text), text, rewrite)
    if text != text.strip():
        return None  # white space at the edges is kept or not depending on the position of the text
    for anchor in _ANCHORS:
        before, both = encode(anchor), encode(anchor + text)
        if before and both[: len(before)] == before:
            return _if_whole(real, both[len(before) :], text, rewrite)
    return None


def _if_whole(real: Real, ids: Sequence[int], text: str, rewrite: Rewriter) -> list[int] | None:
    joined = b"".join(real.pieces[index] for index in ids)
    return list(ids) if joined == rewrite(text.encode("utf-8")) else None


def _added(real: Real) -> list[str]:
    if real.backend is None:
        return []
    return [
        token.content for token in real.backend.get_added_tokens_decoder().values() if token.content.strip("▁ \n\t")
    ]


def _encoder(real: Real) -> Callable[[str], list[int]]:
    tokenizer, backend = real.tokenizer, real.backend
    if backend is not None:
        return lambda text: backend.encode(text, add_special_tokens=False).ids
    if hasattr(tokenizer, "encode_ordinary"):
        return tokenizer.encode_ordinary  # type: ignore[no-any-return]
    if hasattr(tokenizer, "encode_text"):
        return tokenizer.encode_text  # type: ignore[no-any-return]
    if hasattr(tokenizer, "idx2token"):
        return _longest_match(tokenizer.idx2token)
    return tokenizer.encode  # type: ignore[no-any-return]


def _longest_match(entries: dict[int, bytes]) -> Callable[[str], list[int]]:
    """The definition of RWKV's World tokenizer: each token is the longest entry that the rest begins with."""
    id_of = {entry: index for index, entry in entries.items()}
    longest = max(map(len, id_of))

    def encode(text: str) -> list[int]:
        rest, ids = text.encode("utf-8"), []
        while rest:
            size = next(size for size in range(longest, 0, -1) if rest[:size] in id_of)
            ids.append(id_of[rest[:size]])
            rest = rest[size:]
        return ids

    return encode
