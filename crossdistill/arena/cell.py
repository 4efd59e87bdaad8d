"""A cell of the arena: one method on one pair with one rate and one seed."""

from dataclasses import dataclass
from typing import Literal

Stage = Literal["model", "tune", "test"]
"""A model as it is (the start, the teacher), a run that a rate is chosen by, a run that is compared."""
START, TEACHER = "start", "teacher"


@dataclass(frozen=True)
class Cell:
    """A cell.

    Attributes:
        pair: its name in the file.
        method: a method's or control's name; START or TEACHER for a model as it is.
        stage: what it is for.
        rate: the learning rate; None for a model as it is.
        seed: of the run; likewise.

    Example:
        >>> Cell("sums", "dpca", "tune", 3e-4, 100).id
        'sums/dpca/tune-lr0.0003-seed100'
        >>> Cell("sums", "start", "model").id
        'sums/start/model'
    """

    pair: str
    method: str
    stage: Stage
    rate: float | None = None
    seed: int | None = None

    @property
    def id(self) -> str:
        """Its name, and its folder below the arena's."""
        run = "" if self.stage == "model" else f"-lr{self.rate:g}-seed{self.seed}"
        return f"{self.pair}/{self.method}/{self.stage}{run}"
