"""Output of commands: JSON in UTF-8, whatever the terminal's encoding, and HTML pages."""

import json
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from crossdistill.errors import InputError
from crossdistill.extras import require


def print_json(entries: Iterable[dict[str, Any]]) -> None:
    """Print JSON, one line per entry, as the entries come.

    Args:
        entries: plain data; lone surrogates, which have no UTF-8, are written as JSON escapes.
    """
    sys.stdout.flush()
    for entry in entries:
        line = json.dumps(entry, ensure_ascii=False) + "\n"
        sys.stdout.buffer.write(line.encode("utf-8", "backslashreplace"))
        sys.stdout.buffer.flush()


def check_page(path: Path | None) -> None:
    """Check that a page can be written, before anything is measured for it.

    Args:
        path: of the page; None if none is wanted.

    Raises:
        InputError: it cannot, or jinja2 is not installed.
    """
    if path is None:
        return
    require("report", "jinja2", user="an HTML page")
    with writing(path):
        if path.exists() and not path.is_file():  # the page is renamed into place, which would replace a device
            kind = "a folder" if path.is_dir() else "a device or a pipe"
            raise InputError(f"the page {path} is {kind}: name a file to write.")
        nearest = next(parent for parent in path.absolute().parents if parent.exists())
        if not nearest.is_dir():
            raise InputError(f"the page {path} lies below {nearest}, which is not a folder: name another file.")
        with tempfile.TemporaryFile(dir=nearest):  # permissions alone do not decide, for root at least
            pass


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn errors while a page or another file is written into one sentence.

    Raises:
        InputError: it cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}): name another file.") from None
