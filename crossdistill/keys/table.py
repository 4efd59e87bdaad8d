"""A table of a file: the class that its keys are the fields of."""

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from crossdistill.keys.imported import keys_imported
from crossdistill.keys.in_source import keys_in_source
from crossdistill.keys.key import Key
from crossdistill.keys.source import NotInSourceError


@dataclass(frozen=True)
class Table:
    """A table of a file.

    Attributes:
        path: what its keys come after, such as "train" or "teachers.NAME"; "" at the top of the file.
        module: that defines or exports the class.
        kind: name of the class.
        elsewhere: fields of the class that are no keys, because they are set in another way.
        refused: fields that are refused, with a reason, when the class is made.
        note: what the table is for, if its path does not tell.
    """

    path: str
    module: str
    kind: str
    elsewhere: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()
    note: str = ""

    @property
    def keys(self) -> list[Key]:
        """Its keys: ours first, then those of TRL, and otherwise in the order of the class."""
        keys = [key for key in _keys(self.module, self.kind) if key.name not in self.elsewhere | self.refused]
        return sorted(keys, key=lambda key: (not key.is_ours, key.owner != "trl"))

    @property
    def names(self) -> list[str]:
        """Names of its keys."""
        return [key.name for key in self.keys]

    def load(self) -> Any:
        """The class itself."""
        return getattr(import_module(self.module), self.kind)

    def place_of(self, name: str) -> str:
        """A key as it is written after ``--set``; in quotes, for a message."""
        return repr(f"{self.path}.{name}") if self.path else f"{name!r} at the top of the file"


@cache
def _keys(module: str, kind: str) -> list[Key]:
    try:
        return keys_in_source(module, kind)
    except NotInSourceError:  # another release may declare fields in a way that source alone does not tell
        return keys_imported(module, kind)
