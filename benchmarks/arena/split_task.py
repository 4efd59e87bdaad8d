"""A verifiable task with disjoint splits: training prompts, validation and test problems, easy worked examples."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal

from crossdistill.demo.run import message
from crossdistill.demo.task import Problem as Worked
from crossdistill.errors import InputError
from crossdistill.eval.grading.base import Grader
from crossdistill.eval.grading.verdict import Verdict
from crossdistill.eval.problem import Problem
from crossdistill.eval.sampling import Sampling
from crossdistill.eval.task import Task, TaskOptions

Split = Literal["train", "validation", "test", "sft"]
SEEDS: dict[Split, int] = {"train": 11, "validation": 12, "test": 13, "sft": 14}
HELD_OUT: tuple[Split, ...] = ("validation", "test")


class SplitTask(Task):
    """A task whose parameter ``split`` chooses validation or test problems.

    Args:
        num_problems: of each of the two splits.
    """

    parameters = ("split",)
    sampling = Sampling(max_tokens=48)

    def __init__(self, num_problems: int = 400) -> None:
        self._num_problems = num_problems

    @abstractmethod
    def draw(self, split: Split, n: int, seed: int) -> list[Worked]:
        """Draw `n` distinct problems of one split, with worked solutions; the same on every platform."""

    @abstractmethod
    def answer_in(self, response: str) -> str | None:
        """The answer that a response gives; None if none can be read."""

    def all_problems(self, options: TaskOptions) -> Sequence[Problem]:
        """The same problems for each seed of the options; validation unless the parameters say ``split = "test"``.

        Raises:
            InputError: another split.
        """
        split = options.parameters.get("split", "validation")
        if split not in HELD_OUT:
            raise InputError(f"task {self.name!r} has no problems of the split {split!r}: ask {' or '.join(HELD_OUT)}.")
        drawn = self.draw(split, self._num_problems, SEEDS[split])
        return [Problem(one.prompt, message(one), one.answer) for one in drawn]

    def grader(self, options: TaskOptions) -> Grader:
        """Exact match of the answer that is read from a response."""
        return _ExactMatch(self.answer_in)


class _ExactMatch(Grader):
    def __init__(self, answer_in: Callable[[str], str | None]) -> None:
        self._answer_in = answer_in

    def grade(self, responses: Iterable[tuple[Problem, str]]) -> Iterator[Verdict]:
        for problem, response in responses:
            answer = self._answer_in(response)
            yield Verdict(answer == problem.reference, answer)
