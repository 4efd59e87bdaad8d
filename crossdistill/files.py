"""Files that a reader never sees half-written."""

import os
from pathlib import Path


def write_text(path: str | Path, text: str) -> None:
    """Write a UTF-8 file atomically: under a temporary name in the same folder, then renamed.

    Args:
        path: the file; missing folders are created.
        text: a lone surrogate (in a file name, say) has no UTF-8 and is written as an escape.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
