"""Files appear whole or not at all."""

import os
from pathlib import Path

import pytest

from crossdistill.files import write_text


def test_a_reader_never_sees_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.json"
    path.write_text("old")
    seen: list[str] = []
    replace = Path.replace

    def watched(self: Path, target: Path) -> Path:
        seen.extend([self.read_text(), path.read_text(), str(self.parent)])
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", watched)
    write_text(path, "new")
    assert seen == ["new", "old", str(tmp_path)]  # complete before the rename, and on the same file system
    assert path.read_text() == "new"


def test_the_file_has_ordinary_permissions(tmp_path: Path) -> None:
    previous = os.umask(0o022)
    try:
        write_text(tmp_path / "report.html", "x")
    finally:
        os.umask(previous)
    assert (tmp_path / "report.html").stat().st_mode & 0o777 == 0o644
