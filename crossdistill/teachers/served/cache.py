"""Scores of a server kept on disk, so that what was asked once is not asked again."""

import fcntl
import hashlib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from crossdistill.teachers.served.api.dialect import PromptLogprobs
from crossdistill.teachers.served.packing import packed, unpacked

_LOGGER = logging.getLogger("crossdistill")
_FORMAT = "scores-1"  # begins the file's name; raise the number whenever rows are written in another way
_PAGE = 4096
_ROW_SHARE, _FILE_SHARE = (
    8,
    3 / 4,
)  # a row may take an eighth of the room, the file three quarters; the log has the rest
_MAX_LOG_PAGES = 8192
_VACUUM_PAGES = 256  # a step: what it moves goes through the log
_BUSY_S = 10.0  # another process holds the file for milliseconds; one that was stopped meanwhile, for longer
_REST_S = 60.0
_MAX_UNWRITTEN = 256
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}

_SCHEMA = """
CREATE TABLE IF NOT EXISTS scores (key BLOB PRIMARY KEY, value BLOB NOT NULL, used INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS by_use ON scores (used);
"""
_DROP_OLDEST = "DELETE FROM scores WHERE rowid = (SELECT rowid FROM scores ORDER BY used LIMIT 1)"

T = TypeVar("T")


@dataclass
class _Handle:
    """One process's use of the file. path: of the file that is open."""

    pid: int = field(default_factory=os.getpid)
    lock: threading.Lock = field(default_factory=threading.Lock)
    db: sqlite3.Connection | None = None
    path: Path | None = None


class ScoreCache:
    """Scores by content: a key stands for the teacher, the exact token ids and k (:meth:`key`).

    Several processes and threads may use one folder at once. What was put stays when the process is killed, except the
    row in flight. Every row has a checksum, and one that fails it is a miss. A damaged file is moved aside (the last
    one is kept) and begun anew, with a warning. Where the file cannot be used (no rights, a full disk), it is left
    alone for a minute, in which every `get` is a miss; that is told once, and the run goes on.

    Args:
        folder: on a local disk; made where it is not there.
        max_mib: most that the files take, without one moved aside. The least recently used rows go first; a row larger
            than an eighth of it is not kept.
    """

    def __init__(self, folder: str | Path, max_mib: float = 1024):
        self._folder = Path(folder)
        self._max_bytes = int(max_mib * 2**20)
        self._max_pages = int(self._max_bytes * _FILE_SHARE) // _PAGE
        self._uses: dict[bytes, int] = {}  # not yet written down: a hit alone writes nothing
        self._rests_until, self._has_told = 0.0, False
        self._handle = _Handle()
        self._inherited: list[_Handle] = []

    @staticmethod
    def key(fingerprint: str, ids: Sequence[int], top_k: int) -> bytes:
        """SHA-256 of all that a score depends on. fingerprint: of the teacher, its weights included."""
        name = fingerprint.encode("utf-8", "surrogatepass")
        numbers = np.array([len(name), top_k, *ids], dtype="<i8")
        return hashlib.sha256(numbers.tobytes() + name).digest()

    def get(self, key: bytes) -> PromptLogprobs | None:
        """The score put under this key; None where there is none, or a damaged one."""
        return self._attempt(lambda db: self._read(db, key))

    def put(self, key: bytes, value: PromptLogprobs) -> None:
        """Keep a score. No kill of the process takes it away again; a loss of power may."""
        row = packed(key, value)
        if len(row) * _ROW_SHARE <= self._max_bytes:
            self._attempt(lambda db: self._write(db, key, row))

    def close(self) -> None:
        """Write down what was used, and close the file; a later call opens it again."""
        handle = self._own()
        if handle.db is not None:
            self._attempt(self._write_uses)
        with handle.lock:
            _disconnect(handle)

    def _read(self, db: sqlite3.Connection, key: bytes) -> PromptLogprobs | None:
        row = db.execute("SELECT value FROM scores WHERE key = ?", (key,)).fetchone()
        value = None if row is None else unpacked(key, row[0])
        if value is not None:
            self._uses[key] = time.time_ns()
            if len(self._uses) >= _MAX_UNWRITTEN:
                self._write_uses(db)
        return value

    def _write(self, db: sqlite3.Connection, key: bytes, row: bytes) -> None:
        with self._writing(db):
            _make_room(db, len(row), self._max_pages)
            db.execute("INSERT OR REPLACE INTO scores VALUES (?, ?, ?)", (key, row, time.time_ns()))

    def _write_uses(self, db: sqlite3.Connection) -> None:
        if self._uses:
            with self._writing(db):
                pass

    @contextmanager
    def _writing(self, db: sqlite3.Connection) -> Iterator[None]:
        """A transaction that also writes down what was used. Writers take turns, so that the log keeps its bound."""
        uses, self._uses = self._uses, {}
        with _alone(self._folder):
            _bound_log(db, self._max_pages)
            with _transaction(db):
                db.executemany("UPDATE scores SET used = ? WHERE key = ?", [(at, key) for key, at in uses.items()])
                yield

    def _attempt(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """What `work` gives; None where the file cannot be used."""
        handle = self._own()
        with handle.lock:
            if time.monotonic() < self._rests_until:
                return None
            try:
                return work(self._opened(handle))
            except sqlite3.ProgrammingError:
                raise  # our mistake, not the file's
            except (sqlite3.DatabaseError, OSError) as error:
                self._give_up(handle, error)
                return None

    def _own(self) -> _Handle:
        """This process's handle: a connection may be neither used nor closed on the other side of a fork."""
        if self._handle.pid != os.getpid():
            self._inherited.append(self._handle)
            self._handle = _Handle()
        return self._handle

    def _opened(self, handle: _Handle) -> sqlite3.Connection:
        if handle.db is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            with _alone(self._folder):
                handle.path = _newest(self._folder)
                handle.db = _connect(handle.path)
                _prepare(handle.db, self._max_pages)
        return handle.db

    def _give_up(self, handle: _Handle, error: sqlite3.DatabaseError | OSError) -> None:
        """Leave a damaged file to the next call, which finds a new one; leave one that cannot be used for a while."""
        _disconnect(handle)
        if _is_damage(error) and handle.path is not None:
            try:
                self._move_aside(handle.path, error)
                return
            except OSError as refusal:
                error = refusal
        self._rests_until = time.monotonic() + _REST_S
        if not self._has_told:
            self._has_told = True
            _LOGGER.warning(
                "the cache of scores in %s cannot be used (%s): the run goes on without it.", self._folder, error
            )

    def _move_aside(self, path: Path, error: Exception) -> None:
        with _alone(self._folder):
            if not path.exists():
                return  # another process has done it
            aside = path.replace(self._folder / "scores.damaged")
        _LOGGER.warning("the cache of scores is damaged (%s): it is moved to %s and begun anew.", error, aside)


def _newest(folder: Path) -> Path:
    """The file in use, or the name of one to begin.

    Each has a name of its own: a process that still has one open that was moved aside removes, as it closes it, the
    log of that name.
    """
    found = sorted(folder.glob(f"{_FORMAT}-*.sqlite"))
    return found[-1] if found else folder / f"{_FORMAT}-{time.time_ns()}.sqlite"


def _connect(path: Path) -> sqlite3.Connection:
    """In autocommit; threads take turns by the handle's lock."""
    return sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)


def _prepare(db: sqlite3.Connection, max_pages: int) -> None:
    """Make the table where there is none, and shrink a file that was written under a larger bound."""
    if _number(db, "page_count") == 0:
        db.execute(f"PRAGMA page_size = {_PAGE}")
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")  # a row that a loss of power takes is asked for again
    db.execute("PRAGMA wal_autocheckpoint = 0")  # see _bound_log
    db.executescript(_SCHEMA)
    with _transaction(db):
        _make_room(db, 0, max_pages)
    for _ in range(0, _number(db, "page_count") - max_pages, _VACUUM_PAGES):
        db.executescript(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})")  # `execute` would end after one page
        _empty_log(db)  # only this makes the file shorter


def _bound_log(db: sqlite3.Connection, max_pages: int) -> None:
    """Carry the log over into the file where it has grown long.

    SQLite's own way leaves a log to grow for as long as some process reads, which among several may be always; this
    one waits for the readers.
    """
    path = Path(db.execute("PRAGMA database_list").fetchone()[2] + "-wal")
    if path.exists() and path.stat().st_size > _log_pages(max_pages) * _PAGE:
        _empty_log(db)


def _empty_log(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _log_pages(max_pages: int) -> int:
    return min(_MAX_LOG_PAGES, max_pages // 16)


def _make_room(db: sqlite3.Connection, num_bytes: int, max_pages: int) -> None:
    """Drop the least recently used rows until so many bytes fit. Freed pages stay in the file, to be used again."""
    needed = num_bytes // (_PAGE - 4) + 4  # a chain of pages with 4 bytes of link each; the rest for both trees
    while _number(db, "page_count") - _number(db, "freelist_count") + needed > max_pages:
        if db.execute(_DROP_OLDEST).rowcount == 0:
            return


def _number(db: sqlite3.Connection, pragma: str) -> int:
    return int(db.execute(f"PRAGMA {pragma}").fetchone()[0])


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    with db:  # commits, or rolls back
        db.execute("BEGIN IMMEDIATE")
        yield


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time opens the file, writes to it or moves it aside. TimeoutError where another does not end."""
    descriptor = os.open(folder, os.O_RDONLY)
    deadline = time.monotonic() + _BUSY_S
    try:
        while not _locked(descriptor):
            if time.monotonic() > deadline:
                raise TimeoutError(f"another process has held it for {_BUSY_S:.0f} s")
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


def _disconnect(handle: _Handle) -> None:
    if handle.db is not None:
        handle.db.close()
        handle.db = None


def _is_damage(error: Exception) -> bool:
    # the low byte of the code is the kind of error; what the library itself raises has no code
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED
