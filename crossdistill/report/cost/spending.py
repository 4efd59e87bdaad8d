"""What a training run spent, and the accuracies that its students reached."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from crossdistill.costs import OF_TEACHER, Part


class Method(StrEnum):
    """How a student was trained."""

    SFT = "SFT"
    OPD = "OPD"


@dataclass(frozen=True)
class Measurement:
    """The accuracy of a student on a task.

    Attributes:
        data_points: that its run had consumed.
        mean: the accuracy.
        ci: ends of its 95 % interval; None if it is not known.
        problems: of each problem by its id, the share of right answers; None if only the mean is known.
    """

    data_points: int
    mean: float
    ci: tuple[float, float] | None = None
    problems: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Spending:
    """A training run.

    Attributes:
        name: its folder, as it was given.
        method: how it trained.
        student: that it started from: an absolute path, or a hub id.
        teacher: of the run; empty if there is none.
        model: absolute path of the trained one.
        data_points: rows that it trained on, repeated ones counted again.
        num_examples: different examples of SFT; 0 if they are not counted.
        tokens: by part.
        flops: by part.
        seconds: of training.
        assumptions: what is assumed of the FLOPs, or left out.
        accuracy: task -> what was measured, by the data consumed.
    """

    name: str
    method: Method
    student: str
    teacher: str
    model: str
    data_points: int
    num_examples: int
    tokens: Mapping[Part, int]
    flops: Mapping[Part, int]
    seconds: float | None = None
    assumptions: tuple[str, ...] = ()
    accuracy: Mapping[str, tuple[Measurement, ...]] = field(default_factory=dict)

    @property
    def unknown_parts(self) -> list[Part]:
        """Parts that have tokens whose FLOPs are not known: those of a model of unknown size."""
        return [part for part, tokens in self.tokens.items() if tokens and not self.flops.get(part)]

    @property
    def teacher_flops(self) -> int | None:
        """Of the teacher; None if they are not known."""
        return self._sum([part for part in self.tokens if part in OF_TEACHER])

    @property
    def student_flops(self) -> int | None:
        """Of the student; None if they are not known."""
        return self._sum([part for part in self.tokens if part not in OF_TEACHER])

    @property
    def total_flops(self) -> int | None:
        """Of both; None if they are not known."""
        return self._sum(list(self.tokens))

    @property
    def flops_of_a_point(self) -> tuple[float, float] | None:
        """Of teacher and student for one more data point of SFT: a response that is written, and a step on it."""
        if self.unknown_parts or not self.data_points:
            return None
        written = self.flops.get(Part.TEACHER_ROLLOUT, 0)
        return written / max(self.num_examples, 1), self.flops.get(Part.SFT_STEP, 0) / self.data_points

    def measured(self, task: str) -> tuple[Measurement, ...]:
        """What was measured on a task; empty if it was not."""
        return self.accuracy.get(task, ())

    def _sum(self, parts: list[Part]) -> int | None:
        return None if set(parts) & set(self.unknown_parts) else sum(self.flops.get(part, 0) for part in parts)
