"""Minutes of random faults at full load. CROSSDISTILL_LOAD_SECONDS sets for how long (600)."""

import ctypes
import gc
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable

import numpy as np
import psutil
import pytest

from crossdistill.teachers import TeacherRequest
from crossdistill.teachers.served import ServedOptions, ServedTeacher
from tests.teacher_server import Fault, Seen, TeacherServer, faults
from tests.teacher_server.cases import scorer_of, tokenizer_of
from tests.teacher_server.serving import TOKENS, assert_scored

SECONDS = float(os.environ.get("CROSSDISTILL_LOAD_SECONDS", "600"))
IN_FLIGHT, ROUND = 32, 96
SHARE = 0.25  # of the requests that meet a fault
MOST_IN_A_ROW = 2  # for one prompt, so that nothing may be dropped
OUTAGE_EVERY_S = 20.0
GROWTH_MIB = 48
OPTIONS = ServedOptions(timeout_s=3.0, patience_s=60.0, max_in_flight=IN_FLIGHT, max_body_mib=1.0)
FAULTS = [
    faults.delay(0.05),
    faults.reset(),
    faults.reset_in_body(),
    faults.short_body(),
    faults.hang(),
    faults.trickle(0.1, 5.0),
    faults.busy(),
    faults.busy("0"),
    faults.busy_until(0.0),
    faults.status(500),
    faults.status(502),
    faults.status(503),
    faults.truncated(),
    faults.garbage(),
    faults.other_shape({"model": "tiny", "choices": []}),
    faults.missing_position(),
    faults.other_order(),
    faults.strange_id(3),
    faults.logprob(float("nan")),
    faults.logprob(0.5),
    faults.gzip_bomb(8 * 2**20),
]


class RandomFaults:
    """A script of random faults, at most MOST_IN_A_ROW in a row for one prompt; counts them by name.

    Attributes:
        counts: of faults by name.
        most_connected: most connections of this process that were open at once. The server does not know: it continues
            with requests that nobody waits for any more.
        port: of the server.
    """

    def __init__(self, seed: int):
        self.counts: Counter[str] = Counter()
        self.most_connected = 0
        self.port = 0
        self._num_seen = 0
        self._rng = random.Random(seed)
        self._in_a_row: Counter[tuple[int, ...]] = Counter()
        self._lock = threading.Lock()

    def __call__(self, seen: Seen) -> Fault | None:
        with self._lock:
            self._num_seen += 1
            if self._num_seen % 10 == 0:
                self.most_connected = max(self.most_connected, num_connected(self.port))
            if not seen.ids or self._in_a_row[seen.ids] >= MOST_IN_A_ROW or self._rng.random() > SHARE:
                del self._in_a_row[seen.ids]
                return None
            self._in_a_row[seen.ids] += 1
            fault = self._rng.choice(FAULTS)
            self.counts[fault.name] += 1
            return fault


def num_connected(port: int) -> int:
    """Open connections of this process to that port of another's."""
    return sum(
        connection.status == psutil.CONN_ESTABLISHED and bool(connection.raddr) and connection.raddr.port == port
        for connection in psutil.Process().net_connections("tcp")
    )


def some(rng: np.random.Generator) -> list[TeacherRequest]:
    """Samples of all lengths, no two alike."""
    lengths = rng.integers(1, 100, (ROUND, 2))
    return [
        TeacherRequest(rng.integers(40, 300, p).tolist(), rng.integers(40, 300, r).tolist(), stopped=bool(k % 2))
        for k, (p, r) in enumerate(lengths)
    ]


def soon(holds: Callable[[], bool], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.05)
    return holds()


def resident_mib(process: psutil.Process) -> float:
    """Without memory that is free but not returned: the server's threads come and go, and leave gaps."""
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
    return process.memory_info().rss / 2**20


@pytest.mark.load
def test_minutes_of_faults_lose_nothing_and_leave_nothing_behind():
    process, rng = psutil.Process(), np.random.default_rng(0)
    threads, files, script = threading.active_count(), process.num_fds(), RandomFaults(0)
    resident, num_scored, num_outages = [], 0, 0
    began = time.monotonic()
    with TeacherServer(scorer_of(TOKENS)) as server:
        teacher = ServedTeacher(server.url, tokenizer_of(TOKENS), OPTIONS)
        server.script, script.port = script, server.address[1]
        while time.monotonic() - began < SECONDS:
            if time.monotonic() - began > OUTAGE_EVERY_S * (num_outages + 1):
                num_outages += 1
                threading.Timer(0.3, server.down_for, (0.5,)).start()
            asked = some(rng)
            assert_scored(teacher.score(asked), asked)
            num_scored += len(asked)
            server.log.clear()
            resident.append(resident_mib(process))
        print(
            f"{num_scored} samples scored, {num_outages} outages, {teacher.traffic}, faults {dict(script.counts)}, "
            f"connected {script.most_connected}"
        )
        print(f"resident MiB: {[round(mib) for mib in resident[:: max(1, len(resident) // 20)]]}")
        assert 1 < script.most_connected <= IN_FLIGHT
        teacher.close()
        assert soon(lambda: server.num_connections == 0)
    assert soon(lambda: threading.active_count() <= threads), threading.enumerate()
    assert soon(lambda: process.num_fds() <= files + 2)
    warm = max(resident[: max(1, len(resident) // 4)])
    assert max(resident) - warm < GROWTH_MIB
    if SECONDS >= 60:
        assert set(script.counts) == {fault.name for fault in FAULTS}
        assert script.most_connected == IN_FLIGHT
        assert teacher.traffic.checks > 0
