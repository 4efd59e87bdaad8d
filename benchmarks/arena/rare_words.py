"""The task of arena B: rare words in alphabetical order.

A conversation reads ``Sort the words alphabetically.`` (system) and ``swart, doty, kneeler, genua`` (user); the right
response is ``doty, genua, kneeler, swart``. Rare words are cut differently by different tokenizers: of SmolLM2's tokens
of these responses, 74 % are tokens of Gemma's too.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from hashlib import sha256
from typing import Any, Literal

from crossdistill.errors import InputError
from crossdistill.eval.grading.base import Grader
from crossdistill.eval.grading.verdict import Verdict
from crossdistill.eval.problem import Problem
from crossdistill.eval.sampling import Sampling
from crossdistill.eval.task import Task, TaskOptions
from crossdistill.extras import require

Split = Literal["validation", "test", "examples", "prompts"]
_BUCKETS = {"validation": (0,), "test": (1,), "examples": (2, 3, 4), "prompts": (5, 6, 7, 8, 9)}
_SHORTEST, _LONGEST = 4, 8  # letters
_INSTRUCTION = "Sort the words alphabetically."


class SortWords(Task):
    """Problems of the split "validation" or "test", whose words are in no other split.

    Parameters are ``split``, ``size`` (200) and ``num_words`` (3) of a problem.

    Example:
        >>> options = TaskOptions(parameters={"split": "test", "size": 1})
        >>> (problem,) = SortWords().problems(options)
        >>> problem.prompt[1]["content"], problem.reference
        ('leasable, kailyard, glonoin', 'glonoin, kailyard, leasable')
    """

    name = "sort_words"
    sampling = Sampling(max_tokens=32)
    parameters = ("split", "size", "num_words")

    def all_problems(self, options: TaskOptions) -> Sequence[Problem]:
        """As many as the size says, the same for each seed of the options; fewer are the first of more."""
        given = options.parameters
        rows = draw(given.get("split", "validation"), given.get("size", 200), given.get("num_words", 3))
        return [Problem(listed(words), prompt_of(words), answer_of(words)) for words in rows]

    def grader(self, options: TaskOptions) -> Grader:
        """The response is the sorted list, letter by letter; white space around it does not count."""
        return _ListGrader()


class _ListGrader(Grader):
    def grade(self, responses: Iterable[tuple[Problem, str]]) -> Iterator[Verdict]:
        for problem, response in responses:
            answer = response.strip()
            yield Verdict(answer == problem.reference, answer if answer.count(",") else None)


def draw(split: Split, size: int, num_words: int = 3) -> list[tuple[str, ...]]:
    """Distinct problems of a split: the words of each, in the order in which they are asked.

    Args:
        split: whose words are taken.
        size: number of problems; fewer are the first of more.
        num_words: of a problem.

    Raises:
        InputError: another split, no problems, or problems of less than two words or more than 20.
    """
    if split not in _BUCKETS:
        raise InputError(f"there is no split {split!r} of sort_words: choose one of {', '.join(_BUCKETS)}.")
    if not isinstance(size, int) or size < 1:
        raise InputError(f"sort_words has no {size!r} problems: let size be a whole number above 0.")
    if num_words not in range(2, 21):
        raise InputError(
            f"sort_words cannot ask for {num_words!r} words: let num_words be a whole number from 2 to 20."
        )
    words, drawn = _words(split), random.Random(split)  # noqa: S311 - a draw, no secret
    problems: dict[tuple[str, ...], None] = {}
    while len(problems) < size:
        problems.setdefault(tuple(drawn.sample(words, num_words)))
    return list(problems)


def prompt_of(words: Sequence[str]) -> list[dict[str, str]]:
    """The conversation that asks for these words."""
    return [{"role": "system", "content": _INSTRUCTION}, {"role": "user", "content": listed(words)}]


def answer_of(words: Sequence[str]) -> str:
    """The right response.

    Example:
        >>> answer_of(["swart", "doty", "genua"])
        'doty, genua, swart'
    """
    return listed(sorted(words))


def listed(words: Sequence[str]) -> str:
    """Words with commas between them."""
    return ", ".join(words)


def example(words: Sequence[str]) -> dict[str, Any]:
    """A row for SFT."""
    return {"prompt": prompt_of(words), "completion": answer_of(words)}


@cache
def _words(split: Split) -> list[str]:
    """The words of a split, by a hash of each, so that no word is in two splits.

    They are reasoning-gym's list of English words, many of them rare.
    """
    require("eval", "reasoning_gym", user="the task sort_words")
    from reasoning_gym.data import read_data_file

    every = {line.strip().lower() for line in read_data_file("words3to10.txt").splitlines()}
    fitting = sorted(word for word in every if word.isalpha() and word.isascii() and _SHORTEST <= len(word) <= _LONGEST)
    return [word for word in fitting if sha256(word.encode()).digest()[0] % 10 in _BUCKETS[split]]
