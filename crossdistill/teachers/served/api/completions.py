"""The dialect of OpenAI's ``/v1/completions``: a prompt is echoed with the log-probabilities of its tokens."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from crossdistill.teachers.served.api.answers import PromptLogprobs, field, number, realised, with_top
from crossdistill.teachers.served.api.dialect import Dialect
from crossdistill.teachers.served.api.token_names import Form, TokenNames
from crossdistill.teachers.served.http.errors import Malformed, Refused


@dataclass(frozen=True)
class Completions(Dialect):
    """``echo`` with ``logprobs``. Answers name tokens instead of giving ids.

    Attributes:
        names: of the teacher's tokens.
        tokenizer: the teacher's.
        form: in which the server names tokens.
        sends_text: whether the prompt is sent as text, to a server that takes no token ids. A sample whose ids do not
            decode to a text is then refused here, and one whose text the server splits into other tokens is malformed.
        num_generated: tokens that the server must generate, 0 or 1.
        asks_numbers: whether names of the form "token_id:12" are asked for, which some servers can give.
    """

    name = "completions"

    names: TokenNames
    tokenizer: Any
    form: Form = Form.TEXT
    sends_text: bool = False
    num_generated: int = 0
    asks_numbers: bool = False

    @classmethod
    def variants(cls, tokenizer: Any, names: TokenNames) -> Iterator[Dialect]:
        for sends_text, asks_numbers, num_generated in product((False, True), (True, False), (0, 1)):
            yield cls(names, tokenizer, Form.TEXT, sends_text, num_generated, asks_numbers)

    def body(self, ids: Sequence[int], top_k: int) -> dict[str, Any]:
        numbers = {"return_tokens_as_token_ids": True} if self.asks_numbers else {}
        return {
            "prompt": self._text(ids) if self.sends_text else list(ids),
            "max_tokens": self.num_generated,
            "temperature": 0,
            "echo": True,
            "logprobs": max(1, top_k),  # some servers take 0 for no
            **numbers,
        }

    def read(self, answer: Any, ids: Sequence[int], top_k: int) -> PromptLogprobs:
        return self.read_from(answer, ids, top_k, 0)

    def read_from(self, answer: Any, ids: Sequence[int], top_k: int, first: int) -> PromptLogprobs:
        difference = self.names.difference(self.tokens(answer), ids, self.form)
        if difference is not None:
            raise Malformed(f"the answer scores other tokens: {difference}")
        values = self._of_prompt(answer, "token_logprobs")
        if len(values) != len(ids):
            raise Malformed(f"the answer scores {len(values)} tokens instead of {len(ids)}")
        if values[0] is not None:
            raise Malformed("the answer scores the first token, which nothing precedes")
        logprobs = realised([number(value, f"at position {k + 1}") for k, value in enumerate(values[1:])])[first:]
        if top_k == 0:
            return PromptLogprobs(logprobs)
        rows = self._of_prompt(answer, "top_logprobs")
        if len(rows) != len(ids):
            raise Malformed(f"the answer has the most probable tokens at {len(rows)} of {len(ids)} positions")
        tops = [self._top(row, top_k, k) for k, row in enumerate(rows[first + 1 :], first + 1)]
        return with_top(tops, ids[first + 1 :], logprobs, first)

    def tokens(self, answer: Any) -> list[str | None]:
        names = self._of_prompt(answer, "tokens")
        if not all(isinstance(name, str) for name in names):
            raise Malformed("the answer names tokens by values that are not text")
        return names

    def adapted(self, answer: Any, ids: Sequence[int]) -> Dialect:
        """With the form in which this server names tokens."""
        return replace(self, form=self.names.form_of(self.tokens(answer), ids) or Form.TEXT)

    def naming_tokens(self) -> Dialect:
        """Without numbers: a number that the server was sent says nothing of its tokenizer."""
        return self if self.sends_text or not self.asks_numbers else replace(self, asks_numbers=False)

    @property
    def identifies_tokens(self) -> bool:
        return self.names.is_unique(self.form)

    def __str__(self) -> str:
        sent = "text" if self.sends_text else "token ids"
        return f"{self.name} ({sent} sent, tokens named by {self.form.value})"

    def _of_prompt(self, answer: Any, name: str) -> list[Any]:
        """A list with one entry a token, without the tokens that the server generated."""
        values = field(answer, "choices", 0, "logprobs", name)
        if not isinstance(values, list):
            raise Malformed(f"the answer has no list of {name}")
        return values[: len(values) - self.num_generated]

    def _top(self, row: Any, top_k: int, position: int) -> dict[int, float]:
        """The most probable tokens; servers may add the realised one."""
        if not isinstance(row, dict) or len(row) < top_k:
            raise Malformed(f"the answer does not name the {top_k} most probable tokens at position {position}")
        place = f"at position {position}"
        entries = {self.names.id_of(name, self.form): number(value, place) for name, value in row.items()}
        return dict(sorted(entries.items(), key=lambda item: -item[1])[:top_k])

    def _text(self, ids: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        if "\ufffd" in text:
            raise Refused(None, "the server takes only text, and these tokens end inside a character")
        return text
