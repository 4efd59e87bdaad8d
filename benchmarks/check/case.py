"""A ratio that is measured, and how much of it a repetition may differ."""

from collections.abc import Callable
from dataclasses import dataclass

TIME, MEMORY = 1.4, 1.05
"""Factors by which a ratio of processor times, or of counted bytes, may exceed the committed one."""


@dataclass(frozen=True)
class Case:
    """Of this package over a reference that is measured in the same run: the smaller, the better.

    Attributes:
        name: says both.
        tolerance: the factor by which it may exceed the committed figure.
        measure: returns the ratio.
    """

    name: str
    tolerance: float
    measure: Callable[[], float]
