"""The demo's sums in words, with a validation split that neither its training prompts nor its test problems use."""

import random
from hashlib import sha256

from benchmarks.arena.split_task import Split, SplitTask
from crossdistill.demo.task import LARGEST_OPERAND, SMALLEST_OPERAND, Problem, answer_in, in_split, make_problem


class Sums(SplitTask):
    """Sums in words; as ``--task``, benchmarks.arena.sums:Sums.

    The demo's train split is divided in two by a second hash: an eighth is validation, the rest training prompts. The
    test split is the demo's own, and so is the split of carry-free sums.

    Example:
        >>> [problem] = Sums().draw("train", 1, seed=0)
        >>> problem.prompt, problem.answer
        ('three hundred fifteen plus one hundred twenty', 'four hundred thirty-five')
    """

    name = "sums"

    def draw(self, split: Split, n: int, seed: int) -> list[Problem]:
        """Distinct ordered pairs of operands."""
        rng = random.Random(seed)  # noqa: S311
        pairs: dict[tuple[int, int], None] = {}
        while len(pairs) < n:
            left, right = (rng.randint(SMALLEST_OPERAND, LARGEST_OPERAND) for _ in range(2))
            if _has(split, left, right):
                pairs[left, right] = None
        return [make_problem(*pair) for pair in pairs]

    def answer_in(self, response: str) -> str | None:
        """The text after the last "is"."""
        return answer_in(response)


def _has(split: Split, left: int, right: int) -> bool:
    if split in ("test", "sft"):
        return in_split(split, left, right)
    return in_split("train", left, right) and _is_validation(left, right) == (split == "validation")


def _is_validation(left: int, right: int) -> bool:
    low, high = sorted((left, right))
    return sha256(f"validation {low}+{high}".encode()).digest()[0] % 8 == 0
