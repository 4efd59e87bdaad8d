"""Dialects by name, or by the import path of one that does not come with the package."""

from crossdistill import import_path
from crossdistill.errors import InputError
from crossdistill.teachers.served.api.dialect import Dialect

AUTO = "auto"
"""In place of a name: the first dialect that the server understands."""
_DIALECTS = {"vllm": "vllm:Vllm", "completions": "completions:Completions"}
"""Name -> module and class, below this package; the most exact first, which is the order in which they are tried."""


def available() -> tuple[str, ...]:
    """Names of the dialects that come with the package, in the order in which they are tried.

    Example:
        >>> available()
        ('vllm', 'completions')
    """
    return tuple(_DIALECTS)


def is_known(name: str) -> bool:
    """Whether a name is :data:`AUTO`, one of :func:`available` or an import path."""
    return name == AUTO or name in _DIALECTS or import_path.is_import_path(name)


def get(name: str) -> type[Dialect]:
    """The class of a dialect.

    Args:
        name: one of :func:`available`, or the import path of a :class:`Dialect`, such as
            ``"my_package.my_file:MyDialect"``.

    Raises:
        InputError: there is no such dialect.

    Example:
        >>> get("vllm").__name__
        'Vllm'
    """
    if name not in _DIALECTS and not import_path.is_import_path(name):
        raise InputError(
            f"there is no dialect {name!r}; choose one of {', '.join(available())}, or give the import path of your "
            "own, my_package.my_file:MyDialect."
        )
    path = f"{__package__}.{_DIALECTS[name]}" if name in _DIALECTS else name
    found = import_path.load(path, "dialect")
    if not (isinstance(found, type) and issubclass(found, Dialect)):
        raise InputError(f"dialect {name!r} is not a subclass of {Dialect.__module__}.{Dialect.__qualname__}.")
    return found


def candidates(name: str) -> list[type[Dialect]]:
    """The classes to try on a server: that of the name, or all that come with the package if it is :data:`AUTO`."""
    return [get(one) for one in (available() if name == AUTO else [name])]
