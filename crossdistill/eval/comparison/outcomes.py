"""What one model got right on a task."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from crossdistill.errors import InputError


@dataclass(frozen=True)
class Outcomes:
    """The verdicts of one evaluation on one task.

    Attributes:
        task: its name.
        model: that was evaluated.
        digest: of the problems: ids, prompts and references.
        sampling: how the model was sampled, as in ``eval.json``.
        selection: where the problems come from: ``source``, ``limit``, ``seed`` and ``num_problems``.
        correct: problem -> the verdict on each of its k samples.
    """

    task: str
    model: str
    digest: str
    sampling: Mapping[str, Any]
    selection: Mapping[str, Any]
    correct: Mapping[str, tuple[bool, ...]]

    @classmethod
    def from_entry(cls, task: str, model: str, entry: Any, where: str) -> "Outcomes":
        """Read a task's entry of ``eval.json``.

        Args:
            task: its name.
            model: that was evaluated.
            entry: the task's entry, as JSON data.
            where: the file, for messages.

        Raises:
            InputError: the entry lacks something, or a problem has not its k verdicts.

        Example:
            >>> entry = {"digest": "d", "sampling": {"k": 2}, "per_problem": {"0": [True, False]}}
            >>> Outcomes.from_entry("sums", "a model", entry, "eval.json").averages
            array([0.5])
        """
        way_out = "evaluate the model again in a new folder, or restore the file from a backup."
        try:
            sampling, digest, verdicts = entry["sampling"], entry["digest"], entry["per_problem"]
            k = sampling["k"]
            correct = {problem: tuple(given) for problem, given in verdicts.items()}
        except (KeyError, TypeError, AttributeError):
            raise InputError(
                f"{where} is damaged: its task {task!r} lacks digest, sampling, k or per_problem: {way_out}"
            ) from None
        if not correct:
            raise InputError(f"{where} has no problem of the task {task!r}: {way_out}")
        for problem, given in correct.items():
            if len(given) != k or not all(isinstance(verdict, bool) for verdict in given):
                raise InputError(
                    f"{where} is damaged: problem {problem!r} of the task {task!r} has not {k} verdicts: {way_out}"
                )
        selection = {key: entry.get(key) for key in ("source", "limit", "seed", "num_problems")}
        return cls(task, model, digest, sampling, selection, correct)

    @property
    def k(self) -> int:
        """Samples of each problem."""
        return int(self.sampling["k"])

    @property
    def num_correct(self) -> np.ndarray:
        """int64 [problems], right samples of each problem, by the order of the problems' ids."""
        return np.array([sum(self.correct[problem]) for problem in sorted(self.correct)])

    @property
    def averages(self) -> np.ndarray:
        """float64 [problems], the share of right samples of each problem, by the order of the problems' ids."""
        return self.num_correct / self.k
