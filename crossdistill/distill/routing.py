"""Which of several teachers score a response: the one that a column or a rule names, or all of them with weights.

A teacher of the name ``reference`` teaches nothing of its own: it scores every response, and its advantages are
subtracted from those of the teachers (decision 18).
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from crossdistill.chat.messages import Prompt, text_of
from crossdistill.distill.names import REFERENCE
from crossdistill.errors import InputError
from crossdistill.objectives import Objective

COLUMN = "teacher"
"""Column of the data that names a row's teacher."""

Weights = Mapping[str, float]
"""Teacher -> its share of the signal, above 0; they sum to 1. A reference has -1 on top."""


@dataclass(frozen=True)
class Routing:
    """How several teachers share the prompts. Without rules and weights, the data's column ``teacher`` decides.

    Attributes:
        names: of all teachers, the reference included.
        rules: teacher -> regular expression; a prompt goes to the first teacher whose expression is found in its text.
        weights: of every teacher but the reference, on every prompt.

    Raises:
        InputError: rules or weights that have no meaning.

    Example:
        >>> Routing(("math", "chat"), rules={"math": "sum|product", "chat": ""}).of({"prompt": "the sum of 1 and 2"})
        {'math': 1.0}
        >>> Routing(("a", "b"), weights={"a": 3, "b": 1}).of({"prompt": "hello"})
        {'a': 0.75, 'b': 0.25}
        >>> Routing(("teacher", "reference")).of({"prompt": "hello"})
        {'teacher': 1.0, 'reference': -1.0}
    """

    names: tuple[str, ...]
    rules: Mapping[str, str] | None = None
    weights: Weights | None = None

    def __post_init__(self) -> None:
        if not self.teaching:
            raise InputError(f"the only teacher is the {REFERENCE}, which is subtracted: name one that teaches.")
        if self.rules and self.weights:
            raise InputError("teacher_rules and teacher_weights exclude each other: route prompts, or mix teachers.")
        for option, named in (("teacher_rules", self.rules or {}), ("teacher_weights", self.weights or {})):
            for name in named:
                if name not in self.teaching:
                    raise InputError(f"{option} names {name!r}, which is not one of the teachers: {self._all_names}.")
        for name, rule in (self.rules or {}).items():
            _check_rule(name, rule)
        for name, weight in (self.weights or {}).items():
            if not (0 < weight < math.inf):
                raise InputError(f"teacher_weights gives {name!r} {weight}: a weight is a finite number above 0.")

    @property
    def teaching(self) -> tuple[str, ...]:
        """The names of the teachers that teach: all but the reference."""
        return tuple(name for name in self.names if name != REFERENCE)

    @property
    def has_reference(self) -> bool:
        return REFERENCE in self.names

    @property
    def takes_column(self) -> bool:
        return len(self.teaching) > 1 and not self.rules and not self.weights

    @property
    def mixes(self) -> bool:
        """Whether the advantages of several teachers are put together in a response."""
        return bool(self.weights) or self.has_reference

    def of(self, row: Mapping[str, Any]) -> Weights:
        """The weights for a row of the data. Raises InputError if it names no teacher, or no rule matches it."""
        weights = self._teaching_weights(row)
        return {**weights, REFERENCE: -1.0} if self.has_reference else weights

    def _teaching_weights(self, row: Mapping[str, Any]) -> Weights:
        if len(self.teaching) == 1:
            return {self.teaching[0]: 1.0}
        if self.weights:
            total = math.fsum(self.weights.values())
            return {name: weight / total for name, weight in self.weights.items()}
        return {self._by_rule(row["prompt"]) if self.rules else self._by_column(row.get(COLUMN)): 1.0}

    def check(self, rows: Iterable[Mapping[str, Any]], objective: Objective | None) -> None:
        """Raises InputError for rows that go to no teacher, and for an objective that cannot mix teachers and has to.

        Args:
            rows: of the data.
            objective: None if it is chosen later, to suit.
        """
        if self.mixes and objective is not None and not objective.mixes_teachers:
            raise InputError(f"objective {objective.name!r} {self._why_not}")
        if len(self.teaching) == 1 or self.weights:
            return
        for number, row in enumerate(rows):
            try:
                self.of(row)
            except InputError as error:
                raise InputError(f"row {number}: {error}") from None

    @property
    def _why_not(self) -> str:
        """What is to be said of an objective that cannot mix teachers."""
        if self.weights:
            return (
                "learns from one teacher a response: route prompts by a column or by teacher_rules, or take an "
                "objective that mixes teachers, such as dpca."
            )
        return (
            f"compares the student with the teacher itself, so the {REFERENCE} teacher cannot be subtracted: leave it "
            "out, or take an objective that reads advantages alone, such as dpca."
        )

    def _by_column(self, name: Any) -> str:
        if name not in self.teaching:
            raise InputError(
                f"the column {COLUMN!r} says {name!r}, which is not one of the teachers: {self._all_names}. Without "
                "such a column, set teacher_rules or teacher_weights."
            )
        return str(name)

    def _by_rule(self, prompt: Prompt) -> str:
        text = _text(prompt)
        for name, rule in (self.rules or {}).items():
            if re.search(rule, text):
                return name
        raise InputError(f'no rule matches the prompt {text[:80]!r}: add a last one that matches all, name = "".')

    @property
    def _all_names(self) -> str:
        return ", ".join(self.teaching)


def _check_rule(name: str, rule: str) -> None:
    try:
        re.compile(rule)
    except re.error as error:
        raise InputError(f"the rule of teacher {name!r}, {rule!r}, is not a regular expression: {error}.") from None


def _text(prompt: Prompt) -> str:
    """The text of all its messages."""
    return prompt if isinstance(prompt, str) else "\n".join(text_of(message) or "" for message in prompt)
