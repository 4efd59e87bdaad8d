"""The ids that a tokenizer itself gives to text in the middle of a conversation, asked of its own library."""

from collections.abc import Callable, Sequence

from tests.matrix.loading import Real
from tests.matrix.truth import TokenNames

# with these in front a text is not at the start, where some tokenizers put a space before it
_ANCHORS = ("\n", "。", "|")


def own_ids(real: Real, text: str, spelling: TokenNames) -> list[int] | None:
    """Its ids for `text`, or None where it does not read the text whole or cannot be asked.

    It cannot be asked where the text spells an added token (then it reads control tokens out of text, as a response
    never should be read), or where every anchor becomes one token with the beginning of the text.
    """
    if any(added in text for added in _added(real)):
        return None
    encode = _encoder(real)
    if real.vocab.kind in ("byte_level_bpe", "wordpiece", "longest_match"):
        return _if_whole(real, encode(text), text, spelling)
    if text != text.strip():
        return None  # white space at the edges is cut off or kept by where the text stands
    for anchor in _ANCHORS:
        before, both = encode(anchor), encode(anchor + text)
        if before and both[: len(before)] == before:
            return _if_whole(real, both[len(before) :], text, spelling)
    return None


def _if_whole(real: Real, ids: Sequence[int], text: str, spelling: TokenNames) -> list[int] | None:
    spelled = b"".join(real.pieces[index] for index in ids)
    return list(ids) if spelled == spelling(text.encode("utf-8")) else None


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
    """The definition of RWKV's World tokenizer: again and again the longest entry that the rest begins with."""
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
