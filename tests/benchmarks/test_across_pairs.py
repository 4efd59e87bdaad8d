"""A method on two pairs with the same problems."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.arena.across_pairs import main
from crossdistill.arena.outcome import Outcome
from crossdistill.eval.comparison.crossed import crossed_difference
from tests.benchmarks.arena_cells import cell, written

WARM = {1: "1111", 2: "1100", 3: "1110"}
COLD = {3: "0100", 1: "0000"}


def cells(warm: dict[int, str] = WARM, cold: dict[int, str] = COLD) -> list[Outcome]:
    """dpca on both, SFT on one."""
    return [
        *(cell("dpca", correct, seed) for seed, correct in warm.items()),
        *(cell("dpca", correct, seed, pair="cold") for seed, correct in cold.items()),
        cell("seqkd", "1111", 1),
    ]


def test_seeds_of_both_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Seed 1 with seed 1 and 3 with 3, whatever their order; by hand 3.5 of 4 right against 0.5."""
    monkeypatch.setattr("sys.argv", ["across_pairs", str(written(tmp_path / "cells.jsonl", cells())), "warm", "cold"])
    main()
    *_, row = capsys.readouterr().out.splitlines()
    found = crossed_difference(np.array([[1.0, 1, 1, 1], [1, 1, 1, 0]]), np.array([[0.0, 0, 0, 0], [0, 1, 0, 0]]))
    assert found.mean == pytest.approx(0.75)
    shown = f"{100 * found.mean:+.1f} ({100 * found.low:+.1f} to {100 * found.high:+.1f}) | {found.p_value:.2g}"
    assert row == f"| `dpca` | 87.5% | 12.5% | {shown} |"


def test_a_wrong_mate_would_be_seen():
    """The interval depends on which seed meets which, so the test above can fail."""
    one, other = np.array([[1.0, 1, 1, 1], [1, 1, 1, 0]]), np.array([[0.0, 0, 0, 0], [0, 1, 0, 0]])
    assert crossed_difference(one, other).low != pytest.approx(crossed_difference(one, other[::-1]).low)


@pytest.mark.parametrize(
    ("outcomes", "first", "reason"),
    [
        (cells(), "wram", "no method was run on both wram and cold: choose two of warm, cold"),
        (cells(warm={1: "1111"}), "warm", r"dpca has 1 seed\(s\) on both warm and cold"),
        (
            [replace(one, test=one.test and replace(one.test, digest=one.cell.pair)) for one in cells()],
            "warm",
            "warm and cold have other test problems: choose pairs of one task",
        ),
    ],
)
def test_bad_input(tmp_path: Path, outcomes: list[Outcome], first: str, reason: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.argv", ["across_pairs", str(written(tmp_path / "cells.jsonl", outcomes)), first, "cold"])
    with pytest.raises(SystemExit, match=reason):
        main()
