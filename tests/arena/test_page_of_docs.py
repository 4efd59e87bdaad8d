"""docs/arena.md: its file can be read, and its tables name what there is."""

import re
import tomllib
from pathlib import Path

from crossdistill.arena.file import ArenaFile
from tests.report.arena.content import whole

PAGE = (Path(__file__).parents[2] / "docs" / "arena.md").read_text(encoding="utf-8")


def test_the_file_is_valid():
    section = PAGE.split("## The file\n")[1].split("\n## ")[0]
    lines = [line[4:] for line in section.splitlines() if line.startswith("    ")]
    arena = ArenaFile.model_validate(tomllib.loads("\n".join(lines)))
    assert {*arena.methods} == {"dpca", "bpm", "dpca-uniform"}


def test_what_the_results_hold_is_named():
    content = whole()
    assert {*re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)} == {*content}
    [row] = re.findall(r"^\| `rows` \|(.*)$", PAGE, re.MULTILINE)
    assert {*re.findall(r"`(\w+)`", row)} <= {*content["rows"][0]}
