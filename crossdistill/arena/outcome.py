"""What a cell has shown: its file ``cell.json``."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from crossdistill.arena.cell import Cell
from crossdistill.errors import InputError
from crossdistill.runs.run_file import read_record, write_json

OUTCOME = "cell.json"
Status = Literal["done", "diverged", "failed"]


@dataclass(frozen=True)
class Answers:
    """A model's answers to a task's problems.

    Attributes:
        mean: share of right samples.
        ci: its 95 % interval over problems.
        correct: a digit for each problem, in their order: the right ones of its k samples.
        k: samples of each problem, at most 9.
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

    @property
    def shares(self) -> list[float]:
        """The share of right samples of each problem."""
        return [int(digit) / self.k for digit in self.correct]


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
        bits_per_byte: of the unrelated text after training; None without one.
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

    def write(self, folder: Path) -> None:
        """Write ``cell.json``, atomically: a cell that has it is finished."""
        write_json(folder / OUTCOME, asdict(self))


def read_outcome(folder: Path) -> Outcome | None:
    """The outcome in a cell's folder; None if the cell is not finished.

    Raises:
        InputError: the file is damaged.
    """
    path = folder / OUTCOME
    if not path.exists():
        return None
    entry = read_record(path)
    try:
        answers = {name: _answers(entry.pop(name)) for name in ("validation", "test")}
        return Outcome(cell=Cell(**entry.pop("cell")), **answers, **entry)
    except (KeyError, TypeError):
        raise InputError(f"{path} is damaged, or of another version: delete it, and the cell is run again.") from None


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
