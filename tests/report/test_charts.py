"""Names beside the ends of curves."""

from itertools import pairwise

import pytest

from crossdistill.report.charts import End, drawn, end_labels, label_ends, spread


@pytest.mark.parametrize(
    "heights",
    [[0.5], [0.5, 0.5], [0.0, 0.01, 0.02], [1.0, 0.99, 0.98], [0.3, 0.31, 0.9, 0.35], [0.1 * k for k in range(9)]],
)
def test_labels_are_spread_in_their_order_within_the_axes(heights):
    placed = spread(heights, 0.11)
    in_order = [placed[index] for index in sorted(range(len(heights)), key=lambda index: heights[index])]
    assert all(high - low >= 0.11 - 1e-6 for low, high in pairwise(in_order))
    assert min(placed) >= 0
    assert max(placed) <= 1


def test_labels_that_do_not_touch_stay():
    assert spread([0.2, 0.8, 0.5], 0.1) == [0.2, 0.8, 0.5]


def test_many_curves_have_a_legend_alone():
    assert set(end_labels([str(number) for number in range(18)])) == {""}

    def draw(axes):
        axes.plot([0, 1], [0, 1])
        label_ends(axes, [End("", 1, 1, "#010203")])

    assert "var(--ink)" in drawn("t", "x", "y", draw)
    assert "></text>" not in drawn("t", "x", "y", draw)


def test_the_ends_of_equal_curves_have_names_of_their_own():
    def draw(axes):
        axes.plot([0, 1], [0, 1])
        label_ends(axes, [End("one", 1, 1, "#010211"), End("two", 1, 1, "#010212")])

    svg = drawn("t", "x", "y", draw)
    assert ">one</text>" in svg
    assert ">two</text>" in svg
    assert "var(--series1)" in svg  # the line from the end to the name
