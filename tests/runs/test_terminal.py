"""What a run shows: on a terminal, elsewhere, and of several processes."""

import io
import re
import time

import pytest

from crossdistill.phases import detail, phase
from crossdistill.runs import terminal
from crossdistill.runs.terminal import Terminal

CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")


class Screen(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "_SILENCE_S", 0.0)


def shown(stream: io.StringIO, is_quiet: bool = False, seconds: float = 0.0) -> str:
    """A run of four steps, as the stream has it at the end."""
    with Terminal(stream, is_quiet) as run:
        phase("loading the student [org/model]")
        time.sleep(seconds)
        run.table([("student", "a"), ("batch", "16 responses a step")])
        run.steps(2, 4, 61.0)
        run.begin("training", is_said=False)
        detail("sampling")
        run.log("loss 0.5  gap 0.1")
        time.sleep(seconds)
    run.say("model: out/model")
    phase("nobody listens any more")
    return stream.getvalue()


def test_elsewhere_than_on_a_terminal_there_are_plain_lines(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # as many CI systems set it
    text = shown(io.StringIO())
    assert not CONTROL.search(text)
    assert text.splitlines() == [
        "loading the student [org/model]",
        "student  a",
        "batch    16 responses a step",
        "step 2/4  loss 0.5  gap 0.1  1 min 01 s left",
        "model: out/model",
    ]


@pytest.mark.usefixtures("impatient")
def test_a_phase_that_takes_long_says_so():
    lines = shown(io.StringIO(), seconds=0.8).splitlines()
    for expected in (r"  loading the student \[org/model\], [01] s", r"  step 3/4: training, sampling, [01] s"):
        assert any(re.fullmatch(expected, line) for line in lines), lines


def test_on_a_terminal_the_status_moves_and_lines_stay():
    text = shown(Screen(), seconds=0.6)
    assert "\x1b[" in text
    assert "step 2/4" not in text  # its figures are in the status
    assert "loss 0.5  gap 0.1" in text
    assert "2/4 1 min 01 s left" in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    assert text.endswith("model: out/model\n")
    assert "nobody" not in text


def test_a_narrow_terminal_has_all_figures(monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    stream = Screen()
    with Terminal(stream) as run:
        run.log("loss 0.5000  gap 0.1000 nats/B  coverage 100.0%  118 tok/s")
        time.sleep(0.6)
    assert "118 tok/s" in stream.getvalue()


def test_a_quiet_run_has_the_lines_that_stay():
    expected = ["student  a", "batch    16 responses a step", "model: out/model"]
    assert shown(io.StringIO(), is_quiet=True).splitlines() == expected


def test_of_several_processes_the_first_speaks(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    assert shown(io.StringIO()) == ""
