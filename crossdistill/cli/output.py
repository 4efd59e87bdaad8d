"""What commands write: JSON as UTF-8 whatever the terminal speaks, and pages where they can be written."""

import json
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from crossdistill.errors import InputError


def print_json(entries: Iterable[dict[str, Any]]) -> None:
    """One line an entry, as they come. A lone surrogate has no UTF-8: it is written as JSON's escape."""
    sys.stdout.flush()
    for entry in entries:
        line = json.dumps(entry, ensure_ascii=False) + "\n"
        sys.stdout.buffer.write(line.encode("utf-8", "backslashreplace"))
        sys.stdout.buffer.flush()


def check_page(path: Path | None) -> None:
    """Raises InputError where a page cannot be written, before anything is measured for it."""
    if path is None:
        return
    with writing(path):
        if path.exists() and not path.is_file():  # a page is put in place by a rename, which would replace a device
            kind = "a folder" if path.is_dir() else "a device or a pipe"
            raise InputError(f"the page {path} is {kind}: name a file to write.")
        nearest = next(parent for parent in path.absolute().parents if parent.exists())
        if not nearest.is_dir():
            raise InputError(f"the page {path} lies below {nearest}, which is no folder: name another file.")
        with tempfile.TemporaryFile(dir=nearest):  # permissions alone do not tell, as for root
            pass


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """A page that cannot be written after all is told in one sentence."""
    try:
        yield
    except OSError as error:
        raise InputError(f"the page {path} cannot be written ({error.strerror}): name another file.") from None
