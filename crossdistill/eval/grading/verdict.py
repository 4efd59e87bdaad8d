"""What a grader says of one response."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """Whether a response is right.

    Attributes:
        correct: whether it is.
        extracted: the answer that was read from it: an expression, a letter, a program; None if none could be.
        reason: why a response is wrong that a user would look at twice, such as "timed out" or "no answer is given".

    Example:
        >>> Verdict(correct=False, reason="no answer is given").parsed
        False
    """

    correct: bool
    extracted: str | None = None
    reason: str | None = None

    @property
    def parsed(self) -> bool:
        """Whether an answer could be read from the response."""
        return self.extracted is not None
