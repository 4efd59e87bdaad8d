"""Harmful programs are contained."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from crossdistill.errors import InputError
from crossdistill.eval.sandbox import Limits, Outcome, Program
from crossdistill.eval.sandbox import bubblewrap as module
from crossdistill.eval.sandbox.bubblewrap import Bubblewrap
from tests.eval.sandbox.programs import ALL, ENDLESS, Harmful

LIMITS = Limits(seconds=20, cpu_seconds=20, memory=512 << 20)
ALONE = [one for one in ALL if "fork" not in one.source and "Thread" not in one.source]
"""Programs that start no others. The kernel holds root in a user's namespace to no number of processes, so a program
that forks for ever would take this machine's last one from everybody, before the watch can end it."""
SHORT = replace(LIMITS, seconds=2, cpu_seconds=2)


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A server, an abstract socket and a secret of the caller."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as local:
        local.bind("\0crossdistill-test")
        local.listen()
        yield server.getsockname()[1]


def run(sandbox: Bubblewrap, program: Harmful, port: int, limits: Limits = LIMITS) -> Outcome:
    source = program.source.replace("PORT", str(port)).replace("PARENT", str(os.getpid()))
    return sandbox.run(Program(source), limits)


def check(program: Harmful, outcome: Outcome) -> None:
    assert b"did it" not in outcome.output
    if program.stopped_by == "time":
        assert outcome.limit in {"seconds", "cpu_seconds", "memory", "processes"}
    else:
        assert outcome.limit == program.stopped_by, outcome


@pytest.mark.parametrize("program", [one for one in ALL if one not in ENDLESS], ids=lambda one: one.name)
def test_what_it_tries_is_refused(bubblewrap: Bubblewrap, program: Harmful, port: int) -> None:
    outcome = run(bubblewrap, program, port)
    check(program, outcome)
    assert b"Traceback" not in outcome.errors, outcome.errors


@pytest.mark.slow
@pytest.mark.parametrize("program", ENDLESS, ids=lambda one: one.name)
def test_what_does_not_end_is_ended(bubblewrap: Bubblewrap, program: Harmful, port: int) -> None:
    check(program, run(bubblewrap, program, port, SHORT))
    assert_nothing_is_left()


@pytest.mark.slow
@pytest.mark.parametrize("program", ALONE, ids=lambda one: one.name)
def test_the_same_with_the_namespace_of_a_user(
    bubblewrap: Bubblewrap, program: Harmful, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As anyone but root runs it; what it cannot hold root to is not tried, see ALONE."""
    monkeypatch.setattr(module.os, "geteuid", lambda: 1000)
    check(program, run(bubblewrap, program, port, SHORT if program in ENDLESS else LIMITS))


def test_programs_that_harm_nobody_are_let_do_it(bubblewrap: Bubblewrap) -> None:
    """Else the tests above could pass because nothing runs."""
    source = (
        "import os, tempfile, threading, subprocess, numpy, json, multiprocessing\n"
        "with tempfile.NamedTemporaryFile('w') as file: file.write('x' * 1000)\n"
        "open('mine', 'w').write('4'); os.mkdir('folder')\n"
        "thread = threading.Thread(target=print, args=('thread',)); thread.start(); thread.join()\n"
        "lock = multiprocessing.Lock()\n"
        "if os.fork() == 0: os._exit(3)\n"
        "print(os.wait()[1] >> 8, open('mine').read(), input(), int(numpy.arange(4).sum()))\n"
        "exit(0)\n"
    )
    outcome = bubblewrap.run(Program(source), LIMITS, b"in\n")
    assert outcome.errors == b""
    assert outcome == Outcome(0, b"thread\n3 4 in 6\n", b"", None)


def test_the_check_refuses_if_the_kernel_limits_no_processes(
    bubblewrap: Bubblewrap, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() != 0:
        pytest.skip("the kernel holds every user but root to the limit")
    monkeypatch.setattr(module.os, "geteuid", lambda: 1000)
    with pytest.raises(InputError, match="does not hold its programs to a number of processes"):
        Bubblewrap().check()


def test_a_run_leaves_nothing_to_the_next(bubblewrap: Bubblewrap) -> None:
    bubblewrap.run(Program("open('/tmp/left', 'w').write('x')"), LIMITS)
    assert bubblewrap.run(Program("import os\nprint(os.listdir('/tmp'))"), LIMITS).output == b"[]\n"


def test_the_limit_of_output_keeps_what_came_before(bubblewrap: Bubblewrap) -> None:
    outcome = bubblewrap.run(Program("print('x' * 100, flush=True)\nwhile True: print('y' * 9999)"), LIMITS)
    assert outcome.limit == "output"
    assert outcome.output.startswith(b"x" * 100 + b"\n")
    assert len(outcome.output) <= LIMITS.output


def test_conversation(bubblewrap: Bubblewrap) -> None:
    source = "while True: print(int(input()) ** 2, flush=True)"
    with bubblewrap.start(Program(source), LIMITS) as process:
        assert [process.ask(b"%d" % number, 10) for number in range(5)] == [b"0", b"1", b"4", b"9", b"16"]
        assert process.ask(b"x", 10) is None
        assert b"ValueError" in process.finish().errors


@pytest.mark.slow
def test_an_answer_that_does_not_come_ends_the_program(bubblewrap: Bubblewrap) -> None:
    with bubblewrap.start(Program("input()\nwhile True: pass"), LIMITS) as process:
        assert process.ask(b"x", 0.5) is None
        assert process.finish().limit == "seconds"


@pytest.mark.slow
def test_it_ends_with_its_caller(bubblewrap: Bubblewrap, tmp_path: Path) -> None:
    """If the evaluation is killed (kill -9), its programs do not run on."""
    import subprocess
    import sys

    script = (
        "from crossdistill.eval.sandbox import *\n"
        "choose().run(Program('import time\\ntime.sleep(1000)  # outlives-its-caller'), Limits(seconds=900))"
    )
    caller = subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).parents[3])
    wait_until(lambda: len(psutil.Process(caller.pid).children(recursive=True)) >= 3)
    programs = psutil.Process(caller.pid).children(recursive=True)
    caller.kill()
    caller.wait()
    wait_until(lambda: not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in programs))


def assert_nothing_is_left() -> None:
    wait_until(lambda: not [one for one in psutil.Process().children(recursive=True) if "bwrap" in one.name()])


def wait_until(true: object, seconds: float = 20) -> None:
    assert callable(true)
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        threading.Event().wait(0.05)
