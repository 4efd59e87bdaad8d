"""What a benchmark is told, checked before anything is measured."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from crossdistill.errors import InputError

INPUT_CODE = 2
"""The exit code for what cannot work."""


@contextmanager
def refusals() -> Iterator[None]:
    """An InputError inside ends the command in one sentence."""
    try:
        yield
    except InputError as error:
        Console().print(f"error: {error}", markup=False)
        raise typer.Exit(INPUT_CODE) from None


def check_file(option: str, path: Path) -> None:
    """Refuse a file that cannot be written.

    Args:
        option: that names it.
        path: of the file; missing folders are made when it is written.

    Raises:
        InputError: there is a folder, or a file where its folder would be.
    """
    if path.is_dir():
        raise InputError(f"{option} is a file, and {path} is a folder: name a file in it.")
    check_folder(option, path.absolute().parent)


def check_folder(option: str, path: Path) -> None:
    """Refuse a folder that cannot be made.

    Raises:
        InputError: there is a file.
    """
    nearest = next(one for one in (path.absolute(), *path.absolute().parents) if one.exists())
    if not nearest.is_dir():
        raise InputError(f"{option} cannot be {path}, because {nearest} is a file: name another.")


def check_same(file: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to put figures beside those of another machine or of other versions.

    Args:
        file: of the figures.
        before: what those in the file were measured with.
        now: what the new ones are measured with.

    Raises:
        InputError: they differ.
    """
    names = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    if names:
        changes = "; ".join(f"{name}: {before.get(name)} there, {now.get(name)} now" for name in names)
        raise InputError(
            f"the other figures in {file} are of another machine or version ({changes}): leave --only out, or name "
            "another file."
        )
