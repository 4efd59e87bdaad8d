"""Sorting the names of animals by the alphabet.

A problem reads ``sort: mole, bear, panda, badger, mink``; its solution is ``badger, bear, mink, mole, panda``. The
first letter orders most pairs and is easily learned. Within a letter the order has to be known pair by pair.
"""

import random
from dataclasses import dataclass
from hashlib import sha256
from itertools import groupby

from benchmarks.arena.split_task import Split, SplitTask
from crossdistill.demo.task import Problem

ANIMALS = (
    *("badger", "bear", "beaver", "beetle", "bison", "buffalo"),
    *("camel", "cheetah", "cobra", "cougar", "coyote", "cricket"),
    *("magpie", "mink", "mole", "monkey", "moose", "mouse"),
    *("panda", "panther", "parrot", "pelican", "pigeon", "puffin"),
    *("salmon", "seal", "sheep", "skunk", "spider", "squirrel"),
)
NUM_WORDS = 5
_BUCKETS: dict[Split, tuple[int, ...]] = {
    "test": (0,),
    "sft": (1,),
    "validation": (2,),
    "train": tuple(range(3, 10)),
}


class Sorting(SplitTask):
    """Five animals in the order of the alphabet; as ``--task``, benchmarks.arena.sorting:Sorting.

    A hash of the set of animals assigns 10 % of the sets each to test, sft and validation and the rest to train. The
    sft split keeps only sets whose first letters all differ.

    Example:
        >>> [problem] = Sorting().draw("train", 1, seed=0)
        >>> problem.prompt, problem.answer
        ('sort: skunk, magpie, salmon, spider, mink', 'magpie, mink, salmon, skunk, spider')
    """

    name = "sorting"

    def draw(self, split: Split, n: int, seed: int) -> list[Problem]:
        """Distinct lists of animals."""
        rng = random.Random(seed)  # noqa: S311
        drawn: dict[str, Problem] = {}
        while len(drawn) < n:
            problem = make_problem(draw_animals(split, rng))
            drawn[problem.prompt] = problem
        return list(drawn.values())

    def answer_in(self, response: str) -> str | None:
        """The response without outer white space."""
        return response.strip() or None


def draw_animals(split: Split, rng: random.Random) -> list[str]:
    """Five distinct animals of one split, in random order."""
    while True:
        animals = rng.sample(ANIMALS, NUM_WORDS)
        is_easy = len({animal[0] for animal in animals}) == NUM_WORDS
        if (is_easy or split != "sft") and _bucket(animals) in _BUCKETS[split]:
            return animals


def _bucket(animals: list[str]) -> int:
    return sha256(" ".join(sorted(animals)).encode()).digest()[0] % 10


def make_problem(animals: list[str]) -> Problem:
    """The problem with these animals in this order."""
    answer = ", ".join(sorted(animals))
    return Problem(f"sort: {', '.join(animals)}", answer, solution=answer)


@dataclass(frozen=True)
class Habits:
    """Error rates of the text that a model learns.

    Attributes:
        forgotten_ties: probability, for the animals of one letter, that they are left in the order of the prompt.
        slip: probability, for each place, that any of the animals left takes it, not the first.
    """

    forgotten_ties: float
    slip: float


def written_list(animals: list[str], habits: Habits, rng: random.Random) -> str:
    """A list as it is written with errors at these rates; after a slip it goes on with the first of those left."""
    left: list[str] = []
    for _, group in groupby(sorted(animals, key=_letter), key=_letter):
        tied = list(group)  # sorting is stable: they are in the order of the prompt
        left += tied if rng.random() < habits.forgotten_ties else sorted(tied)
    written = []
    while left:
        written.append(left.pop(rng.randrange(len(left)) if rng.random() < habits.slip else 0))
    return ", ".join(written)


def _letter(animal: str) -> str:
    return animal[0]
