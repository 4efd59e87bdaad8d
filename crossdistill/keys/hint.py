"""What was meant by a key that does not exist."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from crossdistill.keys.table import Table

_MOST = 2


def hint(name: str, known: Iterable[str], path: str = "", tables: Sequence[Table] = ()) -> str:
    """The end of a message about an unknown key.

    Args:
        name: as it was written, without its table.
        known: keys of the table that it was written in.
        path: of that table.
        tables: all tables of the file. A key of this very name in another one is meant before one that is only like it.

    Example:
        >>> hint("studnet", ["student", "teacher"])
        "did you mean 'student'?"
    """
    others = [table for table in tables if table.path != path]
    exact = dict.fromkeys(table.place_of(name) for table in others if name in table.names)
    near = list(exact)[:_MOST] or list(map(repr, get_close_matches(name, known, n=1))) or _like(name, others)
    return f"did you mean {' or '.join(near)}?" if near else "--keys lists them all"


def _like(name: str, tables: Iterable[Table]) -> list[str]:
    places = {key: table.place_of(key) for table in reversed([*tables]) for key in table.names}
    return [places[key] for key in get_close_matches(name, places, n=1)]
