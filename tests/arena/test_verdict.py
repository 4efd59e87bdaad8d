"""Who wins: beyond the noise floor and by the test, or it is a tie."""

import numpy as np
import pytest

from crossdistill.arena.cell import Cell
from crossdistill.arena.outcome import Outcome
from crossdistill.arena.standing import Standing
from crossdistill.arena.verdict import noise_floor, verdicts_of
from crossdistill.eval.comparison.crossed import crossed_difference
from tests.arena.simulator import answered, broken
from tests.oracles.comparison import holm

NUM_PROBLEMS = 40


def standing(method, right, num_seeds=None, status="done"):
    """A method whose seeds have the first `right` problems right; `status` is of a further seed."""
    runs = {}
    for seed, number in enumerate(right):
        cell = Cell("fine", method, "test", 3e-4, seed)
        answers = answered([1] * number + [0] * (NUM_PROBLEMS - number))
        runs[seed] = Outcome(cell, "rules", "done", test=answers)
    for seed in range(len(right), num_seeds or len(right)):
        cell = Cell("fine", method, "test", 3e-4, seed)
        runs[seed] = None if status == "missing" else broken(cell, status, "NaN")
    return Standing("fine", method, "method", None, {}, 3e-4, runs)


def verdict(first, second, reference=None):
    standings = [standing("first", first), standing("second", second), standing("reference", reference or second)]
    return verdicts_of(standings, "reference")[0]


def test_a_win_and_its_mirror():
    better, worse = [30, 31, 32, 30, 31], [10, 12, 11, 10, 12]
    assert verdict(better, worse).ruling == "win"
    assert verdict(worse, better).ruling == "loss"
    assert verdict(better, worse).difference.mean == pytest.approx(0.495)


def test_equality_is_a_tie():
    found = verdict([20, 21, 22, 20, 21], [20, 21, 22, 20, 21])
    assert (found.ruling, found.difference.mean, found.corrected) == ("tie", 0.0, 1.0)


def test_within_the_noise_floor_it_is_a_tie_whatever_p_says():
    first, second = [30] * 5, [20] * 5
    assert verdict(first, second, reference=[20] * 5).ruling == "win"
    # the reference's seeds differ by just as much: 10 of 40
    at_the_floor = verdict(first, second, reference=[15, 25, 20, 20, 20])
    assert (at_the_floor.ruling, at_the_floor.floor) == ("tie", 0.25)
    assert at_the_floor.corrected < 0.05
    assert verdict(first, second, reference=[16, 25, 20, 20, 20]).ruling == "win"


def test_beyond_the_floor_without_significance_is_a_tie():
    """The first is better on average by the luck of one seed."""
    found = verdict([10, 10, 10, 10, 40], [10, 10, 10, 10, 10])
    assert found.ruling == "tie"
    assert abs(found.difference.mean) > found.floor == 0.0
    assert found.corrected > 0.05


def test_the_floor_is_of_the_reference_alone():
    wild, steady = [5, 25, 10, 30, 20], [38, 38, 39, 38, 38]
    found = verdicts_of([standing("wild", wild), standing("steady", steady)], "steady")[0]
    assert found.floor == pytest.approx(1 / 40)
    assert verdicts_of([standing("wild", wild), standing("steady", steady)], "wild")[0].floor == pytest.approx(25 / 40)


def test_p_values_are_corrected_over_all_comparisons_of_the_pair():
    named = {"a": [30, 31, 31], "b": [25, 26, 26], "c": [20, 21, 20], "reference": [10, 11, 10]}
    standings = [standing(name, right) for name, right in named.items()]
    found = verdicts_of(standings, "reference")
    assert [(verdict.first, verdict.second) for verdict in found] == [
        *(("a", "b"), ("a", "c"), ("a", "reference")),
        *(("b", "c"), ("b", "reference"), ("c", "reference")),
    ]
    shares = {item.method: item.shares for item in standings}
    raw = [crossed_difference(shares[verdict.first], shares[verdict.second]).p_value for verdict in found]
    assert [verdict.corrected for verdict in found] == pytest.approx(holm(raw))
    assert any(p < 0.05 <= corrected for p, corrected in zip(raw, holm(raw), strict=True)), "the correction matters"
    for verdict, corrected in zip(found, holm(raw), strict=True):
        assert (verdict.ruling == "win") is (corrected < 0.05 and verdict.difference.mean > verdict.floor)


@pytest.mark.parametrize(
    ("status", "ruling", "reason"),
    [
        ("missing", "not run", "second: missing of 3 seeds: 2"),
        ("diverged", "failed", "second: seed 2 diverged (NaN)"),
        ("failed", "failed", "second: seed 2 failed (NaN)"),
    ],
)
def test_no_verdict_over_the_seeds_that_are_left(status, ruling, reason):
    standings = [standing("first", [30, 30, 30]), standing("second", [10, 10], 3, status)]
    found = verdicts_of(standings, "first")[0]
    assert (found.ruling, found.reason, found.difference, found.floor) == (ruling, reason, None, None)


def test_without_the_reference_there_is_no_verdict():
    standings = [standing("first", [30] * 3), standing("second", [9] * 3), standing("third", [9] * 2, 3, "missing")]
    found = verdicts_of(standings, "third")
    assert {verdict.ruling for verdict in found} == {"not run"}
    assert found[0].reason == "third: missing of 3 seeds: 2"
    assert noise_floor(standings[2]) is None


def test_what_is_missing_can_still_be_run_so_it_is_named_before_what_failed():
    standings = [standing("first", [30] * 2, 3, "diverged"), standing("second", [9] * 2, 3, "missing")]
    assert verdicts_of(standings, "first")[0].ruling == "not run"


def test_a_missing_comparison_does_not_count_in_the_correction():
    two = [standing("first", [30, 31, 33]), standing("second", [24, 26, 25])]
    third = standing("third", [1, 1], 3, "missing")
    assert verdicts_of([*two, third], "first")[0] == verdicts_of(two, "first")[0]


def test_one_method_has_nobody_to_beat():
    assert verdicts_of([standing("first", [1, 2])], "first") == []


def test_one_seed_is_no_test():
    [found] = verdicts_of([standing("first", [30]), standing("second", [10])], "first")
    assert (found.ruling, found.reason) == ("no test", "one seed does not tell how much seeds vary")
    [missing] = verdicts_of([standing("first", [30]), standing("second", [], 1, "missing")], "first")
    assert missing.ruling == "not run"
    [failed] = verdicts_of([standing("first", [30]), standing("second", [], 1, "failed")], "first")
    assert failed.ruling == "failed"


def test_one_problem_is_no_sample():
    one = [standing(name, [1, 1]) for name in ("first", "second")]
    for item in one:
        item.__dict__["shares"] = np.ones((2, 1))
    [found] = verdicts_of(one, "first")
    assert (found.ruling, found.reason) == ("no test", "one test problem does not tell how much problems vary")


def test_what_is_asked_before_the_runs_is_corrected_for_itself_alone():
    ends = {"first": [22, 24, 23, 22, 24], "second": [14, 13, 15, 14, 13], "third": [13, 14, 13, 15, 14]}
    standings = [standing(name, right) for name, right in ends.items()]
    every = {(one.first, one.second): one for one in verdicts_of(standings, "second")}
    asked = verdicts_of(standings, "second", [("third", "first"), ("first", "absent")])
    assert [(one.first, one.second) for one in asked] == [("third", "first")]  # as asked; the other has no runs
    [one] = asked
    assert one.corrected == one.difference.p_value < every["first", "third"].corrected
    assert one.difference.mean == pytest.approx(-every["first", "third"].difference.mean)
