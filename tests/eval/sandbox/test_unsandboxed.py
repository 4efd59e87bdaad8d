"""Without a sandbox there are limits still, and a folder that is taken away. Nothing here starts other processes."""

from pathlib import Path

import pytest

from crossdistill.eval.sandbox import Limits, Outcome, Program, choose

SANDBOX = choose(unsandboxed=True)
LIMITS = Limits(seconds=10, cpu_seconds=10, memory=256 << 20)


def test_a_program_runs_in_a_folder_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    source = "import os\nopen('x', 'w').write('1')\nprint(os.getcwd(), input(), 'HF_TOKEN' in os.environ)"
    outcome = SANDBOX.run(Program(source), LIMITS, b"in\n")
    folder, read, knows = outcome.output.decode().split()
    assert (outcome.exit_code, read, knows) == (0, "in", "False")
    assert not Path(folder).exists()


@pytest.mark.parametrize(
    ("source", "limit"),
    [
        ("blocks = []\nwhile True: blocks.append(bytearray(1 << 22))", "memory"),
        ("while True: print('x' * 9999)", "output"),
        pytest.param("while True: pass", "seconds", marks=pytest.mark.slow),
        pytest.param("import time\ntime.sleep(1000)", "seconds", marks=pytest.mark.slow),
    ],
)
def test_limits(source: str, limit: str) -> None:
    outcome = SANDBOX.run(Program(source), Limits(seconds=2, cpu_seconds=9, memory=256 << 20))
    assert outcome.limit == limit


def test_modules_travel_with_a_program() -> None:
    program = Program("from far.away import value\nprint(value)", {"far.away": "value = 3"})
    assert SANDBOX.run(program, LIMITS) == Outcome(0, b"3\n", b"", None)


def test_an_exit_code_is_kept() -> None:
    assert SANDBOX.run(Program("import sys\nsys.exit(3)"), LIMITS).exit_code == 3
    assert SANDBOX.run(Program("def f(:"), LIMITS).exit_code == 1
