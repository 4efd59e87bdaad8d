"""Objectives by name."""

from dataclasses import fields
from typing import Any

from pydantic import TypeAdapter, ValidationError

from crossdistill.errors import InputError
from crossdistill.objectives.alm import ALM
from crossdistill.objectives.base import Objective
from crossdistill.objectives.bld import BLD
from crossdistill.objectives.bpm import BPM
from crossdistill.objectives.cdm import CDM
from crossdistill.objectives.dpca import DPCA
from crossdistill.objectives.gkd import GKD
from crossdistill.objectives.gold import GOLD
from crossdistill.objectives.multilevel_ot import MultiLevelOT
from crossdistill.objectives.shared_vocab import SharedVocab
from crossdistill.objectives.simct import SimCT
from crossdistill.objectives.strict import Strict
from crossdistill.objectives.uld import ULD

_OBJECTIVES: dict[str, type[Any]] = {
    kind.name: kind for kind in (ALM, CDM, DPCA, BLD, BPM, GKD, GOLD, MultiLevelOT, ULD, SharedVocab, SimCT, Strict)
}
_KINDS = {float: "a number", str: "a text", int: "a whole number", bool: "true or false"}


def available() -> tuple[str, ...]:
    """Names of the objectives, in alphabetical order."""
    return tuple(sorted(_OBJECTIVES))


def get(name: str, /, **options: Any) -> Objective:
    """The objective of that name with the given options; unknown names and options are InputErrors."""
    if name not in _OBJECTIVES:
        raise InputError(f"there is no objective {name!r}; choose one of {', '.join(available())}.")
    known: dict[str, Any] = {field.name: field.type for field in fields(_OBJECTIVES[name]) if field.init}
    for option, value in options.items():
        if option not in known:
            raise InputError(f"objective {name!r} has no option {option!r}; it takes {', '.join(known) or 'none'}.")
        try:
            TypeAdapter(known[option]).validate_python(value, strict=True)
        except ValidationError:
            kind = _KINDS[known[option]]
            raise InputError(f"option {option!r} of objective {name!r} must be {kind}, not {value!r}.") from None
    objective: Objective = _OBJECTIVES[name](**options)
    return objective
