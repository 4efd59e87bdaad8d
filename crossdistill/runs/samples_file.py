"""``samples/TASK.jsonl``: one graded sample a line, written as it is graded, and read when an evaluation goes on."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from crossdistill.errors import InputError
from crossdistill.eval.generation.base import Wanted
from crossdistill.eval.problem import Problem
from crossdistill.eval.sample import Sample
from crossdistill.runs.responses_file import complete_lines


@dataclass(frozen=True)
class SamplesFile:
    """A file of samples, in any order.

    Attributes:
        path: of the file; it need not exist.
        problems: of the task.
        k: samples of each problem.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     file = SamplesFile(Path(folder) / "sums.jsonl", (Problem("0", "2 + 2", "4"),), k=2)
        ...     with file.path.open("a") as lines:
        ...         _ = lines.write(line_of(Sample("0", 1, "4", "stop", 2, 0.1, correct=True)))
        ...     [wanted.index for wanted in file.missing(file.read())]
        [0]
    """

    path: Path
    problems: tuple[Problem, ...]
    k: int

    def read(self) -> dict[tuple[str, int], Sample]:
        """The samples so far, by problem and index; an incomplete last line (after a kill) is cut off the file.

        Raises:
            InputError: a line is damaged, or of another evaluation.
        """
        known = {problem.id for problem in self.problems}
        found: dict[tuple[str, int], Sample] = {}
        for number, line in enumerate(complete_lines(self.path), 1):
            sample = self._sample(number, line)
            if sample.problem not in known or not 0 <= sample.index < self.k:
                raise self._refused(number, f"is sample {sample.index} of {sample.problem!r}, which nobody asked for")
            if (sample.problem, sample.index) in found:
                raise self._refused(number, f"repeats sample {sample.index} of {sample.problem!r}")
            found[sample.problem, sample.index] = sample
        return found

    def missing(self, found: Iterable[tuple[str, int]]) -> list[Wanted]:
        """The samples that are not in `found`, by problem."""
        have = set(found)
        return [
            Wanted(problem, index)
            for problem in self.problems
            for index in range(self.k)
            if (problem.id, index) not in have
        ]

    def _sample(self, number: int, line: bytes) -> Sample:
        try:
            return Sample.from_dict(json.loads(line))
        except (ValueError, TypeError, RecursionError):
            raise self._refused(number, "is no sample") from None

    def _refused(self, number: int, problem: str) -> InputError:
        return InputError(
            f"line {number} of {self.path} {problem}: restore the file from a backup, remove the line, or begin the "
            "evaluation in another folder."
        )


def line_of(sample: Sample) -> str:
    """The line of a sample."""
    return json.dumps(sample.as_dict(), ensure_ascii=False) + "\n"
