"""The shipped corpus that pairs are measured on: languages, code, mathematics, numbers, symbols, layout, conversations.

The files are ``corpus/CATEGORY/NAME.txt``, written for this package.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class Document:
    """A text.

    Attributes:
        category: such as "languages".
        name: within the category.
        data: its exact bytes.

    Example:
        >>> Document("code", "loop", b"for x in y:").title
        'code/loop'
    """

    category: str
    name: str
    data: bytes

    @property
    def title(self) -> str:
        return f"{self.category}/{self.name}"


@cache
def corpus() -> tuple[Document, ...]:
    """Every document of the shipped corpus, in alphabetical order of categories and names.

    Example:
        >>> sorted({document.category for document in corpus()})
        ['chat', 'code', 'languages', 'layout', 'maths', 'numbers', 'symbols']
    """
    return tuple(_documents())


def _documents() -> Iterator[Document]:
    folders = [entry for entry in (files("crossdistill.inspection") / "corpus").iterdir() if entry.is_dir()]
    for folder in sorted(folders, key=lambda entry: entry.name):
        for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
            yield Document(folder.name, file.name.removesuffix(".txt"), file.read_bytes())
