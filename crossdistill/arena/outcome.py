"""What a cell has shown."""

import json
import math
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from crossdistill.arena.cell import Cell
from crossdistill.errors import InputError

Status = Literal["done", "diverged", "failed"]
MOST_SAMPLES = 9
"""Samples of a problem, whose right ones are recorded as one digit."""
_EXACT = ConfigDict(extra="forbid", allow_inf_nan=False)
"""How a line of the record is read: all of it is known, and every number is finite."""


@dataclass(frozen=True)
class Answers:
    """A model's answers to a task's problems.

    Attributes:
        mean: share of right samples.
        ci: its 95 % interval over problems.
        correct: a digit for each problem, in their order: the right ones of its k samples.
        k: samples of each problem, at most MOST_SAMPLES.
        digest: of the problems.
        parsed, truncated: shares of the responses.
        mean_tokens: of a response.
    """

    mean: float
    ci: tuple[float, float]
    correct: str
    k: int
    digest: str
    parsed: float
    truncated: float
    mean_tokens: float
    __pydantic_config__: ClassVar = _EXACT

    @property
    def shares(self) -> list[float]:
        """The share of right samples of each problem."""
        return [int(digit) / self.k for digit in self.correct]

    @property
    def is_whole(self) -> bool:
        """Whether each problem has a number of right samples up to k, and the mean is theirs."""
        digits = self.correct
        if self.k < 1 or not digits.isdecimal() or any(int(digit) > self.k for digit in digits):
            return False
        return math.isclose(self.mean, sum(self.shares) / len(self.correct), abs_tol=1e-9)


@dataclass(frozen=True)
class Outcome:
    """What a cell has shown.

    Attributes:
        cell: which.
        rules: digest of everything that it follows from: models, data, settings.
        status: "done"; "diverged" if the weights became NaN or infinite; "failed" for another reason.
        reason: why, if it is not done.
        curve: on validation problems, by step: the points of ``run.json``'s ``accuracy`` (``step``, ``mean``, ``ci``,
            ``n``, ``student_tokens``, ``flops``, ``seconds``).
        validation: answers of the model at the end.
        test: likewise; None if the cell is there to choose a rate.
        student_tokens, flops, seconds: cost of training at its end.
        responses: number of the student's responses (examples, in SFT) that it was trained on.
        bits_per_byte: of the unrelated text after training; None without one, and if the cell is there to choose a
            rate.
        entropy: of the student's tokens in nats, mean over the last step; None if it is not known.
        gap: teacher gap at the end of training, nats per byte, likewise.
        loss: [[step, loss], ...].
        versions: of what ran it.
    """

    cell: Cell
    rules: str
    status: Status
    reason: str | None = None
    curve: list[dict[str, Any]] = field(default_factory=list)
    validation: Answers | None = None
    test: Answers | None = None
    student_tokens: int = 0
    flops: int = 0
    seconds: float = 0.0
    responses: int = 0
    bits_per_byte: float | None = None
    entropy: float | None = None
    gap: float | None = None
    loss: list[list[float]] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    __pydantic_config__: ClassVar = _EXACT

    def as_dict(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, entry: dict[str, Any], where: str) -> "Outcome":
        """Read an outcome.

        Args:
            entry: JSON data.
            where: the file, for messages.

        Raises:
            InputError: something is missing, damaged or of another version.
        """
        try:
            _OUTCOMES.validate_json(json.dumps(entry), strict=True)
            _CURVES.validate_json(json.dumps({"curve": entry["curve"]}), strict=True)
        except ValidationError as error:
            place = ".".join(map(str, error.errors()[0]["loc"])) or "it"
            raise _damaged(where, f"{place}: {error.errors()[0]['msg'].lower()}") from None
        cell = Cell(**entry["cell"])
        if (cell.stage == "model") != (cell.rate is None) or (cell.stage == "model") != (cell.seed is None):
            raise _damaged(where, "cell: a run has a rate and a seed, and a model has none")
        found = {name: _answers(entry[name]) for name in ("validation", "test")}
        for name, answers in found.items():
            if answers is not None and not answers.is_whole:
                raise _damaged(where, f"{name}: the mean is not that of the answers")
        return cls(**{**entry, **found, "cell": cell})


@dataclass
class _Point:
    """What is read of a point of a curve."""

    step: int
    mean: float


_OUTCOMES, _CURVES = TypeAdapter(Outcome), TypeAdapter(dict[str, list[_Point]])


def _damaged(where: str, why: str) -> InputError:
    return InputError(
        f"{where} is damaged, or of another version ({why}): restore it from a backup, or remove it, and its cell is "
        "run again."
    )


def _answers(entry: dict[str, Any] | None) -> Answers | None:
    return None if entry is None else Answers(**{**entry, "ci": tuple(entry["ci"])})


def answers_of(result: dict[str, Any], problems: list[str]) -> Answers:
    """The answers in a task's entry of ``eval.json``.

    Args:
        result: the entry.
        problems: ids, in order.
    """
    metrics, k = result["metrics"], result["sampling"]["k"]
    return Answers(
        mean=metrics["avg@k"]["mean"],
        ci=tuple(metrics["avg@k"]["ci"]),
        correct="".join(str(sum(result["per_problem"][name])) for name in problems),
        k=k,
        digest=result["digest"],
        **{name: metrics[name]["mean"] for name in ("parsed", "truncated", "mean_tokens")},
    )
