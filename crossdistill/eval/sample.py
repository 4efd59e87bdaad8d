"""One graded sample of an evaluation: a line of ``samples/TASK.jsonl``."""

from dataclasses import asdict, dataclass
from typing import Any

from crossdistill.chat.messages import Prompt

_KINDS = {
    "problem": str,
    "index": int,
    "response": str,
    "finish_reason": str,
    "tokens": int,
    "correct": bool,
    "extracted": str | None,
    "prompt_tokens": int | None,
}
"""Types of the fields that scores are computed from."""


@dataclass(frozen=True)
class Sample:
    """A response to a problem, with its verdict. Everything else that an evaluation says is computed from these.

    Attributes:
        problem: id of the problem.
        index: which of the problem's samples, from 0.
        response: its text.
        finish_reason: "stop", "length" if it was cut at the limit, or what else a server says.
        tokens: number of sampled tokens, the stop token included.
        seconds: that it took; in a batch, from the batch's start to the response's end.
        correct: the grader's verdict.
        extracted: the answer that was read from it; None if none could be.
        reason: why it is wrong, if there is more to say.
        prompt: what the model was asked.
        prompt_tokens: number of tokens of the prompt, with the template's; None if a server does not tell.

    Example:
        >>> sample = Sample("0", 0, "It is 4.", "stop", 5, 0.1, correct=True, extracted="4")
        >>> Sample.from_dict(sample.as_dict()) == sample
        True
    """

    problem: str
    index: int
    response: str
    finish_reason: str
    tokens: int
    seconds: float
    correct: bool
    extracted: str | None = None
    reason: str | None = None
    prompt: Prompt = ""
    prompt_tokens: int | None = None

    @property
    def is_truncated(self) -> bool:
        """Whether it was cut at the limit."""
        return self.finish_reason == "length"

    def as_dict(self) -> dict[str, Any]:
        """The line, as JSON data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, line: dict[str, Any]) -> "Sample":
        """The sample of a line.

        Raises:
            TypeError: the line is of another form.
        """
        sample = cls(**line)
        for name, kind in _KINDS.items():
            if not isinstance(getattr(sample, name), kind):
                raise TypeError(f"{name} is of type {type(getattr(sample, name)).__name__}")
        return sample
