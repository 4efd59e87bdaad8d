"""Keeps names of control tokens in messages as text where transformers cannot do it (before 5.20).

The names are marked in the messages before the template is rendered, which sets them apart from the control tokens that
the template itself writes. Each marked name is then encoded as text. Later releases do the same if they are asked to
(`sanitize_control_tokens`).
"""

import inspect
import re
from typing import Any

from crossdistill.tokens.special_tokens import control_tokens

_START, _END = "\U000f0000", "\U000f0001"  # private use: taken out of the messages first
_MARKS = re.compile(f"[{_START}{_END}]")


def are_kept_by(tokenizer: Any) -> bool:
    """Whether the tokenizer's own `apply_chat_template` can keep names as text."""
    return "sanitize_control_tokens" in inspect.signature(tokenizer.apply_chat_template).parameters


def marked(tokenizer: Any, value: Any) -> Any:
    """A copy of messages or tools with marks around every name of a control token."""
    template = str(tokenizer.chat_template)
    names = control_tokens(tokenizer) | {
        token.content
        for token in tokenizer.added_tokens_decoder.values()
        if token.content.strip() and token.content in template
    }
    longest_first = sorted(names, key=len, reverse=True)
    return _marked(value, re.compile("|".join(map(re.escape, longest_first)) or "(?!)"))


def encode(tokenizer: Any, rendered: str) -> list[int]:
    """Token ids of a rendered text: marked names as text, the rest as usual.

    A mark that the template separated from its name still splits the text, so that no parts join into a control token.

    Raises:
        ValueError: the tokenizer encodes a name only as its control token.
    """
    names = "|".join(map(re.escape, sorted(tokenizer.get_added_vocab(), key=len, reverse=True))) or "(?!)"
    pieces = re.split(f"{_START}({names}){_END}?|{_MARKS.pattern}", rendered)
    ids: list[int] = tokenizer.encode(pieces[0], add_special_tokens=False)
    for index, piece in enumerate(pieces[1:], start=1):
        if not piece:
            continue
        as_text = index % 2 == 1
        piece_ids = _inner(tokenizer, piece, as_text)
        if as_text and tokenizer.convert_tokens_to_ids(piece) in piece_ids:
            raise ValueError(f"the tokenizer has no ids for {piece!r} as text")
        ids += piece_ids
    return ids


def _marked(value: Any, names: re.Pattern[str]) -> Any:
    if isinstance(value, str):
        return names.sub(f"{_START}\\g<0>{_END}", _MARKS.sub("", value))
    if isinstance(value, dict):
        return {key: _marked(entry, names) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_marked(entry, names) for entry in value]
    return value


def _inner(tokenizer: Any, piece: str, as_text: bool) -> list[int]:
    """Ids of a piece from inside a text. A newline in front keeps the tokenizer from adding a space."""

    def encode(text: str) -> list[int]:
        if as_text:
            return _plain(tokenizer, text)
        return list(tokenizer.encode(text, add_special_tokens=False))

    newline = list(tokenizer.encode("\n", add_special_tokens=False))
    ids = encode(f"\n{piece}")
    return ids[len(newline) :] if ids[: len(newline)] == newline else encode(piece)


def _plain(tokenizer: Any, text: str) -> list[int]:
    """Ids of a text without any added token."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return list(tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True))
    if backend.normalizer is not None:
        text = backend.normalizer.normalize_str(text)
    pieces = [text]
    if backend.pre_tokenizer is not None:
        pieces = [piece for piece, _ in backend.pre_tokenizer.pre_tokenize_str(text)]
    return [token.id for piece in pieces for token in backend.model.tokenize(piece)]
