"""Keys are read from source as they are declared, through bases, exports and constants; what cannot be told is said."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crossdistill.keys.in_source import keys_in_source
from crossdistill.keys.key import Key
from crossdistill.keys.source import NotInSourceError, source_of
from crossdistill.keys.table import Table

Write = Callable[..., str]
CHILD = '''
"""A module."""
from abc import ABC
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from . import base
from .base import Base
from {package} import SIZE

Rows = Annotated[list[int] | None, "checked"]
SHARED: Any = field(default=2, metadata={{"help": "Of two fields."}})

@dataclass
class Child(Base, ABC):
    """A class.

    Attributes:
        described: in the docstring,
            over two lines.
        one, other: both of them.
    """

    kind: ClassVar[str] = "child"
    if SIZE:
        chosen = "small"
    else:
        chosen = "large"
    own: float = field(default=1e-6, metadata={{"help": "About 5%% of " "it."}})
    size: int = SIZE
    which: str = field(default=chosen)
    limit: int = field(default=base.LIMIT)
    rows: Rows = field(default_factory=lambda: [1])
    names: dict[str, Any] = field(default_factory=dict)
    shared: int = SHARED
    described: bool = True
    one: int = 1
    other: int = 2
    inner: int = field(init=False, default=0)
    late: str = field(default="base", metadata={{"help": "Declared anew."}})
'''
BASE = """
from dataclasses import dataclass
LIMIT = 7
@dataclass
class Base:
    needed: str
    late: str = "?"
"""
FACE = """
from typing import TYPE_CHECKING
SIZE = 8192
if TYPE_CHECKING:
    from .child import Child
raise AssertionError("this package is not to be imported")
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes a package that must not be imported, and returns its name, another one for each test."""
    monkeypatch.syspath_prepend(tmp_path)
    package = f"package_{tmp_path.name.replace('-', '_')}"

    def written(**files: str) -> str:
        for name, text in {"__init__": FACE, "base": BASE, "child": CHILD.format(package=package), **files}.items():
            path = tmp_path / package / f"{name}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        return package

    yield written
    source_of.cache_clear()


def test_fields_of_all_kinds(write: Write) -> None:
    package = write()
    assert keys_in_source(package, "Child") == [
        Key("needed", "str", None, "", package),
        Key("late", "str", "'base'", "Declared anew.", package),
        Key("own", "float", "1e-06", "About 5% of it.", package),
        Key("size", "int", "8192", "", package),
        Key("which", "str", "'small' or 'large'", "", package),
        Key("limit", "int", "7", "", package),
        Key("rows", "list[int] | None", "[1]", "", package),
        Key("names", "dict[str, Any]", "{}", "", package),
        Key("shared", "int", "2", "Of two fields.", package),
        Key("described", "bool", "True", "in the docstring, over two lines.", package),
        Key("one", "int", "1", "both of them.", package),
        Key("other", "int", "2", "both of them.", package),
    ]
    assert package not in sys.modules


@pytest.mark.parametrize(
    ("child", "message"),
    [
        ("class Other: pass", "package_.*.child does not define Child"),
        ("Child = 3", "has no class Child"),
        ("import base\nclass Child(base.Base): pass", "a class has the base base.Base"),
        ("Base = 3\nclass Child(Base): pass", "Base is no class"),
        ("class Child:\n    a: int = field(default=1, metadata={'help': TEXT})", "TEXT is no text"),
        ("class Child:\n    a: int = field(default=other.LIMIT)", "other.LIMIT is no constant"),
        ("from .none import Child", "package_.*.none has no source"),
    ],
)
def test_what_source_alone_does_not_tell(write: Write, child: str, message: str) -> None:
    with pytest.raises(NotInSourceError, match=message):
        keys_in_source(write(child=child), "Child")


def test_such_a_class_is_imported(write: Write) -> None:
    text = "from dataclasses import make_dataclass\nChild = make_dataclass('Child', [('a', int, 1)])"
    package = write(__init__="from .child import Child", child=text)
    assert [(key.name, key.type, key.default) for key in Table("", package, "Child").keys] == [("a", "int", "1")]


def test_a_word_is_found_in_names_and_meanings() -> None:
    key = Key("learning_rate", "float", "1e-06", "Of AdamW.")
    assert key.has("Rate") and key.has("adamw") and key.has("") and not key.has("float")
