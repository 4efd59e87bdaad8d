"""A case: a short training that does not depend on chance, and what came of it."""

from dataclasses import dataclass, field
from typing import Any

ROWS = 12
"""Rollouts of a step, of all processes together: divisible by 1, 2 and 3 processes and two micro-batches."""
STEPS = 2
LEARNING_RATE = 0.2


@dataclass(frozen=True)
class Case:
    """Attributes:
    name: unique in its launch.
    objective: its name.
    objective_options: of its class.
    options: of the trainer's configuration.
    student, teacher: folders; the demo's by default.
    lora: whether an adapter is trained.
    environment: variables that are set meanwhile, such as those by which ``accelerate launch`` passes on a recipe.
    resume: folder of an earlier case, whose newest checkpoint is gone on from.
    fault: a name of `tests.engines.faults`.
    """

    name: str
    objective: str = "dpca"
    objective_options: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    student: str | None = None
    teacher: str | None = None
    lora: bool = False
    environment: dict[str, str] = field(default_factory=dict)
    resume: str | None = None
    fault: str | None = None
