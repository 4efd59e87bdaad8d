"""What the records of runs and evaluations hold of costs and accuracies, checked as it is read."""

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, NonNegativeInt, ValidationError

from crossdistill.costs import Part
from crossdistill.errors import InputError

T = TypeVar("T", bound=BaseModel)
Ends = tuple[float | None, float | None]
"""Of a 95 % interval; without a value where there is none."""


class StepAccuracy(BaseModel):
    """What a run measured on a task after a step."""

    step: NonNegativeInt
    mean: float
    ci: Ends | None = None


class CostRecord(BaseModel):
    """The part of ``run.json`` that a cost report reads."""

    student: str
    teacher: str | None = None
    data_points: NonNegativeInt
    num_examples: NonNegativeInt | None = None
    tokens: dict[Part, NonNegativeInt]
    flops: dict[str, NonNegativeInt]
    seconds: float | None = None
    flops_assumptions: list[str] | None = None
    accuracy: dict[str, list[StepAccuracy]] | None = None
    history: list[dict[str, Any]] | None = None


class Metric(BaseModel):
    """A metric of ``eval.json``."""

    ci: Ends | None = None


class TaskRecord(BaseModel):
    """The part of a task's entry in ``eval.json`` that a cost report reads besides its verdicts."""

    metrics: dict[str, Metric] | None = None


def checked(kind: type[T], content: Any, path: Path) -> T:
    """The content of a record, if it is as such records are written.

    Args:
        kind: of record.
        content: as JSON data.
        path: where it was read, for the message.

    Raises:
        InputError: it is damaged.
    """
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "its content"
        raise InputError(
            f"{path} is damaged ({place}: {first['msg']}): repeat the run, or restore the file from a backup."
        ) from None
