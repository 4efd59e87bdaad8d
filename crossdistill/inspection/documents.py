"""The texts that a pair is measured on: languages, code, mathematics, numbers, symbols, layout and conversations.

``corpus/CATEGORY/NAME.txt``; written for this package, which ships them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class Document:
    """A text: its category, its name within it, and its exact bytes."""

    category: str
    name: str
    data: bytes

    @property
    def title(self) -> str:
        return f"{self.category}/{self.name}"


@cache
def corpus() -> tuple[Document, ...]:
    """Every document of the shipped corpus, in alphabetical order of categories and names."""
    return tuple(_documents())


def _documents() -> Iterator[Document]:
    folders = [entry for entry in (files("crossdistill.inspection") / "corpus").iterdir() if entry.is_dir()]
    for folder in sorted(folders, key=lambda entry: entry.name):
        for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
            yield Document(folder.name, file.name.removesuffix(".txt"), file.read_bytes())
