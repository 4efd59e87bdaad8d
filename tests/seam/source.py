"""A language small enough to enumerate, and its probabilities from the definition.

Two characters, written `a` and `b` here, and a stop `.`: a first-order Markov chain. A student reads it character by
character. A teacher reads it in the tokens aa, ab, b and a, where `a` alone stands only at the very end, because the
longest match is taken elsewhere.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

TOKENS = ("aa", "ab", "b", "a")  # longest match first


@dataclass(frozen=True)
class Source:
    """steps: the character before ("" at the start) -> probability of "a", "b" and "." next."""

    steps: dict[str, dict[str, float]]

    def prefix(self, text: str) -> float:
        """Probability that a string begins with `text`."""
        before = ["", *text]
        return math.prod(self.steps[last][char] for last, char in zip(before, text, strict=False))

    def string(self, text: str) -> float:
        """Probability of exactly `text`."""
        return self.prefix(text) * self.steps[text[-1:]]["."]

    def token_prefix(self, tokens: Sequence[str]) -> float:
        """Probability that the tokens of a string begin with `tokens`."""
        text = "".join(tokens)
        return self.string(text) if tokens and tokens[-1] == "a" else self.prefix(text)


def source(start: Sequence[float], after_a: Sequence[float], after_b: Sequence[float]) -> Source:
    rows = zip(("", "a", "b"), (start, after_a, after_b), strict=True)
    return Source({state: dict(zip("ab.", row, strict=True)) for state, row in rows})


def tokens_of(text: str) -> list[str]:
    """The longest match from left to right."""
    tokens = []
    while text:
        tokens.append(next(token for token in TOKENS if text.startswith(token)))
        text = text[len(tokens[-1]) :]
    return tokens


def strings(length: int) -> Iterator[str]:
    return map("".join, itertools.product("ab", repeat=length))


@dataclass(frozen=True)
class Outcome:
    """What a student may sample within its budget: `text`, and whether it ended it."""

    text: str
    stopped: bool

    def chunks(self, student: Source, teacher: Source) -> list[tuple[float, float]]:
        """(log p, log q) of every chunk: of each teacher token, then of the stop. By the masses of prefixes."""
        tokens, values = tokens_of(self.text), []
        for k, token in enumerate(tokens):
            start = "".join(tokens[:k])
            log_p = math.log(student.prefix(start + token) / student.prefix(start))
            log_q = math.log(teacher.token_prefix(tokens[: k + 1]) / teacher.token_prefix(tokens[:k]))
            values.append((log_p, log_q))
        if self.stopped:
            log_p = math.log(student.string(self.text) / student.prefix(self.text))
            values.append((log_p, math.log(teacher.string(self.text) / teacher.token_prefix(tokens))))
        return values

    def probability(self, student: Source) -> float:
        return student.string(self.text) if self.stopped else student.prefix(self.text)

    def teacher_probability(self, teacher: Source) -> float:
        return teacher.string(self.text) if self.stopped else teacher.token_prefix(tokens_of(self.text))


def outcomes(budget: int) -> list[Outcome]:
    """Everything that can be sampled in `budget` tokens, the stop included."""
    ended = [Outcome(text, True) for length in range(budget) for text in strings(length)]
    return ended + [Outcome(text, False) for text in strings(budget)]


def kl_of_strings(student: Source, teacher: Source) -> float:
    """KL over strings of any length, from the expected number of visits to each state."""
    a, b, start = (student.steps[state] for state in ("a", "b", ""))
    determinant = (1 - a["a"]) * (1 - b["b"]) - a["b"] * b["a"]
    visits = {
        "": 1.0,
        "a": (start["a"] * (1 - b["b"]) + start["b"] * b["a"]) / determinant,
        "b": (start["b"] * (1 - a["a"]) + start["a"] * a["b"]) / determinant,
    }
    return sum(
        visits[state] * p * math.log(p / teacher.steps[state][char])
        for state, row in student.steps.items()
        for char, p in row.items()
    )
