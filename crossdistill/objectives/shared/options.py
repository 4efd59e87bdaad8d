"""Checks that the options of several objectives share."""

import math

from crossdistill.errors import InputError


def check_positive(**options: float) -> None:
    """Raises InputError for a number that is not finite and above 0."""
    for name, value in options.items():
        if not 0 < value < math.inf:
            raise InputError(f"{name} must be a finite number > 0, not {value}.")


def check_not_negative(**options: float) -> None:
    """Raises InputError for a number that is not finite and at least 0."""
    for name, value in options.items():
        if not 0 <= value < math.inf:
            raise InputError(f"{name} must be a finite number >= 0, not {value}.")
