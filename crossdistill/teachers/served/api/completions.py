"""The plain OpenAI form of ``/v1/completions``: a prompt that is echoed with the log-probabilities of its tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from crossdistill.teachers.served.api.dialect import PromptLogprobs, field, number, sound, with_top
from crossdistill.teachers.served.api.token_names import Form, TokenNames
from crossdistill.teachers.served.http.errors import Malformed, Refused


@dataclass(frozen=True)
class Completions:
    """``echo`` with ``logprobs``.

    Args:
        spelling, tokenizer: of the teacher.
        form: in which the server names tokens.
        sends_text: where the server takes no token ids: a sample is refused here where text cannot stand for its ids,
            and is malformed where the server cuts the text into other tokens.
        num_generated: tokens that the server must write, 0 or 1.
        asks_numbers: for names of the form "token_id:12", which some servers can give.
    """

    spelling: TokenNames
    tokenizer: Any
    form: Form = Form.TEXT
    sends_text: bool = False
    num_generated: int = 0
    asks_numbers: bool = False
    name: str = "completions"
    path: str = "/v1/completions"

    def body(self, ids: Sequence[int], top_k: int) -> dict[str, Any]:
        asks = {"return_tokens_as_token_ids": True} if self.asks_numbers else {}
        return {
            "prompt": self._text(ids) if self.sends_text else list(ids),
            "max_tokens": self.num_generated,
            "temperature": 0,
            "echo": True,
            "logprobs": max(1, top_k),  # some servers take 0 for no
            **asks,
        }

    def read(self, answer: Any, ids: Sequence[int], top_k: int) -> PromptLogprobs:
        difference = self.spelling.difference(self.tokens(answer), ids, self.form)
        if difference is not None:
            raise Malformed(f"the answer scores other tokens: {difference}")
        values = self._scored(answer, "token_logprobs")
        if len(values) != len(ids) or values[0] is not None:
            raise Malformed(f"the answer scores {len(values)} tokens, the first too or not at all, of {len(ids)}")
        logprobs = sound([number(value, f"at position {k + 1}") for k, value in enumerate(values[1:])])
        if top_k == 0:
            return PromptLogprobs(logprobs)
        rows = self._scored(answer, "top_logprobs")
        if len(rows) != len(ids):
            raise Malformed(f"the answer has the most probable tokens at {len(rows)} positions of {len(ids)}")
        tops = [self._top(row, top_k, k + 1) for k, row in enumerate(rows[1:])]
        return with_top(tops, ids[1:], logprobs)

    def tokens(self, answer: Any) -> list[str | None]:
        names = self._scored(answer, "tokens")
        if not all(isinstance(name, str) for name in names):
            raise Malformed("the answer names tokens that are no text")
        return names

    def next_body(self, ids: Sequence[int], wanted: Sequence[int]) -> dict[str, Any] | None:
        return None

    def read_next(self, answer: Any, wanted: Sequence[int]) -> np.ndarray:
        raise NotImplementedError("this dialect does not ask for what comes next")

    def _scored(self, answer: Any, name: str) -> list[Any]:
        """A list with one entry a token, without those that the server wrote."""
        values = field(answer, "choices", 0, "logprobs", name)
        if not isinstance(values, list):
            raise Malformed(f"the answer has no list of {name}")
        return values[: len(values) - self.num_generated]

    def _top(self, row: Any, top_k: int, position: int) -> dict[int, float]:
        """The most probable; servers may add the token that is there."""
        if not isinstance(row, dict) or len(row) < top_k:
            raise Malformed(f"the answer does not name the {top_k} most probable tokens at position {position}")
        place = f"at position {position}"
        entries = {self.spelling.id_of(name, self.form): number(value, place) for name, value in row.items()}
        return dict(sorted(entries.items(), key=lambda item: -item[1])[:top_k])

    def _text(self, ids: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        if "\ufffd" in text:
            raise Refused(None, "the server takes text alone, and these tokens end inside a character")
        return text
