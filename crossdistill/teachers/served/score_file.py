"""The SQLite file of a score cache: opened, bounded in size and shared between processes."""

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FORMAT = "scores-1"  # begins the file's name; raise the number whenever the form of the rows changes
_PAGE = 4096
_MAX_LOG_PAGES = 8192
_VACUUM_PAGES = 256  # at a time: moved pages go through the log
_BUSY_S = 10.0  # another process holds the file for milliseconds, or longer if it was stopped meanwhile
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}

_SCHEMA = """
CREATE TABLE IF NOT EXISTS scores (key BLOB PRIMARY KEY, value BLOB NOT NULL, used INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS by_use ON scores (used);
"""
_DROP_OLDEST = "DELETE FROM scores WHERE rowid = (SELECT rowid FROM scores ORDER BY used LIMIT 1)"


def pages_within(num_bytes: int) -> int:
    """Pages of a file that takes three quarters of `num_bytes`; the rest is for its log."""
    return num_bytes * 3 // 4 // _PAGE


def newest(folder: Path) -> Path:
    """The file in use, or the path of a new one.

    Every file has its own name: a process that still has a file open that was moved aside deletes the log of that name
    as it closes the file.
    """
    found = sorted(folder.glob(f"{_FORMAT}-*.sqlite"))
    return found[-1] if found else folder / f"{_FORMAT}-{time.time_ns()}.sqlite"


def connect(path: Path) -> sqlite3.Connection:
    """Open the file in autocommit mode. Threads must take turns."""
    return sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)


def prepare(db: sqlite3.Connection, max_pages: int) -> None:
    """Create the table if there is none, and shrink a file that was written under a larger bound."""
    if _number(db, "page_count") == 0:
        db.execute(f"PRAGMA page_size = {_PAGE}")
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")  # a row lost in a power failure is asked for again
    db.execute("PRAGMA wal_autocheckpoint = 0")  # see bound_log
    db.executescript(_SCHEMA)
    with transaction(db):
        make_room(db, 0, max_pages)
    for _ in range(0, _number(db, "page_count") - max_pages, _VACUUM_PAGES):
        db.executescript(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})")  # `execute` would end after one page
        _empty_log(db)  # only this makes the file shorter


def bound_log(db: sqlite3.Connection, max_pages: int) -> None:
    """Copy the log into the file if it has grown long.

    SQLite's automatic checkpoint lets the log grow while any process reads, and among several one may always be
    reading; this one waits for the readers.
    """
    path = Path(db.execute("PRAGMA database_list").fetchone()[2] + "-wal")
    if path.exists() and path.stat().st_size > _log_pages(max_pages) * _PAGE:
        _empty_log(db)


def _empty_log(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _log_pages(max_pages: int) -> int:
    return min(_MAX_LOG_PAGES, max_pages // 16)


def make_room(db: sqlite3.Connection, num_bytes: int, max_pages: int) -> None:
    """Delete the least recently used rows until `num_bytes` fit. Freed pages stay in the file and are used again."""
    needed = num_bytes // (_PAGE - 4) + 4  # a chain of pages with 4 bytes of link each; the rest for both trees
    while _number(db, "page_count") - _number(db, "freelist_count") + needed > max_pages:
        if db.execute(_DROP_OLDEST).rowcount == 0:
            return


def _number(db: sqlite3.Connection, pragma: str) -> int:
    return int(db.execute(f"PRAGMA {pragma}").fetchone()[0])


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    with db:  # commits, or rolls back
        db.execute("BEGIN IMMEDIATE")
        yield


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Let one process at a time open the file, write to it or move it aside.

    Raises:
        TimeoutError: another process does not release it.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    deadline = time.monotonic() + _BUSY_S
    try:
        while not _locked(descriptor):
            if time.monotonic() > deadline:
                raise TimeoutError(f"another process has held the folder's lock for {_BUSY_S:.0f} s")
            time.sleep(0.001)
        yield
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_damage(error: Exception) -> bool:
    """Whether an error means that the file is damaged, and not merely out of reach."""
    # the low byte of the code is the kind of error; errors of the Python module itself have no code
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED
