"""Objects that a configuration names by an import path, ``"my_package.my_file:MyClass"``."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from crossdistill.errors import InputError

SEPARATOR = ":"


def is_import_path(name: str) -> bool:
    """Whether a name is an import path and not the name of something that comes with the package."""
    return SEPARATOR in name


def load(path: str, what: str) -> Any:
    """The object that an import path names. The current folder is searched last, so it shadows no installed package.

    Args:
        path: ``"package.module:Name"``.
        what: what the object is, for messages ("objective").

    Raises:
        InputError: no such module, or no such name in it. What the module itself raises is not caught.

    Example:
        >>> load("math:pi", "constant")
        3.141592653589793
    """
    module_name, _, name = path.partition(SEPARATOR)
    if not module_name or not name:
        raise InputError(f"{what} {path!r} is not an import path: write package.module{SEPARATOR}Name.")
    try:
        module = _imported(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # the module is there, and something that it needs is not
        raise InputError(
            f"{what} {path!r}: there is no module {error.name!r}: install its package, or start from the folder that "
            "holds it."
        ) from None
    if not hasattr(module, name):
        raise InputError(f"{what} {path!r}: the module {module_name!r} has no {name!r}.")
    return getattr(module, name)


def _imported(module: str) -> Any:
    here = str(Path.cwd())
    if here in sys.path or "" in sys.path:
        return import_module(module)
    sys.path.append(here)
    try:
        return import_module(module)
    finally:
        sys.path.remove(here)
