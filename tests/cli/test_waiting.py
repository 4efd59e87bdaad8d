"""What commands show while they print nothing yet."""

import io
import sys

from crossdistill.cli.waiting import waiting


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
