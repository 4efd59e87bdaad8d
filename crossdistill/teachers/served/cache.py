"""A cache of a server's scores on disk, so that nothing is asked twice."""

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

from crossdistill.teachers.served import score_file
from crossdistill.teachers.served.api.answers import PromptLogprobs
from crossdistill.teachers.served.packing import pack, unpack

_LOGGER = logging.getLogger("crossdistill")
_ROW_SHARE = 8  # a row may take an eighth of the room
_PAUSE_S = 60.0
_MAX_UNWRITTEN = 256

T = TypeVar("T")


@dataclass
class _Handle:
    """One process's use of the file.

    Attributes:
        pid: of the process.
        lock: held by the thread that uses the file.
        db: the open file; None if it is closed.
        path: of the open file.
    """

    pid: int = field(default_factory=os.getpid)
    lock: threading.Lock = field(default_factory=threading.Lock)
    db: sqlite3.Connection | None = None
    path: Path | None = None


class ScoreCache:
    """Scores by content: the key is a hash of the teacher, the exact token ids and k (:meth:`key`).

    Several processes and threads may use one folder at once. If the process is killed, only the row in flight is lost.
    Every row has a checksum; a row that fails it counts as a miss. A damaged file is moved aside (the last one is kept)
    and a new one is begun, with a warning. If the file cannot be used (no permission, a full disk), the cache leaves it
    alone for a minute, during which every `get` is a miss; it warns once, and the run goes on.

    Args:
        folder: on a local disk; created if it does not exist.
        max_mib: most that the files may take in MiB, not counting one that was moved aside. The least recently used
            rows are dropped first; a row larger than an eighth of it is not kept.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> cache = ScoreCache(folder.name, max_mib=1)
        >>> key = ScoreCache.key("a teacher", [1, 2, 3], top_k=0)
        >>> cache.get(key) is None
        True
        >>> cache.put(key, PromptLogprobs(np.array([-1.5, -0.5], np.float32)))
        >>> cache.get(key).logprobs.tolist()
        [-1.5, -0.5]
        >>> cache.close()
        >>> folder.cleanup()
    """

    def __init__(self, folder: str | Path, max_mib: float = 1024):
        self._folder = Path(folder)
        self._max_bytes = int(max_mib * 2**20)
        self._max_pages = score_file.pages_within(self._max_bytes)
        self._uses: dict[bytes, int] = {}  # times of use, not yet in the file: a hit writes nothing
        self._paused_until, self._has_warned = 0.0, False
        self._handle = _Handle()
        self._inherited: list[_Handle] = []

    @staticmethod
    def key(teacher: str, ids: Sequence[int], top_k: int) -> bytes:
        """SHA-256 of everything that a score depends on.

        Args:
            teacher: identifies the teacher, its weights included.
            ids: token ids.
            top_k: most probable tokens at each position.
        """
        name = teacher.encode("utf-8", "surrogatepass")
        numbers = np.array([len(name), top_k, *ids], dtype="<i8")
        return hashlib.sha256(numbers.tobytes() + name).digest()

    def get(self, key: bytes) -> PromptLogprobs | None:
        """Return the score that was put under this key; None if there is none or it is damaged."""
        return self._attempt(lambda db: self._read(db, key))

    def put(self, key: bytes, value: PromptLogprobs) -> None:
        """Keep a score. It survives a kill of the process, but perhaps not a power failure."""
        row = pack(key, value)
        if len(row) * _ROW_SHARE <= self._max_bytes:
            self._attempt(lambda db: self._write(db, key, row))

    def close(self) -> None:
        """Record which rows were used, and close the file; a later call opens it again."""
        handle = self._own_handle()
        if handle.db is not None:
            self._attempt(self._write_uses)
        with handle.lock:
            _disconnect(handle)

    def _read(self, db: sqlite3.Connection, key: bytes) -> PromptLogprobs | None:
        row = db.execute("SELECT value FROM scores WHERE key = ?", (key,)).fetchone()
        value = None if row is None else unpack(key, row[0])
        if value is not None:
            self._uses[key] = time.time_ns()
            if len(self._uses) >= _MAX_UNWRITTEN:
                self._write_uses(db)
        return value

    def _write(self, db: sqlite3.Connection, key: bytes, row: bytes) -> None:
        with self._writing(db):
            score_file.make_room(db, len(row), self._max_pages)
            db.execute("INSERT OR REPLACE INTO scores VALUES (?, ?, ?)", (key, row, time.time_ns()))

    def _write_uses(self, db: sqlite3.Connection) -> None:
        if self._uses:
            with self._writing(db):
                pass

    @contextmanager
    def _writing(self, db: sqlite3.Connection) -> Iterator[None]:
        """A transaction that also records which rows were used. Writers take turns, so that the log stays bounded."""
        uses, self._uses = self._uses, {}
        with score_file.exclusive(self._folder):
            score_file.bound_log(db, self._max_pages)
            with score_file.transaction(db):
                db.executemany("UPDATE scores SET used = ? WHERE key = ?", [(at, key) for key, at in uses.items()])
                yield

    def _attempt(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """The result of `work`; None if the file cannot be used."""
        handle = self._own_handle()
        with handle.lock:
            if time.monotonic() < self._paused_until:
                return None
            try:
                return work(self._open(handle))
            except sqlite3.ProgrammingError:
                raise  # a bug here, not a problem of the file
            except (sqlite3.DatabaseError, OSError) as error:
                self._give_up(handle, error)
                return None

    def _own_handle(self) -> _Handle:
        """This process's handle: a connection must be neither used nor closed after a fork."""
        if self._handle.pid != os.getpid():
            self._inherited.append(self._handle)
            self._handle = _Handle()
        return self._handle

    def _open(self, handle: _Handle) -> sqlite3.Connection:
        if handle.db is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            with score_file.exclusive(self._folder):
                handle.path = score_file.newest(self._folder)
                handle.db = score_file.connect(handle.path)
                score_file.prepare(handle.db, self._max_pages)
        return handle.db

    def _give_up(self, handle: _Handle, error: sqlite3.DatabaseError | OSError) -> None:
        """Move a damaged file aside, so that the next call begins a new one; pause if the file cannot be used."""
        _disconnect(handle)
        if score_file.is_damage(error) and handle.path is not None:
            try:
                self._move_aside(handle.path, error)
                return
            except OSError as refusal:
                error = refusal
        self._paused_until = time.monotonic() + _PAUSE_S
        if not self._has_warned:
            self._has_warned = True
            _LOGGER.warning(
                "the score cache in %s cannot be used (%s): the run goes on without it.", self._folder, error
            )

    def _move_aside(self, path: Path, error: Exception) -> None:
        with score_file.exclusive(self._folder):
            if not path.exists():
                return  # another process has moved it
            aside = path.replace(self._folder / "scores.damaged")
        _LOGGER.warning("the score cache is damaged (%s): it is moved to %s, and a new one is begun.", error, aside)


def _disconnect(handle: _Handle) -> None:
    if handle.db is not None:
        handle.db.close()
        handle.db = None
