"""How much SFT reaches as far as distillation, on accuracies that follow a known law."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.arena.efficiency import Budget, compare, comparisons, curves, markdown, read_budgets, responses_to_reach
from crossdistill.arena.cell import Cell, Stage
from crossdistill.arena.outcome import Outcome
from crossdistill.errors import InputError
from tests.arena.outcomes import answers

SEEDS, PROBLEMS = 5, 400


def budget(responses: int, accuracy: float, flops: float = 1.0) -> Budget:
    """The same problems are solved by all seeds."""
    shares = np.zeros((SEEDS, PROBLEMS))
    shares[:, : round(accuracy * PROBLEMS)] = 1.0
    return Budget(responses, flops * responses, shares)


def test_a_curve_is_followed_by_the_logarithm():
    """Against the definition, on a fine grid of counts."""
    counts, accuracies = [10, 20, 80, 160], [0.1, 0.3, 0.2, 0.9]
    grid = np.geomspace(10, 160, 200_001)
    curve = np.interp(np.log(grid), np.log(counts), accuracies)
    for reached in (0.1, 0.15, 0.25, 0.3, 0.5, 0.89):
        expected = grid[np.argmax(curve >= reached - 1e-12)]
        assert responses_to_reach(counts, accuracies, reached) == pytest.approx(expected, rel=1e-4)
    assert math.isinf(responses_to_reach(counts, accuracies, 0.91))
    assert responses_to_reach(counts, accuracies, 0.05) == 10


def test_measured_and_extrapolated():
    """SFT gains 10 points by each doubling, and then stays: the line overlooks it."""
    sft = [budget(50, 0.3, 2.0), budget(100, 0.4, 2.0), budget(200, 0.5, 2.0), budget(400, 0.5, 2.0)]
    reaching, beyond = compare(sft, budget(100, 0.45, 4.0)), compare(sft, budget(100, 0.6, 4.0))
    value, low, high = reaching["measured"]["data"]
    assert value == pytest.approx(math.sqrt(2), abs=1e-3) and low < value < high
    assert reaching["measured"]["flops"][0] == pytest.approx(value / 2, abs=1e-3)
    assert reaching["extrapolated"]["data"][0] == pytest.approx(math.sqrt(2), abs=1e-3)
    assert beyond["measured"]["data"][0] is None
    assert beyond["extrapolated"]["data"][0] == pytest.approx(4.0, abs=1e-3)


def test_seeds_that_differ_widen_the_interval():
    shares = budget(100, 0.45).shares.copy()
    shares[:2, 160:] = 0.0
    shares[2:4, :200] = 1.0
    sft = [budget(50, 0.3), budget(100, 0.4), budget(200, 0.5)]
    sure, unsure = (
        compare(sft, Budget(100, 400.0, each))["measured"]["data"] for each in (budget(100, 0.45).shares, shares)
    )
    assert unsure[0] == pytest.approx(sure[0], abs=0.05)
    assert unsure[1] < sure[1] and (unsure[2] is None or unsure[2] > sure[2])


def outcome(method: str, responses: int, right: int, seed: int = 1, stage: Stage = "test") -> Outcome:
    cell = Cell("sums", method, stage, 3e-4, seed)
    test = answers("1" * right + "0" * (10 - right))
    return replace(Outcome(cell, "rules", "done", test=test), responses=responses, flops=7 * responses)


def written(path: Path, *outcomes: Outcome) -> Path:
    path.write_text("".join(json.dumps(one.as_dict()) + "\n" for one in outcomes))
    return path


def test_runs_of_several_arenas(tmp_path: Path):
    """Only the compared runs count, and only a distillation that has its two points of SFT is compared."""
    small = written(
        tmp_path / "a.jsonl", *(outcome("seqkd", 8, 3, seed) for seed in (1, 2)), outcome("seqkd", 8, 9, 3, "tune")
    )
    large = written(
        tmp_path / "b.jsonl",
        *(outcome("seqkd", 16, 5, seed) for seed in (1, 2)),
        *(outcome("dpca", 16, 4, seed) for seed in (1, 2)),
        *(outcome("dpca", 32, 9, seed) for seed in (1, 2)),
    )
    budgets = read_budgets([large, small])
    assert [(one.responses, one.accuracy, one.flops) for one in budgets["sums", "seqkd"]] == [
        (8, pytest.approx(0.3), 56),
        (16, pytest.approx(0.5), 112),
    ]
    [found] = comparisons(budgets, "dpca")
    assert found["responses"] == 16 and found["measured"]["data"][0] == pytest.approx(math.sqrt(0.5), abs=1e-3)
    text = markdown({"comparisons": [found], "curves": curves(budgets)})
    assert "| sums | 16 | 40.0% | 0.71 (" in text
    assert "| sums, `dpca` |  | 40.0 | 90.0 |" in text


def test_a_file_that_is_given_twice_is_refused(tmp_path: Path):
    file = written(tmp_path / "a.jsonl", outcome("seqkd", 8, 3))
    with pytest.raises(
        InputError, match=r"has sums/seqkd/test-lr0.0003-seed1 again, with 8 responses: name a file once"
    ):
        read_budgets([file, file])
