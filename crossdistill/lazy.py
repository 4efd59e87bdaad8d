"""Names of a package that are loaded when they are first asked for, so that a light import stays light."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def names_of(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """A module's ``__getattr__`` (PEP 562) that loads names from its submodules.

    Args:
        package: ``__name__`` of the package.
        homes: name -> the module that defines it, relative to the package: "base", or ".errors" beside the package.
    """

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f".{homes[name]}", package), name)

    return load
