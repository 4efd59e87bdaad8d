"""Objectives by name."""

from dataclasses import fields
from typing import Any

from crossdistill.errors import InputError
from crossdistill.objectives.base import Objective
from crossdistill.objectives.dpca import DPCA

_OBJECTIVES: dict[str, type[Any]] = {DPCA.name: DPCA}


def available() -> tuple[str, ...]:
    """Names of the objectives, in alphabetical order."""
    return tuple(sorted(_OBJECTIVES))


def get(name: str, /, **options: Any) -> Objective:
    """The objective of that name with the given options; unknown names and options are InputErrors."""
    if name not in _OBJECTIVES:
        raise InputError(f"there is no objective {name!r}; choose one of {', '.join(available())}.")
    objective = _OBJECTIVES[name]
    known = {field.name: field.type for field in fields(objective)}
    for option, value in options.items():
        if option not in known:
            raise InputError(f"objective {name!r} has no option {option!r}; it takes {', '.join(known)}.")
        is_number = known[option] is float
        if isinstance(value, bool) or not isinstance(value, (int, float) if is_number else str):
            kind = "a number" if is_number else "a text"
            raise InputError(f"option {option!r} of objective {name!r} must be {kind}, not {value!r}.")
    return objective(**options)
