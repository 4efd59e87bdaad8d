"""How much SFT reaches as far as distillation, on accuracies that follow a known law."""

import math
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from benchmarks.arena.compared_runs import read_runs
from benchmarks.arena.efficiency import (
    Budget,
    Budgets,
    budgets_of,
    compare,
    comparisons,
    curves,
    data_to_reach,
    main,
    markdown,
)
from crossdistill.errors import InputError
from tests.benchmarks.arena_cells import cell, written

SEEDS, PROBLEMS = 5, 400


def budget(responses: int, accuracy: float, flops: float = 1.0) -> Budget:
    """The same problems are solved by all seeds."""
    shares = np.zeros((SEEDS, PROBLEMS))
    shares[:, : round(accuracy * PROBLEMS)] = 1.0
    return Budget(responses, flops * responses, shares)


def budgets(accuracies: dict[int, float], flops: float = 2.0) -> Budgets:
    """Ten responses a step."""
    return {steps: budget(10 * steps, accuracy, flops) for steps, accuracy in accuracies.items()}


def test_a_curve_is_followed_by_the_logarithm():
    """Against the definition, on a fine grid of counts; 0.35 and 0.25 in a falling part become their mean."""
    counts, accuracies = [10, 20, 80, 160], [0.1, 0.35, 0.25, 0.9]
    grid = np.geomspace(10, 160, 200_001)
    curve = np.interp(np.log(grid), np.log(counts), [0.1, 0.3, 0.3, 0.9])
    for reached in (0.1, 0.15, 0.25, 0.5, 0.89):
        expected = grid[np.argmax(curve >= reached - 1e-12)]
        assert data_to_reach(counts, accuracies, reached) == pytest.approx(expected, rel=1e-4)
    assert math.isinf(data_to_reach(counts, accuracies, 0.91))
    assert data_to_reach(counts, accuracies, 0.05) == 10


def test_measured_and_extrapolated():
    """SFT gains 10 points by each doubling, and then stays: the line overlooks it."""
    sft = budgets({5: 0.3, 10: 0.4, 20: 0.5, 40: 0.5})
    reaching, beyond = compare(sft, 10, budget(100, 0.45, 4.0)), compare(sft, 10, budget(100, 0.6, 4.0))
    value, low, high = reaching["measured"]["data"]
    assert value == pytest.approx(math.sqrt(2), abs=1e-3) and low < value < high
    assert reaching["measured"]["flops"] == pytest.approx([value / 2, low / 2, high / 2], abs=1e-3)
    assert reaching["extrapolated"]["data"][0] == pytest.approx(math.sqrt(2), abs=1e-3)
    assert beyond["measured"]["data"][0] is None
    assert beyond["extrapolated"]["data"][0] == pytest.approx(4.0, abs=1e-3)


def test_flops_are_the_mean_price_of_a_response():
    sft = {5: budget(50, 0.3, 1.0), 10: budget(100, 0.4, 4.0), 20: budget(150, 0.5, 2.0)}
    found = compare(sft, 10, budget(100, 0.4, 5.0))
    assert found["flops_of_a_response"] == pytest.approx((50 + 400 + 300) / 300 / 5.0, abs=1e-4)


def test_seeds_that_differ_widen_the_interval():
    shares = budget(100, 0.45).shares.copy()
    shares[:2, 160:] = 0.0
    shares[2:4, :200] = 1.0
    sft = budgets({5: 0.3, 10: 0.4, 20: 0.5})
    sure, unsure = (
        compare(sft, 10, Budget(100, 400.0, each))["measured"]["data"] for each in (budget(100, 0.45).shares, shares)
    )
    assert unsure[0] == pytest.approx(sure[0], abs=0.05)
    assert unsure[1] < sure[1] and (unsure[2] is None or unsure[2] > sure[2])


def test_the_interval_covers_what_is_true():
    """Problems of one difficulty, seeds that hardly differ: at least 88 of 100 intervals hold the truth, 2 ** 0.5."""
    rng = np.random.default_rng(0)
    held = 0
    for trial in range(100):
        drawn = {steps: rng.random((SEEDS, 100)) < share for steps, share in ((5, 0.3), (10, 0.4), (20, 0.5))}
        sft = {steps: Budget(10 * steps, 1.0, shares.astype(float)) for steps, shares in drawn.items()}
        opd = Budget(100, 1.0, (rng.random((SEEDS, 100)) < 0.45).astype(float))
        _, low, high = compare(sft, 10, opd, seed=trial, resamples=200)["measured"]["data"]
        held += low <= math.sqrt(2) and (high is None or math.sqrt(2) <= high)
    assert held >= 88


def arenas(folder: Path) -> list[Path]:
    """Of 2 steps, and of 4, at which seeds lost different numbers of SFT's responses."""
    small = [cell("seqkd", "1110000000", seed, 2) for seed in (1, 2)]
    large = [cell("seqkd", "1111100000", 1), cell("seqkd", "1111100000", 2, lost=1)]
    large += [cell("dpca", "1111000000", seed) for seed in (2, 1)]
    tuning = [cell("seqkd", "1111111111", 3, 2, stage="tune")]
    return [written(folder / "4.jsonl", large), written(folder / "2.jsonl", small + tuning)]


def test_runs_of_several_arenas(tmp_path: Path):
    """Only the compared runs count; a response that the teacher did not end does not make another budget."""
    found = budgets_of([read_runs(file) for file in arenas(tmp_path)])
    assert [(steps, one.responses, one.flops) for steps, one in found["warm", "seqkd"].items()] == [
        (2, 8, 56),
        (4, 15.5, 7 * 15.5),
    ]
    [row] = comparisons(found, "dpca")
    assert row["steps"] == 4 and row["seeds"] == 2
    assert row["measured"]["data"][0] == pytest.approx(8 * math.sqrt(15.5 / 8) / 16, abs=1e-3)
    text = markdown({"comparisons": [row], "curves": curves(found)})
    assert "| warm | 4 | 40.0% | 0.7 (≤ 0.5 to 0.97) | 0.35 (≤ 0.25 to 0.48) |" in text
    assert "| warm, `dpca` |  | 40.0 |" in text


def test_what_is_reached_by_the_smallest_budget_is_marked(tmp_path: Path):
    """Also if rounding the multiple hides it."""
    sft = {3: budget(48, 0.9), 48: budget(768, 0.9), 96: budget(1536, 0.95)}
    text = markdown(
        {"comparisons": [{"pair": "warm", "steps": 96, **compare(sft, 96, budget(1536, 0.5))}], "curves": []}
    )
    assert "| ≤ 0.031 (≤ 0.031 to ≤ 0.031) |" in text


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("twice", "seqkd on warm with 4 steps is there twice: name each arena once"),
        ("seed", "seqkd on warm with 2 steps has other seeds or problems than the rest"),
        ("problems", "seqkd on warm with 2 steps has other seeds or problems than the rest"),
        ("failed", r"warm/seqkd/test-lr0.0003-seed1 in .* failed: run it again with --retry"),
        ("half", "no budget of dpca was also run with seqkd, and half of it"),
        ("missing", r"cannot be read as cells.jsonl of an arena \(.*No such file"),
    ],
)
def test_bad_input(tmp_path: Path, change: str, reason: str, monkeypatch: pytest.MonkeyPatch):
    """A sentence, and no traceback."""
    large, small = arenas(tmp_path)
    files = {"twice": [large, large], "half": [large], "missing": [tmp_path / "none"]}.get(change, [large, small])
    one, two = cell("seqkd", "1110000000", 1, 2), cell("seqkd", "1110000000", 2, 2)
    assert one.test is not None
    other = {
        "seed": [one],
        "problems": [replace(one, test=replace(one.test, digest="others")), two],
        "failed": [replace(one, status="failed", test=None), two],
    }
    if change in other:
        written(small, other[change])
    monkeypatch.setattr("sys.argv", ["efficiency", *map(str, files)])
    with pytest.raises(SystemExit, match=reason):
        main()


def test_other_methods_do_not_matter(tmp_path: Path):
    """A failed run of another one, and seeds of another pair."""
    failed = replace(cell("dpca", "1", 1), status="failed", test=None)
    lines = [
        replace(failed, cell=replace(failed.cell, method="cdm")),
        *(cell("seqkd", "11", s, pair="p") for s in (1, 2)),
    ]
    runs = read_runs(written(tmp_path / "cells.jsonl", lines), ("seqkd", "dpca"))
    assert [(one.pair, one.method, sorted(one.outcomes)) for one in runs] == [("p", "seqkd", [1, 2])]


def test_a_comparison_needs_both(tmp_path: Path):
    found = budgets_of([read_runs(file) for file in arenas(tmp_path)])
    for method, lacking in product(("bpm",), ((), ("warm", "seqkd"))):
        kept = {key: value for key, value in found.items() if key != lacking}
        with pytest.raises(InputError, match=f"no budget of {method}"):
            list(comparisons(kept, method))
