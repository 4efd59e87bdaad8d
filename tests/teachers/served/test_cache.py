"""The score cache on disk: its rows, its size, and its behaviour under kills, damage and full disks."""

import contextlib
import hashlib
import logging
import multiprocessing
import os
import pickle
import resource
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from crossdistill.teachers.served import cache as module
from crossdistill.teachers.served import score_file
from crossdistill.teachers.served.api.answers import PromptLogprobs
from crossdistill.teachers.served.cache import ScoreCache

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["crossdistill.teachers.served.cache"])
MIB = 2**20
NOBODY = 65534


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "scores"


@pytest.fixture
def make(folder) -> Iterator[Callable[..., ScoreCache]]:
    """Caches on the folder; they are closed as the test ends."""
    with contextlib.ExitStack() as stack:

        def making(**options: float) -> ScoreCache:
            cache = ScoreCache(folder, **options)
            stack.callback(cache.close)
            return cache

        yield making


def key(number: int) -> bytes:
    return ScoreCache.key("teacher", [number], 0)


def score(seed: int, length: int = 50, k: int = 0) -> PromptLogprobs:
    rng = np.random.default_rng(seed)
    logprobs = -rng.exponential(size=length).astype(np.float32)
    if k == 0:
        return PromptLogprobs(logprobs)
    ids = rng.integers(0, 300_000, (length, k))
    return PromptLogprobs(logprobs, ids, -rng.exponential(size=(length, k)).astype(np.float32))


def of_size(seed: int, num_bytes: int) -> PromptLogprobs:
    return score(seed, num_bytes // 4)


def assert_same(found: PromptLogprobs | None, expected: PromptLogprobs) -> None:
    assert found is not None
    for one, other in (
        (found.logprobs, expected.logprobs),
        (found.top_ids, expected.top_ids),
        (found.top_logprobs, expected.top_logprobs),
    ):
        assert (one is None) == (other is None)
        if one is not None:
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)


def size_on_disk(folder: Path) -> int:
    """Of all files, the log and its index included; a log may go while it is looked at."""
    total = 0
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


def the_file(folder: Path) -> Path:
    (path,) = folder.glob("*.sqlite")
    return path


def warnings(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def start(function: Callable[..., None], *arguments: object) -> multiprocessing.process.BaseProcess:
    process = PROCESSES.Process(target=function, args=arguments)
    process.start()
    return process


def finish(*processes: multiprocessing.process.BaseProcess) -> None:
    for process in processes:
        process.join(60)
        assert process.exitcode == 0


# rows


@pytest.mark.parametrize(("length", "k"), [(50, 0), (50, 7), (1, 1), (0, 0), (0, 3)])
def test_a_score_comes_back_as_it_was_put(make, length, k):
    expected = score(1, length, k)
    for cache in (writer := make(), make()):
        writer.put(key(1), expected)
        assert_same(cache.get(key(1)), expected)
        assert cache.get(key(2)) is None


def test_odd_numbers_too(make):
    """Whether a score is possible is checked where the server's answer is read, not here."""
    odd = PromptLogprobs(np.array([np.nan, -np.inf, 0.0, -1e-30], dtype=np.float32))
    make().put(key(1), odd)
    assert make().get(key(1)).logprobs.tobytes() == odd.logprobs.tobytes()


@pytest.mark.slow
def test_it_outlives_its_process_and_a_closing(make, folder):
    cache = make()
    cache.put(key(1), score(1))
    cache.close()
    assert_same(cache.get(key(1)), score(1))
    finish(start(_assert_holds, folder, 1))


def test_the_later_of_two_scores_stays(make):
    cache = make()
    cache.put(key(1), score(1))
    cache.put(key(1), score(2, k=3))
    assert_same(cache.get(key(1)), score(2, k=3))


def test_a_row_belongs_to_the_caller(make):
    cache = make()
    cache.put(key(1), score(1, k=2))
    found = cache.get(key(1))
    found.logprobs[:] = 0
    found.top_ids[:] = 0
    assert_same(cache.get(key(1)), score(1, k=2))


def test_every_part_changes_the_key():
    asked = [
        ("teacher", [1, 2, 3], 0),
        ("teacher", [1, 2, 3], 1),
        ("teacher", [1, 2], 0),
        ("teacher", [1, 3, 2], 0),
        ("teacher", [2, 3], 1),
        ("teacher", [], 0),
        ("teacher", [0], 0),
        ("teacher", [2**31, 2, 3], 0),
        ("teacher2", [1, 2, 3], 0),
        ("teache", [1, 2, 3], 0),
        ("", [1, 2, 3], 0),
        ("école", [1, 2, 3], 0),
    ]
    keys = [ScoreCache.key(*parts) for parts in asked]
    assert len(set(keys)) == len(asked)
    assert keys == [ScoreCache.key(name, tuple(ids), k) for name, ids, k in asked]


def test_a_key_is_the_same_on_every_machine():
    """Another digest would make the caches of all users useless."""
    found = ScoreCache.key("a", [1], 2)
    numbers = [b"\x01", b"\x02", b"\x01"]  # the name's length, k, the id
    assert found == hashlib.sha256(b"".join(number + bytes(7) for number in numbers) + b"a").digest()


# its size


def test_the_least_recently_used_go_first(make, folder):
    cache = make(max_mib=1)
    order: list[int] = []
    for number in range(40):
        cache.put(key(number), of_size(number, 30_000))
        order.append(number)
        if number % 3 == 2:  # an old one is used again
            used = number // 3
            if cache.get(key(used)) is not None:
                order.remove(used)
                order.append(used)
    held = [number for number in order if cache.get(key(number)) is not None]
    assert held == order[-len(held) :]
    assert 10 < len(held) < 40
    assert max(held) - min(held) > len(held)  # being used has saved some


def test_uses_are_known_to_a_later_process(make, folder):
    first = make(max_mib=1)
    for number in range(4):
        first.put(key(number), of_size(number, 100_000))
    first.get(key(0))
    first.close()
    later = make(max_mib=1)
    number = 4
    while key(1) in _uses(folder):
        later.put(key(number), of_size(number, 100_000))
        number += 1
    assert key(0) in _uses(folder)


def test_many_uses_are_recorded_without_a_put(make, monkeypatch, folder):
    monkeypatch.setattr(module, "_MAX_UNWRITTEN", 3)
    cache = make()
    for number in range(4):
        cache.put(key(number), score(number))
    before = _uses(folder)
    for number in range(3):
        cache.get(key(number))
    after = _uses(folder)
    assert [after[key(number)] > before[key(number)] for number in range(4)] == [True, True, True, False]


@pytest.mark.slow
@pytest.mark.parametrize("largest", [4_000, 30_000, 125_000])
def test_the_size_on_disk_stays_below_the_bound(make, folder, largest):
    cache = make(max_mib=1)
    rng = np.random.default_rng(largest)
    total = 0
    for number in range(2_500_000 // largest):
        value = of_size(number, int(rng.integers(1, largest)))
        cache.put(key(number), value)
        total += value.logprobs.nbytes
        assert size_on_disk(folder) <= MIB
        assert_same(cache.get(key(number)), value)
    assert total > MIB
    assert size_on_disk(folder) > MIB / 2  # nor is the room left empty
    held = sum(len(value) for (value,) in _query(folder, "SELECT value FROM scores"))
    assert held > MIB / 3


def test_a_row_that_would_push_out_the_rest_is_not_kept(make, folder):
    cache = make(max_mib=1)
    cache.put(key(1), score(1))
    cache.put(key(2), of_size(2, MIB // 8))  # a header more than an eighth
    cache.put(key(3), of_size(3, MIB // 8 - 100))
    assert cache.get(key(2)) is None
    assert_same(cache.get(key(1)), score(1))
    assert_same(cache.get(key(3)), of_size(3, MIB // 8 - 100))


def test_under_a_smaller_bound_it_shrinks(make, folder):
    large = make(max_mib=8)
    for number in range(60):
        large.put(key(number), of_size(number, 100_000))
    large.close()
    assert size_on_disk(folder) > 5 * MIB
    small = make(max_mib=1)
    assert_same(small.get(key(59)), of_size(59, 100_000))
    assert small.get(key(0)) is None
    assert size_on_disk(folder) <= MIB


# several at once


@pytest.mark.slow
def test_processes_write_at_once(make, folder):
    finish(*[start(_write_and_read, folder, range(first, 600, 3), 64.0) for first in range(3)])
    cache = make()
    for number in range(600):
        assert_same(cache.get(key(number)), of_size(number, 5_000))


@pytest.mark.slow
def test_the_bound_holds_for_several_processes(folder):
    folder.mkdir()
    writers = [start(_write_and_read, folder, range(first, 900, 3), 1.0) for first in range(3)]
    sizes = [0]
    while any(writer.is_alive() for writer in writers):
        sizes.append(size_on_disk(folder))
        time.sleep(0.002)
    finish(*writers)
    assert MIB / 2 < max(sizes) <= MIB


@pytest.mark.slow
def test_processes_begin_at_once(folder):
    for attempt in range(3):
        finish(*[start(_write_and_read, folder / str(attempt), [number], 1.0) for number in range(6)])
        assert len(_query(folder / str(attempt), "SELECT key FROM scores")) == 6


def test_threads_write_at_once(make):
    cache = make()

    def write(first: int) -> None:
        for number in range(first, 200, 4):
            cache.put(key(number), score(number))
            assert_same(cache.get(key(number)), score(number))

    threads = [threading.Thread(target=write, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(200):
        assert_same(cache.get(key(number)), score(number))


@pytest.mark.slow
def test_both_sides_of_a_fork_go_on(make, folder):
    finish(start(_fork_and_write, folder))
    cache = make()
    for number in range(60):
        assert_same(cache.get(key(number)), score(number))


# kills and damage


@pytest.mark.parametrize("attempt", range(4))
def test_a_kill_loses_the_row_in_flight_at_most(make, folder, attempt):
    for_reading, for_writing = PROCESSES.Pipe(duplex=False)
    process = start(_write_and_report, folder, for_writing)
    for_writing.close()
    num_reported = 0
    with contextlib.suppress(EOFError):
        while True:
            num_reported = for_reading.recv()
            if num_reported == 20 + 7 * attempt:
                os.kill(process.pid, signal.SIGKILL)  # it goes on writing until this arrives
    process.join()
    assert process.exitcode == -signal.SIGKILL
    cache = make()
    for number in range(num_reported):
        assert_same(cache.get(key(number)), of_size(number, 40_000))
    assert num_reported <= len(_query(folder, "SELECT key FROM scores")) <= num_reported + 1
    assert _query(folder, "PRAGMA integrity_check") == [("ok",)]
    cache.put(key(1000), score(1))
    assert_same(cache.get(key(1000)), score(1))


def filled(make: Callable[..., ScoreCache], folder: Path) -> Path:
    cache = make()
    for number in range(20):
        cache.put(key(number), score(number, 500, 3))
    cache.close()
    return the_file(folder)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: np.random.default_rng(0).bytes(len(data)),
        lambda data: data[: len(data) // 2],
        lambda data: data[:-5000],
        lambda data: data[:1000],
        lambda data: b"no database",
    ],
)
def test_a_damaged_file_is_moved_aside_with_a_warning(make, folder, caplog, damage):
    path = filled(make, folder)
    damaged = damage(path.read_bytes())
    path.write_bytes(damaged)
    cache = make()
    assert cache.get(key(1)) is None
    (message,) = warnings(caplog)
    assert "is damaged" in message
    assert str(folder / "scores.damaged") in message
    assert (folder / "scores.damaged").read_bytes() == damaged
    cache.put(key(1), score(1))
    assert_same(cache.get(key(1)), score(1))
    assert the_file(folder) != path
    assert len(warnings(caplog)) == 1


@pytest.mark.slow
def test_damage_anywhere_gives_no_wrong_score(make, folder, caplog):
    path = filled(make, folder)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    fates = set()
    for _ in range(60):
        data = bytearray(whole)
        at, length = int(rng.integers(0, len(data))), int(rng.integers(1, 3000))
        data[at : at + length] = rng.bytes(len(data[at : at + length]))
        for left in folder.iterdir():
            left.unlink()
        path.write_bytes(data)
        cache = make()
        for number in range(20):
            found = cache.get(key(number))
            fates.add(found is None)
            if found is not None:
                assert_same(found, score(number, 500, 3))
        for number in (30, 31):  # one of these may find damage, after which the other finds a new file
            cache.put(key(number), score(number))
        assert_same(cache.get(key(31)), score(31))
        cache.close()
    assert fates == {True, False}
    assert all("is damaged" in message for message in warnings(caplog))


def test_a_process_that_has_the_damaged_file_open_finds_the_new_one(make, folder, caplog):
    path = filled(make, folder)
    other, cache = make(), make()
    assert_same(other.get(key(1)), score(1, 500, 3))
    with path.open("r+b") as file:
        file.write(np.random.default_rng(0).bytes(path.stat().st_size))
    for user in (cache, other):
        for number in range(20):
            user.get(key(number))
    other.close()
    for user in (cache, other):
        user.put(key(51), score(51))
        assert_same(user.get(key(51)), score(51))
    assert len([message for message in warnings(caplog) if "is damaged" in message]) == 1
    assert len(list(folder.glob("*.sqlite"))) == 1


@pytest.mark.parametrize("is_whole", [True, False])
def test_the_log_of_a_damaged_file_goes_with_it(make, folder, is_whole):
    path = filled(make, folder)
    log = folder / f"{path.name}-wal"
    writer = make()
    writer.put(key(50), score(50))
    logged = log.read_bytes()
    assert logged
    writer.close()
    path.write_bytes(np.random.default_rng(0).bytes(path.stat().st_size))
    log.write_bytes(logged if is_whole else bytes(5_000))  # as a process leaves it that is killed
    cache = make()
    for number in range(20):
        assert cache.get(key(number)) is None
    assert cache.get(key(50)) is None
    assert [found.name for found in folder.glob(f"{path.name}*")] == []


@pytest.mark.parametrize("at", [0, 8, 16, 40, -33, -32, -1])
def test_a_row_whose_checksum_fails_is_a_miss(make, folder, at):
    cache = make()
    for number in (1, 2):
        cache.put(key(number), score(number, k=2))
    ((value,),) = _query(folder, "SELECT value FROM scores WHERE key = ?", key(1))
    changed = bytearray(value)
    changed[at] ^= 1
    _query(folder, "UPDATE scores SET value = ? WHERE key = ?", bytes(changed), key(1))
    assert cache.get(key(1)) is None
    assert_same(cache.get(key(2)), score(2, k=2))
    cache.put(key(1), score(1))
    assert_same(cache.get(key(1)), score(1))


@pytest.mark.parametrize("value", [b"", b"short", "a text", 7, bytes(16), bytes(48), pickle.dumps(score(1))])
def test_a_row_of_another_kind_is_a_miss(make, folder, value):
    cache = make()
    cache.put(key(1), score(1))
    _query(folder, "UPDATE scores SET value = ? WHERE key = ?", value, key(1))
    assert cache.get(key(1)) is None


def test_a_row_under_the_key_of_another_is_a_miss(make, folder):
    cache = make()
    for number in (1, 2):
        cache.put(key(number), score(number))
    _query(folder, "UPDATE scores SET value = (SELECT value FROM scores WHERE key = ?)", key(1))
    assert cache.get(key(2)) is None
    assert_same(cache.get(key(1)), score(1))


def test_no_row_is_a_pickle_and_none_is_loaded(make, folder, monkeypatch):
    def loading(*_: object, **__: object) -> None:
        raise AssertionError("a pickle was loaded")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, loading)
    cache = make()
    cache.put(key(1), score(1, k=2))
    cache.get(key(1))
    ((value,),) = _query(folder, "SELECT value FROM scores")
    expected = score(1, k=2)
    arrays = [expected.logprobs, expected.top_ids.astype(np.int64), expected.top_logprobs]
    assert value[16:-32] == b"".join(array.tobytes() for array in arrays)  # a header of 16 bytes, a digest of 32


# a file that cannot be used


@pytest.mark.parametrize("below", ["file/scores", "/proc/scores"])
def test_a_folder_that_cannot_be_made_makes_every_get_a_miss(tmp_path, caplog, below):
    (tmp_path / "file").write_text("")
    cache = ScoreCache(tmp_path / below)
    for number in range(3):
        cache.put(key(number), score(number))
        assert cache.get(key(number)) is None
    cache.close()
    (message,) = warnings(caplog)
    assert "cannot be used" in message
    assert str(tmp_path / below) in message


def test_a_folder_that_may_only_be_read():
    with TemporaryDirectory() as name:
        folder = Path(name)
        cache = ScoreCache(folder)
        cache.put(key(1), score(1))
        cache.close()
        the_file(folder).chmod(0o444)
        folder.chmod(0o555)
        finish(start(_use_without_rights, folder))
        folder.chmod(0o755)
        assert len(list(folder.iterdir())) == 1


def test_a_full_disk_causes_one_warning_and_is_used_again_when_there_is_room(folder):
    finish(start(_use_full_disk, folder))


def test_it_pauses_after_a_failure(make, folder, monkeypatch):
    cache = make()
    cache.put(key(1), score(1))
    opened = []
    monkeypatch.setattr(score_file, "connect", lambda path: opened.append(path) or sqlite3.connect("/proc/no/file"))
    cache.close()
    for _ in range(5):
        assert cache.get(key(1)) is None
    assert len(opened) == 1
    monkeypatch.undo()
    now = time.monotonic()
    monkeypatch.setattr(module.time, "monotonic", lambda: now + 61)
    assert_same(cache.get(key(1)), score(1))


def test_a_folder_that_another_process_keeps_locked(make, folder, monkeypatch, caplog):
    monkeypatch.setattr(score_file, "_BUSY_S", 0.1)
    cache = make()
    cache.put(key(1), score(1))
    with score_file.exclusive(folder):
        assert_same(cache.get(key(1)), score(1))  # reading waits for nobody
        cache.put(key(2), score(2))
        assert cache.get(key(1)) is None
    (message,) = warnings(caplog)
    assert "another process has held the folder's lock" in message


def test_bugs_are_not_hidden(make):
    with pytest.raises(sqlite3.ProgrammingError):
        make().get([1, 2])  # no key


# other processes, and the file as SQLite shows it


def _query(folder: Path, statement: str, *values: object) -> list[tuple]:
    with contextlib.closing(sqlite3.connect(the_file(folder))) as db, db:
        return db.execute(statement, values).fetchall()


def _uses(folder: Path) -> dict[bytes, int]:
    return dict(_query(folder, "SELECT key, used FROM scores"))


def _warnings() -> list[str]:
    """Collects the warnings of this process."""
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    logging.getLogger("crossdistill").addHandler(handler)
    return messages


def _assert_holds(folder: Path, number: int) -> None:
    assert_same(ScoreCache(folder).get(key(number)), score(number))


def _write_and_read(folder: Path, numbers: list[int], max_mib: float) -> None:
    messages = _warnings()
    cache = ScoreCache(folder, max_mib)
    for number in numbers:
        cache.put(key(number), of_size(number, 5_000))
        found = cache.get(key(number))
        if found is not None or max_mib > 2:  # under a small bound the others may have pushed it out
            assert_same(found, of_size(number, 5_000))
    cache.close()
    assert messages == []


def _write_and_report(folder: Path, pipe: multiprocessing.connection.Connection) -> None:
    cache = ScoreCache(folder)
    for number in range(100_000):
        cache.put(key(number), of_size(number, 40_000))
        pipe.send(number + 1)


def _fork_and_write(folder: Path) -> None:
    messages = _warnings()
    cache = ScoreCache(folder)
    cache.put(key(0), score(0))
    child = os.fork()
    opened: list[Path] = []
    connect = score_file.connect
    score_file.connect = lambda path: opened.append(path) or connect(path)
    for number in range(1 if child else 2, 60, 2):
        cache.put(key(number), score(number))
        assert_same(cache.get(key(number)), score(number))
    if child == 0:
        cache.close()
        os._exit(len(messages) if len(opened) == 1 else 100)  # it has opened the file for itself
    assert opened == []
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert_same(cache.get(key(58)), score(58))
    assert messages == []


def _use_without_rights(folder: Path) -> None:
    if os.getuid() == 0:
        os.setgroups([])
        os.setuid(NOBODY)  # root may write everywhere
    messages = _warnings()
    cache = ScoreCache(folder)
    for number in (1, 2):
        cache.put(key(number), score(number))
        assert cache.get(key(2)) is None
    cache.close()
    (message,) = messages
    assert "cannot be used" in message


def _use_full_disk(folder: Path) -> None:
    """A limit on the size of files acts as a full disk."""
    module._PAUSE_S = 0.0  # the second use finds the same
    messages = _warnings()
    cache = ScoreCache(folder)
    cache.put(key(0), score(0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, resource.RLIM_INFINITY))
    for number in range(1, 20):
        cache.put(key(number), of_size(number, 50_000))
    assert cache.get(key(19)) is None
    (message,) = messages
    assert "cannot be used" in message
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    cache.put(key(19), of_size(19, 50_000))
    assert_same(cache.get(key(19)), of_size(19, 50_000))
    assert_same(cache.get(key(0)), score(0))
    cache.close()
    assert len(messages) == 1
    assert _query(folder, "PRAGMA integrity_check") == [("ok",)]
