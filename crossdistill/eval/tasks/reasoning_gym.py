"""Problems that reasoning-gym generates: puzzles, arithmetic, algebra, graphs, games, each with its own verifier."""

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from crossdistill.errors import InputError
from crossdistill.eval.grading.base import Grader
from crossdistill.eval.problem import Problem
from crossdistill.eval.row import Row
from crossdistill.eval.sampling import Sampling
from crossdistill.eval.task import Task, TaskOptions
from crossdistill.eval.tasks.instruction import instructed
from crossdistill.extras import require

_SIZE = 100
_INSTRUCTION = (
    "Think step by step, then give only the final answer between <answer> and </answer>. If an example is shown, write "
    "the answer in its format."
)


class ReasoningGym(Task):
    """One generator. Its parameters are the fields of the generator's configuration, and ``size``, 100 by default.

    Args:
        generator: its name in reasoning-gym.

    Raises:
        InputError: there is no such generator, or reasoning-gym is not installed.

    Example:
        >>> task = ReasoningGym("chain_sum")
        >>> [problem.id for problem in task.problems(TaskOptions(seed=3, parameters={"size": 2, "max_terms": 2}))]
        ['3-0', '3-1']
    """

    sampling = Sampling(max_tokens=4096)

    def __init__(self, generator: str) -> None:
        known = generators()
        if generator not in known:
            near = get_close_matches(generator, known, n=3)
            hint = f"did you mean {', '.join(near)}?" if near else f"choose one of {', '.join(known)}."
            raise InputError(f"reasoning-gym has no generator {generator!r}: {hint}")
        self.generator = generator
        self.name = f"reasoning_gym:{generator}"
        self.parameters = ("size", *_fields(generator))

    def all_problems(self, options: TaskOptions) -> Sequence[Problem]:
        """As many as the size says, from the seed; the reference is reasoning-gym's entry and its index."""
        from crossdistill.eval.grading.reasoning_gym import GENERATING_SECONDS, processes
        from crossdistill.eval.grading.workers import EndedError

        if options.source is not None:
            raise InputError(f"task {self.name!r} makes its problems itself: leave the source {options.source} out.")
        settings = self._settings(options)
        size = _size(self.generator, settings)
        instruction = _INSTRUCTION if options.instruction is None else options.instruction
        problems = []
        with contextlib.closing(processes(self.generator, settings, 1)) as workers:
            for index in range(size):
                try:
                    entry = workers.ask({"index": index}, GENERATING_SECONDS)
                except EndedError as ended:
                    raise InputError(
                        f"making problem {index} of {self.name!r} {ended}: give parameters that make easier ones."
                    ) from None
                prompt = instructed(entry["question"], instruction)
                problems.append(Problem(f"{options.seed}-{index}", prompt, {"index": index, **entry}))
        return problems

    def training_reference(self, row: Row) -> dict[str, Any]:
        """The index of the problem among those that the generator makes from the seed and the parameters."""
        entry = row.value("answer")
        index = entry.get("index") if isinstance(entry, Mapping) else entry
        if not isinstance(index, int) or isinstance(index, bool) or index < 0:
            raise InputError(
                f"{row.where} has {entry!r} as 'answer': reasoning-gym verifies answers to problems that it makes "
                "again, so give the problem's index, with the parameters and the seed of the data."
            )
        return {"index": index}

    def grader(self, options: TaskOptions) -> Grader:
        """Reasoning-gym's own verifier of this generator."""
        from crossdistill.eval.grading.reasoning_gym import ReasoningGymGrader

        return ReasoningGymGrader(self.generator, self._settings(options), options.workers)

    def _settings(self, options: TaskOptions) -> dict[str, Any]:
        return {"size": _SIZE, **options.parameters, "seed": options.seed}


def generators() -> tuple[str, ...]:
    """Names of reasoning-gym's generators, in alphabetical order.

    Raises:
        InputError: reasoning-gym is not installed.
    """
    require("eval", "reasoning_gym", user="a task of reasoning-gym")
    import reasoning_gym  # noqa: F401 - registers them
    from reasoning_gym.factory import DATASETS

    return tuple(sorted(DATASETS))


def _size(generator: str, settings: Mapping[str, Any]) -> int:
    """The number of problems.

    Raises:
        InputError: the generator refuses its configuration.
    """
    import reasoning_gym

    try:
        return len(reasoning_gym.create_dataset(generator, **settings))
    except (AssertionError, TypeError, ValueError) as error:
        raise InputError(
            f"reasoning-gym's {generator} refuses these parameters ({str(error) or type(error).__name__}): change them."
        ) from None


def _fields(generator: str) -> list[str]:
    from reasoning_gym.factory import DATASETS

    names = [field.name for field in dataclasses.fields(DATASETS[generator][1])]
    return [name for name in names if name not in ("seed", "size")]
