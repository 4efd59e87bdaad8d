"""Sums in number words: the verifiable task of the demo.

A problem reads ``one hundred eighty-four plus three hundred fifty-seven``. Its worked solution adds hundreds, tens and
ones separately and joins them: ``four hundred and one hundred thirty and eleven is five hundred forty-one``.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

Split = Literal["train", "test", "sft"]

SMALLEST_OPERAND = 100
LARGEST_OPERAND = 499
_BUCKETS: dict[Split, Sequence[int]] = {"test": (0,), "sft": (1,), "train": range(2, 10)}

_SMALL = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
_SMALL += ["thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
_TENS = ["zero", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


@dataclass(frozen=True)
class Problem:
    """One sum.

    Attributes:
        prompt: the user's message.
        answer: the final answer.
        solution: a worked response that ends with the answer.
    """

    prompt: str
    answer: str
    solution: str


def number_words(number: int) -> str:
    """Write a number from 0 to 999 in English words.

    Raises:
        ValueError: another number.

    Example:
        >>> number_words(341)
        'three hundred forty-one'
    """
    if not 0 <= number <= 999:
        raise ValueError(f"number must be from 0 to 999, got {number}")
    if number < 20:
        return _SMALL[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return _TENS[tens] + (f"-{_SMALL[ones]}" if ones else "")
    hundreds, rest = divmod(number, 100)
    return f"{_SMALL[hundreds]} hundred" + (f" {number_words(rest)}" if rest else "")


def make_problem(left: int, right: int) -> Problem:
    """The problem ``left + right`` in words."""
    hundreds = (left // 100 + right // 100) * 100
    tens = (left // 10 % 10 + right // 10 % 10) * 10
    ones = left % 10 + right % 10
    answer = number_words(left + right)
    partial_sums = " and ".join(map(number_words, (hundreds, tens, ones)))
    return Problem(
        prompt=f"{number_words(left)} plus {number_words(right)}",
        answer=answer,
        solution=f"{partial_sums} is {answer}",
    )


def has_carry(left: int, right: int) -> bool:
    """Whether adding the ones or the tens of the two operands reaches ten."""
    return left % 10 + right % 10 >= 10 or left // 10 % 10 + right // 10 % 10 >= 10


def operand_pairs(split: Split) -> list[tuple[int, int]]:
    """Every ordered pair of operands of one split.

    A hash of the unordered pair assigns 80 % to train, 10 % to test and 10 % to sft. The sft split keeps only sums
    without a carry, so its few worked examples are easy, while training prompts and the test set have carries.

    Raises:
        ValueError: an unknown split.
    """
    if split not in _BUCKETS:
        raise ValueError(f"split must be one of {', '.join(_BUCKETS)}, got {split!r}")
    span = range(SMALLEST_OPERAND, LARGEST_OPERAND + 1)
    return [(left, right) for left in span for right in span if in_split(split, left, right)]


def in_split(split: Split, left: int, right: int) -> bool:
    """Whether a split has this pair of operands; see :func:`operand_pairs`.

    Args:
        split: one of the three.
        left: the first operand.
        right: the second operand.

    Example:
        >>> [split for split in ("train", "test", "sft") if in_split(split, 153, 168)]
        ['test']
    """
    return _bucket(left, right) in _BUCKETS[split] and not (split == "sft" and has_carry(left, right))


def _bucket(left: int, right: int) -> int:
    low, high = sorted((left, right))
    return sha256(f"{low}+{high}".encode()).digest()[0] % 10


def problems(split: Split, n: int, seed: int) -> list[Problem]:
    """Draw `n` distinct problems of one split; the same arguments give the same list on every platform.

    The splits are disjoint for every `n` and `seed`.

    Raises:
        ValueError: the split has fewer than `n` problems.
    """
    pairs = operand_pairs(split)
    if n > len(pairs):
        raise ValueError(f"split {split!r} has {len(pairs)} problems, not {n}")
    return [make_problem(*pair) for pair in random.Random(seed).sample(pairs, n)]  # noqa: S311


def answer_in(response: str) -> str | None:
    """The text after the last ``" is "``, without outer white space; None if the response has none.

    Example:
        >>> answer_in("two hundred and zero and three is two hundred three ")
        'two hundred three'
    """
    _, marker, final = response.rpartition(" is ")
    return final.strip() if marker else None


def grade(problem: Problem, response: str) -> bool:
    """Whether the answer in the response is the problem's, word for word.

    Example:
        >>> grade(make_problem(101, 102), "two hundred and zero and three is two hundred three")
        True
        >>> grade(make_problem(101, 102), "two hundred three")
        False
    """
    return answer_in(response) == problem.answer
