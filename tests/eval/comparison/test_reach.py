"""What it costs to reach an accuracy."""

import pytest

from crossdistill.eval.comparison.reach import Point, cost_to_reach, costs_to_reach
from tests.oracles import comparison as oracle

ACCURACIES = [0.2, 0.35, 0.3, 0.7, 0.6, 0.9]
STEPS = [0.0, 10.0, 20.0, 40.0, 50.0, 80.0]


def curve(accuracies, steps=STEPS):
    return [
        Point(accuracy, None, {"step": step, "flops": 1e12 * step**2})
        for accuracy, step in zip(accuracies, steps, strict=True)
    ]


@pytest.mark.parametrize("accuracy", [0.25, 0.35, 0.4, 0.65, 0.7, 0.71, 0.9])
def test_it_is_found_on_the_straight_line(accuracy):
    found = cost_to_reach(curve(ACCURACIES), accuracy)
    assert found["step"] == pytest.approx(oracle.cost_at(STEPS, ACCURACIES, accuracy), abs=0.001)
    flops = [1e12 * step**2 for step in STEPS]
    assert found["flops"] == pytest.approx(oracle.cost_at(flops, ACCURACIES, accuracy), rel=0.001)


def test_what_is_not_reached_and_what_was_there_before():
    assert cost_to_reach(curve(ACCURACIES), 0.91) is None
    assert cost_to_reach([], 0.5) is None
    assert cost_to_reach(curve(ACCURACIES), 0.1) == {"step": 0.0, "flops": 0.0}


def test_a_cost_that_one_evaluation_lacks_is_left_out():
    points = [Point(0.0, None, {"step": 0}), Point(1.0, None, {"step": 10, "flops": 5.0})]
    assert cost_to_reach(points, 0.5) == {"step": 5.0}


def test_a_mean_is_over_all_runs_or_there_is_none():
    slow = curve(ACCURACIES, [2 * step for step in STEPS])
    assert costs_to_reach([curve(ACCURACIES), slow], 0.7).costs["step"] == pytest.approx(60)
    failed = costs_to_reach([curve(ACCURACIES), curve([0.2] * 6)], 0.7)
    assert (failed.num_reached, failed.num_runs, failed.costs) == (1, 2, None)
