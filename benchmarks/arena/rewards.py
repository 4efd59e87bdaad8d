"""The tasks' graders as a reward for training, which reads the right answer off the prompt.

In a file of an arena: ``train = { num_generations = 4, reward = "benchmarks.arena.rewards:solved" }``.
"""

from collections.abc import Sequence
from typing import Any

from benchmarks.arena.data import TASKS
from benchmarks.arena.sorting import make_problem as make_list
from crossdistill.demo.task import LARGEST_OPERAND, SMALLEST_OPERAND, make_problem, number_words

_OPERANDS = {number_words(number): number for number in range(SMALLEST_OPERAND, LARGEST_OPERAND + 1)}


def solved(
    prompts: Sequence[Sequence[dict[str, str]]], completions: Sequence[Sequence[dict[str, str]]], **columns: Any
) -> list[float]:
    """1 for each right response and 0 for any other.

    Args:
        prompts: messages, of which the last asks for a sum or a sorted list.
        completions: a message each.
        columns: other ones of the data, unused.

    Example:
        >>> asked = [{"role": "user", "content": "sort: mole, bear, panda, badger, mink"}]
        >>> written = ["badger, bear, mink, mole, panda", "bear, badger, mink, mole, panda"]
        >>> solved([asked] * 2, [[{"role": "assistant", "content": one}] for one in written])
        [1.0, 0.0]
    """
    return [
        float(_is_right(prompt[-1]["content"], completion[-1]["content"]))
        for prompt, completion in zip(prompts, completions, strict=True)
    ]


def _is_right(prompt: str, response: str) -> bool:
    if prompt.startswith("sort: "):
        return TASKS["sorting"].answer_in(response) == make_list(prompt.removeprefix("sort: ").split(", ")).answer
    left, right = (_OPERANDS[operand] for operand in prompt.split(" plus "))
    return TASKS["sums"].answer_in(response) == make_problem(left, right).answer
