"""Shares of 1:1 tokens in right responses."""

import re

import pytest

from benchmarks.arena.token_shares import main
from crossdistill.demo.run import asset


def test_the_demos_pair(capsys: pytest.CaptureFixture[str]):
    """As BUILD.json says of its solutions: 40.7 % of the student's tokens."""
    main(asset("student"), asset("teacher"))
    *_, sums, three, four = capsys.readouterr().out.splitlines()
    found = re.fullmatch(r"\| sums in number words \(the demo's\) \| (\d+)% \| 2% \| ([\d.]+) \|", sums)
    assert found is not None and 38 <= int(found[1]) <= 43 and 15 < float(found[2]) < 25
    assert three.startswith("| 3 rare words, sorted |") and four.startswith("| 4 rare words, sorted |")
