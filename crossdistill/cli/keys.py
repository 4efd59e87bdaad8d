"""The list of a file's keys."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from crossdistill.errors import InputError
from crossdistill.keys.key import Key
from crossdistill.keys.table import Table


def print_keys(tables: Sequence[Table], word: str | Path | None) -> None:
    """Print the keys of a file: each with its type, its default and its meaning.

    Args:
        tables: of the file.
        word: only keys that have it in their name or meaning are printed. None, and the path of a file, stand for all.

    Raises:
        InputError: no key has the word.
    """
    wanted = "" if word is None or Path(word).suffix == ".toml" else str(word)
    console, found = Console(), False
    for table in tables:
        keys = [key for key in table.keys if key.has(wanted)]
        if keys:
            _print_table(console, table, keys)
            found = True
    if not found:
        raise InputError(f"no key has {wanted!r} in its name or meaning: try another word, or --keys alone.")


def _print_table(console: Console, table: Table, keys: Sequence[Key]) -> None:
    title = f"[{table.path}] {table.note}".rstrip() if table.path else "at the top of the file"
    console.print(Text(title, style="bold"))
    for key in keys:
        console.print(Padding.indent(Text(_declaration(key), style="cyan"), 2))
        console.print(Padding.indent(Text(key.meaning), 6))
    console.print()


def _declaration(key: Key) -> str:
    """A key as Python declares it."""
    return f"{key.name}: {key.type}" + ("  (must be given)" if key.default is None else f" = {key.default}")
