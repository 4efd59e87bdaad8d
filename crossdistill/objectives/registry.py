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


def get(name: str, **options: Any) -> Objective:
    """The objective of that name with the given options; unknown names and options are InputErrors."""
    if name not in _OBJECTIVES:
        raise InputError(f"there is no objective {name!r}; choose one of {', '.join(available())}.")
    objective = _OBJECTIVES[name]
    known = [field.name for field in fields(objective)]
    for option in options:
        if option not in known:
            raise InputError(f"objective {name!r} has no option {option!r}; it takes {', '.join(known)}.")
    return objective(**options)
