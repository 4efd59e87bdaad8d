"""Names that servers give to tokens in place of their ids."""

from collections.abc import Sequence
from enum import Enum
from functools import cached_property
from typing import Any

from crossdistill.teachers.served.api.answers import ID_PREFIX, token_number
from crossdistill.teachers.served.http.errors import Malformed, quoted
from crossdistill.tokens import ByteVocab

_BYTES_PREFIX = "bytes:"
_REPLACEMENT = "\ufffd"


class Form(Enum):
    """A form in which a server names tokens.

    Attributes:
        NUMBER: the id, "token_id:12".
        ENTRY: the vocabulary's entry, "Ġthe".
        TEXT: what the token decodes to, " the".
    """

    NUMBER = "numbers"
    ENTRY = "vocabulary entries"
    TEXT = "text"


class TokenNames:
    """A vocabulary's tokens in every form that servers write.

    Args:
        tokenizer: the teacher's.
        vocab: the teacher's tokens as bytes, padding ids included.
    """

    def __init__(self, tokenizer: Any, vocab: ByteVocab):
        self._vocab = vocab
        names = {token_id: name for name, token_id in tokenizer.get_vocab().items()}
        self._entries = [names.get(token_id) for token_id in range(len(vocab))]

    @property
    def vocab_size(self) -> int:
        """Number of ids, padding included."""
        return len(self._vocab)

    def is_called(self, token_id: int, name: str | None, form: Form) -> bool:
        """Whether this can be the token's name in this form; always true if the server gives no name (None)."""
        if name is None:
            return True
        if form is Form.NUMBER:
            return name == f"{ID_PREFIX}{token_id}"
        return name == self._entry(token_id) if form is Form.ENTRY else self._is_text_of(token_id, name)

    def form_of(self, names: Sequence[str | None], ids: Sequence[int]) -> Form | None:
        """Return the form in which these are the names of the ids; None if there is no such form."""
        if len(names) != len(ids):
            return None
        pairs = list(zip(ids, names, strict=True))
        return next((form for form in Form if all(self.is_called(*pair, form) for pair in pairs)), None)

    def difference(self, names: Sequence[str | None], ids: Sequence[int], form: Form) -> str | None:
        """Describe the first token for which the server has another name; None if there is none."""
        for position, (token_id, name) in enumerate(zip(ids, names, strict=False)):
            if not self.is_called(token_id, name, form):
                return f"token {position} is {self.described(token_id)} here and {quoted(name)} there"
        return None if len(names) == len(ids) else f"{len(ids)} tokens here are {len(names)} there"

    def described(self, token_id: int) -> str:
        """Describe a token id by its bytes or its entry; it need not be in this vocabulary."""
        known = self._vocab.pieces[token_id] if 0 <= token_id < len(self._vocab) else b""
        return f"{token_id} ({known or self._entry(token_id) or 'unknown here'!r})"

    def is_unique(self, form: Form) -> bool:
        """Whether every name in this form belongs to one token only."""
        return form is Form.NUMBER or len(self._ids[form]) == len(self._known)

    def id_of(self, name: str, form: Form) -> int:
        """Return the id of the token with this name.

        Raises:
            Malformed: there is none.
        """
        is_number = form is Form.NUMBER
        token_id = token_number(name.removeprefix(ID_PREFIX)) if is_number else self._ids[form].get(name)
        if token_id is None or token_id >= len(self._vocab):
            raise Malformed(f"the answer has a token {quoted(name)}, which this vocabulary lacks")
        return token_id

    def _entry(self, token_id: int) -> str | None:
        return self._entries[token_id] if 0 <= token_id < len(self._entries) else None

    @cached_property
    def _ids(self) -> dict[Form, dict[str | None, int]]:
        return {
            Form.ENTRY: {self._entry(k): k for k in self._known},
            Form.TEXT: {self._text(k): k for k in self._known},
        }

    @cached_property
    def _known(self) -> list[int]:
        """Ids that the tokenizer knows: the model's vocabulary may have gaps and padding."""
        return [token_id for token_id, name in enumerate(self._entries) if name is not None]

    def _text(self, token_id: int) -> str:
        piece = self._vocab.pieces[token_id]
        if not piece:
            return self._entry(token_id) or ""
        try:
            return piece.decode("utf-8")
        except UnicodeDecodeError:
            return _escaped(piece)

    def _is_text_of(self, token_id: int, name: str) -> bool:
        """Decoded alone, some tokens lose their leading space, and part of a character is not text."""
        piece = self._vocab.pieces[token_id]
        text = self._text(token_id)
        if not piece:
            return name in {text, ""}
        if text.startswith(_BYTES_PREFIX):  # a part that completes a character may be shown as that character
            return name in {text, ""} or _REPLACEMENT in name or name.encode("utf-8", "replace").endswith(piece)
        return name in {text, text.removeprefix(" ")}


def _escaped(piece: bytes) -> str:
    return _BYTES_PREFIX + "".join(f"\\x{byte:02x}" for byte in piece)
