"""Keys of a dataclass that is imported: the slow, obvious twin of :mod:`crossdistill.keys.in_source`."""

from dataclasses import MISSING, Field, fields
from importlib import import_module
from inspect import get_annotations
from typing import Any

from crossdistill.keys.key import Key


def keys_imported(module: str, name: str) -> list[Key]:
    """The keys of a dataclass, in the order of its arguments.

    Args:
        module: that defines or exports it.
        name: of the class.

    Example:
        >>> keys_imported("crossdistill.eval.sampling", "Sampling")[0].default
        '1'
    """
    kind = getattr(import_module(module), name)
    return [_key(field, kind) for field in fields(kind) if field.init]


def _key(field: Field[Any], kind: type) -> Key:
    owner = next(base for base in kind.__mro__ if field.name in get_annotations(base))
    return Key(
        field.name,
        field.type if isinstance(field.type, str) else getattr(field.type, "__name__", str(field.type)),
        _default(field),
        " ".join(str(field.metadata.get("help", "")).replace("%%", "%").split()),
        owner.__module__.partition(".")[0],
    )


def _default(field: Field[Any]) -> str | None:
    if field.default is not MISSING:
        return repr(field.default)
    if field.default_factory is MISSING:
        return None
    made = field.default_factory()
    return f"{type(made).__name__}()" if type(made) is field.default_factory and made else repr(made)
