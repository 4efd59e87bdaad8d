"""Objectives by name, or by import path if they do not come with the package."""

from dataclasses import fields, is_dataclass
from inspect import isabstract
from typing import Any

from pydantic import TypeAdapter, ValidationError

from crossdistill import import_path
from crossdistill.errors import InputError
from crossdistill.objectives.base import Objective, check_objective
from crossdistill.objectives.names import HOMES

_KINDS = {float: "a number", str: "a text", int: "a whole number", bool: "true or false"}


def available() -> tuple[str, ...]:
    """Names of the objectives that come with the package, in alphabetical order.

    Example:
        >>> "dpca" in available()
        True
    """
    return tuple(sorted(HOMES))


def get(name: str, /, **options: Any) -> Objective:
    """The objective with this name and these options.

    Args:
        name: one of :func:`available`, or the import path of an :class:`Objective`, such as
            ``"my_package.my_file:MyObjective"``.
        **options: fields of its class.

    Raises:
        InputError: the name or an option is unknown, or an option has a value that it does not take.

    Example:
        >>> get("dpca", credit="uniform").signal.value
        'sampled'
    """
    kind = _class_of(name)
    known: dict[str, Any] = {item.name: item.type for item in fields(kind) if item.init} if is_dataclass(kind) else {}
    for option, value in options.items():
        if option not in known:
            raise InputError(f"objective {name!r} has no option {option!r}; it takes {', '.join(known) or 'none'}.")
        try:
            TypeAdapter(known[option]).validate_python(value, strict=True)
        except ValidationError as error:
            wanted = _KINDS.get(known[option]) or error.errors()[0]["msg"].lower()
            raise InputError(f"option {option!r} of objective {name!r} must be {wanted}, not {value!r}.") from None
    return check_objective(kind(**options))


def _class_of(name: str) -> type[Objective]:
    if name in HOMES:
        kind: type[Objective] = import_path.load(f"crossdistill.objectives.{HOMES[name]}", "objective")
        return kind
    if not import_path.is_import_path(name):
        raise InputError(
            f"there is no objective {name!r}; choose one of {', '.join(available())}, or give the import path of your "
            "own, my_package.my_file:MyObjective."
        )
    found = import_path.load(name, "objective")
    if not (isinstance(found, type) and issubclass(found, Objective)):
        raise InputError(f"objective {name!r} is not a subclass of crossdistill.objectives.Objective.")
    if isabstract(found):
        raise InputError(f"objective {name!r} is abstract: implement {', '.join(sorted(found.__abstractmethods__))}.")
    return found
