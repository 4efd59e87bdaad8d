"""Room on disk: which errors mean that there is none, told in one sentence."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crossdistill.errors import OutOfSpaceError

_ERRNOS = (errno.ENOSPC, errno.EDQUOT)
_IN_MESSAGES = tuple(f"(os error {number})" for number in _ERRNOS)  # of libraries in Rust, which have no errno
_PROBE_BYTES = 2**20


@contextmanager
def telling_out_of_space(folder: str | Path) -> Iterator[None]:
    """Turn an error that means that a disk is full into one sentence; every other error passes.

    Args:
        folder: that is written to; it need not exist.

    Raises:
        OutOfSpaceError: there is no room for what was to be written.

    Example:
        >>> with telling_out_of_space("runs/first"):
        ...     raise OSError(errno.EIO, "the disk is broken")
        Traceback (most recent call last):
        OSError: [Errno 5] the disk is broken
    """
    try:
        yield
    except OutOfSpaceError:
        raise
    except Exception as error:  # of many libraries, each in its own way
        cause = out_of_space(error, folder)
        if cause is None:
            raise
        raise OutOfSpaceError(_sentence(cause, Path(folder))) from error


def out_of_space(error: BaseException | None, folder: str | Path) -> BaseException | None:
    """The error among an error and its causes that means that a disk is full; None if none does.

    Args:
        error: to look at.
        folder: that was written to; it need not exist.

    Example:
        >>> out_of_space(OSError(errno.ENOSPC, "No space left on device"), "runs/first")
        OSError(28, 'No space left on device')
    """
    return next((one for one in _with_causes(error) if _tells(one) or _hides(one, Path(folder))), None)


def _with_causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _tells(error: BaseException) -> bool:
    """Whether an error names the reason itself."""
    if isinstance(error, OSError) and error.errno in _ERRNOS:
        return True
    return any(part in str(error) for part in _IN_MESSAGES)


def _hides(error: BaseException, folder: Path) -> bool:
    """Whether an error of torch's writer, which does not tell its reason, comes of a full disk."""
    is_writers = isinstance(error, RuntimeError) and "inline_container" in str(error)
    return is_writers and _is_full(_nearest(folder))


def _is_full(folder: Path) -> bool:
    if shutil.disk_usage(folder).free < _PROBE_BYTES:
        return True
    try:
        with tempfile.TemporaryFile(dir=folder) as file:  # a quota is not part of the disk's figures
            file.write(bytes(_PROBE_BYTES))
    except OSError as error:
        return error.errno in _ERRNOS
    return False


def _lacks_inodes(path: Path) -> bool:
    """Whether the disk has a fixed number of inodes, one a file, and none is left."""
    disk = os.statvfs(path)
    return disk.f_files > 0 and disk.f_favail == 0


def _nearest(path: Path) -> Path:
    """The path itself if it exists, or the nearest folder above it that does."""
    path = path.absolute()
    return next(one for one in (path, *path.parents) if one.exists())


def _sentence(error: BaseException, folder: Path) -> str:
    named = error.filename if isinstance(error, OSError) else None
    written = Path(os.fsdecode(named)) if isinstance(named, str | bytes) else folder
    nearest = _nearest(written)
    free = shutil.disk_usage(nearest if nearest.is_dir() else nearest.parent).free
    if _lacks_inodes(nearest):
        return f"no file can be created on the disk of {written}, whose inodes are used up: delete files there."
    is_quota = isinstance(error, OSError) and error.errno == errno.EDQUOT
    reason = "your quota is used up on" if is_quota else "no space is left on"
    return f"{reason} the disk of {written} ({free / 2**20:,.1f} MiB free): make room there."
