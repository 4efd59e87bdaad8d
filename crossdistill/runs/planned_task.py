"""A task of an evaluation: its problems, its settings, and the samples that a folder has of it."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from crossdistill.errors import ServerError
from crossdistill.eval.digest import digest
from crossdistill.eval.generation.base import Generator, Wanted, Written
from crossdistill.eval.grading.base import Grader
from crossdistill.eval.grading.verdict import Verdict
from crossdistill.eval.problem import Problem
from crossdistill.eval.sample import Sample
from crossdistill.eval.sampling import Sampling
from crossdistill.eval.scores import as_metrics, scores
from crossdistill.eval.task import Task, TaskOptions
from crossdistill.runs.samples_file import SamplesFile, line_of

Found = dict[tuple[str, int], Sample]
"""Samples by problem and index."""


@dataclass(frozen=True)
class PlannedTask:
    """What is to be evaluated.

    Attributes:
        task: whose problems are set.
        options: which of them, and how responses are graded.
        sampling: how responses are sampled.
        problems: of the task under these options.
    """

    task: Task
    options: TaskOptions
    sampling: Sampling
    problems: tuple[Problem, ...]

    @classmethod
    def of(cls, task: Task, options: TaskOptions, sampling: Sampling) -> "PlannedTask":
        """A task with its problems.

        Raises:
            InputError: they cannot be read.
        """
        return cls(task, options, sampling, tuple(task.problems(options)))

    @property
    def settings(self) -> dict[str, Any]:
        """What the samples depend on, as JSON data: sampling, and the problems with their references as a digest."""
        source = self.options.source
        return {
            "sampling": asdict(self.sampling),
            "source": str(source) if source is not None else getattr(self.task, "source", None),
            "limit": self.options.limit,
            "seed": self.options.seed,
            "num_problems": len(self.problems),
            "digest": digest(self.problems),
        }

    def file(self, path: Path) -> SamplesFile:
        """The file of its samples."""
        return SamplesFile(path, self.problems, self.sampling.k)

    def results(self, found: Found) -> dict[str, Any]:
        """Its scores in ``eval.json``, from all of its samples.

        Raises:
            KeyError: a sample is missing.
        """
        by_problem = {
            problem.id: [found[problem.id, index] for index in range(self.sampling.k)] for problem in self.problems
        }
        return {
            **self.settings,
            "metrics": as_metrics(scores(by_problem)),
            "per_problem": {name: [sample.correct for sample in samples] for name, samples in by_problem.items()},
            "tokens": sum(sample.tokens for sample in found.values()),
        }


def write_samples(
    path: Path, generator: Generator, grader: Grader, wanted: Sequence[Wanted], sampling: Sampling
) -> Iterator[Sample]:
    """Write and grade samples, and append each to a file as soon as it is graded.

    Args:
        path: of the file.
        generator: writes the responses.
        grader: of the task.
        wanted: samples to write.
        sampling: how they are sampled.

    Raises:
        ServerError: a server failed for good; what came before is graded and in the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    pending: deque[Written] = deque()
    failures: list[ServerError] = []

    def responses() -> Iterator[tuple[Problem, str]]:
        try:
            for written in generator.write(wanted, sampling):
                pending.append(written)
                yield written.wanted.problem, written.response
        except ServerError as failure:
            failures.append(failure)

    with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
        for verdict in grader.grade(responses()):
            sample = sample_of(pending.popleft(), verdict)
            file.write(line_of(sample))
            file.flush()
            yield sample
    for failure in failures:
        raise failure


def sample_of(written: Written, verdict: Verdict) -> Sample:
    """A response with its verdict."""
    return Sample(
        problem=written.wanted.problem.id,
        index=written.wanted.index,
        response=written.response,
        finish_reason=written.finish_reason,
        tokens=written.tokens,
        seconds=round(written.seconds, 3),
        correct=verdict.correct,
        extracted=verdict.extracted,
        reason=verdict.reason,
        prompt=written.wanted.problem.prompt,
        prompt_tokens=written.prompt_tokens,
    )
