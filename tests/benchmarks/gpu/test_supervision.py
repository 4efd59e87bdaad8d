"""Parts in processes that die, take too long or meet the end of the budget."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from benchmarks.gpu import supervision
from benchmarks.gpu.plan import Part
from benchmarks.gpu.record import Record
from benchmarks.gpu.supervision import ENDING, Supervisor
from crossdistill.errors import InputError

WORKER = """
import json, sys, time
from pathlib import Path
job = json.loads(Path(sys.argv[1]).read_text())
file = Path(job["folder"]) / "part.json"


def write(found):
    fresh = file.with_suffix(".new")
    fresh.write_text(json.dumps(found))
    fresh.replace(file)


for cell in job["cells"]:
    found = json.loads(file.read_text()) if file.exists() else {}
    write(found | {cell: {"status": "running", "began": time.time()}})
    if cell == "dies":
        sys.exit("out of luck")
    if cell == "hangs":
        time.sleep(60)
    write(found | {cell: {"status": "ok", "order": len(found)}})
"""


@pytest.fixture
def supervised(tmp_path, monkeypatch):
    """Runs a part's cells, and returns whether it was in time and what was found."""
    monkeypatch.setattr(supervision, "POLL_SECONDS", 0.02)
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    record = Record(tmp_path / "work", {"any": 1})

    def run(*cells: str, cell_seconds: float = 50.0, script: Path = script):
        part = Part("part", "rate", cells, 1.0, cell_seconds)
        command = [sys.executable, str(script)]
        made = Supervisor(record, "cpu", True, time.time() + 60, lambda file: [*command, str(file)])
        return made.run(part), record.cells(part)

    return run


def statuses(found):
    return {cell: one["status"] for cell, one in found.items()}


def test_a_cell_that_dies_costs_itself_alone_and_is_tried_again_by_the_next_run(supervised):
    in_time, found = supervised("a", "dies", "b")
    assert in_time
    assert statuses(found) == {"a": "ok", "dies": "failed", "b": "ok"}
    assert found["dies"]["reason"] == "out of luck"
    _, again = supervised("a", "dies", "b")
    assert again["a"] == found["a"]
    assert again["dies"]["seconds_at_least"] != found["dies"]["seconds_at_least"]


def test_a_cell_that_takes_too_long_is_given_up_and_not_tried_again(supervised):
    in_time, found = supervised("hangs", "b", cell_seconds=1.0)
    assert in_time
    assert statuses(found) == {"hangs": "time-out", "b": "ok"}
    assert found["hangs"]["reason"] == "more than 1 s"
    assert 1 <= found["hangs"]["seconds_at_least"] < 30
    assert supervised("hangs", "b", cell_seconds=1.0)[1] == found


def test_the_end_of_the_budget_keeps_what_is_there_and_leaves_the_rest_to_the_next_run(supervised, monkeypatch):
    def left(supervisor):
        running = supervisor._record.running(Part("part", "rate", (), 1.0, 1.0))
        return 0.0 if running is not None and running[0] == "hangs" else 60.0

    monkeypatch.setattr(Supervisor, "seconds_left", property(left))
    in_time, found = supervised("a", "hangs", "b")
    assert not in_time
    assert statuses(found) == {"a": "ok"}


@pytest.mark.parametrize("ending", ENDING)
def test_a_signal_to_end_ends_what_is_measured_and_keeps_what_is_there(supervised, tmp_path, monkeypatch, ending):
    script, number = tmp_path / "number.py", tmp_path / "number"
    script.write_text(f"import os; open({str(number)!r}, 'w').write(str(os.getpid()))\n" + WORKER)
    watch = Supervisor._watch

    def told(supervisor, process, part):
        while supervisor._record.running(part) is None or supervisor._record.running(part)[0] != "hangs":
            time.sleep(0.02)
        with supervisor.stopped_by_signals():
            os.kill(os.getpid(), ending)
            return watch(supervisor, process, part)

    monkeypatch.setattr(Supervisor, "_watch", told)
    before = signal.signal(ending, signal.SIG_DFL)  # the tests themselves may run where it is ignored
    try:
        in_time, found = supervised("a", "hangs", "b", script=script)
        assert signal.getsignal(ending) is signal.SIG_DFL
    finally:
        signal.signal(ending, before)
    assert not in_time
    assert statuses(found) == {"a": "ok"}
    assert not Path(f"/proc/{number.read_text()}").exists()


def test_a_signal_that_nohup_ignores_stays_ignored(tmp_path):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        supervisor = Supervisor(Record(tmp_path, {"any": 1}), "cpu", True, time.time() + 60)
        with supervisor.stopped_by_signals():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


def test_nothing_is_looked_for_on_the_network(supervised, tmp_path):
    told = tmp_path / "told.py"
    told.write_text("import os; raise SystemExit(os.environ['HF_HUB_OFFLINE'])")
    assert supervised("a", script=told)[1]["a"]["reason"] == "1"


def test_what_a_process_started_ends_with_it(supervised, tmp_path):
    parent, number = tmp_path / "parent.py", tmp_path / "number"
    parent.write_text(f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
open({str(number)!r}, "w").write(str(child.pid))
""")
    supervised("a", script=parent)
    deadline = time.time() + 30
    while (status := Path(f"/proc/{number.read_text()}/stat")).exists() and status.read_text().split()[2] != "Z":
        assert time.time() < deadline
        time.sleep(0.02)


def test_a_process_that_does_not_start_fails_all_its_cells(supervised, tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text("raise SystemExit('no module')")
    in_time, found = supervised("a", "b", script=broken)
    assert in_time
    assert found["a"] == found["b"] == {"status": "failed", "reason": "no module"}


def test_what_is_not_there_is_skipped_with_its_reason_and_no_process(supervised, monkeypatch):
    monkeypatch.setattr(supervision, "why_not", lambda cell, _: "it is not installed" if cell == "hangs" else None)
    _, found = supervised("a", "hangs")
    assert found["hangs"] == {"status": "skipped", "reason": "it is not installed"}
    assert found["a"]["status"] == "ok"
    monkeypatch.setattr(Supervisor, "_measure", lambda *_: pytest.fail("nothing is left"))
    assert supervised("a", "hangs")[1] == found


def test_other_settings_are_named(tmp_path):
    Record(tmp_path, {"device": "H100", "scale": {"sizes": (1, 2)}, "same": 1})
    Record(tmp_path, {"device": "H100", "scale": {"sizes": (1, 2)}, "same": 1})
    with pytest.raises(InputError, match=r"\(device: H100 there, H200 now; more: None there, 2 now\)"):
        Record(tmp_path, {"device": "H200", "scale": {"sizes": (1, 2)}, "same": 1, "more": 2})
