"""The demo's sums as a task of the evaluation."""

from collections.abc import Iterable, Iterator, Sequence

from crossdistill.demo.task import answer_in, problems
from crossdistill.eval.grading.base import Grader
from crossdistill.eval.grading.verdict import Verdict
from crossdistill.eval.problem import Problem
from crossdistill.eval.sampling import Sampling
from crossdistill.eval.task import Task, TaskOptions


class Sums(Task):
    """Held-out sums in number words, greedily; as ``--task``, crossdistill.demo.sums:Sums.

    Args:
        num_problems: of the test split.
        seed: that draws them; the demo's are the same for each seed of a run.

    Example:
        >>> [problem] = Sums(num_problems=1).problems(TaskOptions())
        >>> problem.id, problem.reference
        ('one hundred fifty-three plus one hundred sixty-eight', 'three hundred twenty-one')
    """

    name = "sums"
    sampling = Sampling(max_tokens=48)

    def __init__(self, num_problems: int = 400, seed: int = 1) -> None:
        self._num_problems = num_problems
        self._seed = seed

    def all_problems(self, options: TaskOptions) -> Sequence[Problem]:
        """The same problems for each seed of the options; as conversations, for each model's own chat template."""
        drawn = problems("test", self._num_problems, seed=self._seed)
        return [Problem(one.prompt, [{"role": "user", "content": one.prompt}], one.answer) for one in drawn]

    def grader(self, options: TaskOptions) -> Grader:
        """Exact match of what follows the last "is"."""
        return _SumGrader()


class _SumGrader(Grader):
    def grade(self, responses: Iterable[tuple[Problem, str]]) -> Iterator[Verdict]:
        for problem, response in responses:
            answer = answer_in(response)
            yield Verdict(answer == problem.reference, answer)
