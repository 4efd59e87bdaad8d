"""What commands show while they print nothing yet."""

import io
import sys
from contextlib import contextmanager

import pytest

from crossdistill.cli.commands import align
from crossdistill.cli.waiting import waiting
from tests.cli.harness import run
from tests.eval.comparison.factory import entry, verdicts, write_evaluation


class _Screen(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_shows_what_is_done(monkeypatch):
    screen = _Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    with waiting("inspecting the pair"):
        pass
    assert "inspecting the pair" in screen.getvalue()


def test_a_file_gets_nothing(monkeypatch):
    file = io.StringIO()
    monkeypatch.setattr(sys, "stderr", file)
    with waiting("inspecting the pair"):
        pass
    assert file.getvalue() == ""


def test_who_wants_quiet_gets_nothing_on_a_terminal_either(monkeypatch):
    screen = _Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    with waiting("inspecting the pair", is_quiet=True):
        pass
    assert screen.getvalue() == ""


@pytest.fixture
def phases(monkeypatch):
    """The phases that commands wait in, and whether they are silent."""
    begun = []

    @contextmanager
    def noted(phase, is_quiet=False):
        begun.append((phase, is_quiet))
        yield

    for name in ("align", "compare", "eval", "report"):
        monkeypatch.setattr(f"crossdistill.cli.commands.{name}.waiting", noted)
    return begun


def test_no_command_begins_in_silence(phases, weightless, tmp_path):
    assert run("align", weightless.student, weightless.teacher, "text").code == 0
    for name in ("one", "other"):
        write_evaluation(tmp_path / name, {"sums": entry(verdicts(0.3 if name == "one" else 0.5))})
    folders = [str(tmp_path / "one"), str(tmp_path / "other")]
    assert run("compare", *folders).code == 0
    run("compare", *folders, "--quiet")
    run("report", *folders)
    run("eval", weightless.student, "--task", "no such task")
    assert phases == [
        ("aligning", False),
        ("comparing the runs", False),
        ("comparing the runs", True),
        ("reading the runs", False),
        ("loading libraries", False),
    ]


def test_nothing_gets_into_a_text_that_is_typed(monkeypatch):
    monkeypatch.setattr(sys, "stdin", _Screen())
    assert align._Source(None, None, None, None, None, 1).is_typed
    assert not align._Source("text", None, None, None, None, 1).is_typed
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert not align._Source(None, None, None, None, None, 1).is_typed
