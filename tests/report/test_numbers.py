from typing import Any

import pytest

from crossdistill.report import numbers
from crossdistill.report.charts import smoothed
from crossdistill.report.results import metric_range, metric_rows, position


@pytest.mark.parametrize(
    ("function", "value", "shown"),
    [
        (numbers.nats, -1.234, "−1.23"),
        (numbers.nats, -0.001, "0.00"),
        (numbers.nats, None, "–"),
        (numbers.nats, float("nan"), "–"),
        (numbers.signed, 0.5, "+0.50"),
        (numbers.signed, -10.0, "−10.00"),
        (numbers.signed, 0.001, "0.00"),
        (numbers.count, 1234567, "1,234,567"),
        (numbers.percent, 0.5, "50.0 %"),
        (numbers.percent, 0.0, "0.0 %"),
        (numbers.percent, 1e-6, "< 0.1 %"),
        (numbers.percent, 0.99999, "> 99.9 %"),
        (numbers.percent, 1.0, "100.0 %"),
        (numbers.si, 999, "999"),
        (numbers.si, 999.6, "1 k"),
        (numbers.si, 3.42e15, "3.42 P"),
        (numbers.duration, 5.25, "5.25 s"),
        (numbers.duration, 59.9 + 60, "2 min 00 s"),
        (numbers.duration, 7384, "2 h 03 min"),
        (numbers.duration, "soon", "–"),
        (numbers.tint, 0.04, ""),
        (numbers.tint, 0.5, "up2"),
        (numbers.tint, -7.0, "down4"),
    ],
)
def test_number(function: Any, value: Any, shown: str) -> None:
    assert function(value) == shown


def test_smoothed_does_not_lag() -> None:
    assert smoothed([1.0, 2.0, 6.0, 4.0, 5.0, 0.0], 2) == [3.0, 3.25, 3.6, 3.4, 3.75, 3.0]
    straight = [float(step) for step in range(9)]
    assert smoothed(straight, 3)[3:-3] == straight[3:-3]


def test_metric_rows_are_in_order_with_differences() -> None:
    rows = metric_rows({"after": {"mean": 0.5, "ci": [0.4, 0.6], "n": 9}, "before": {"mean": 0.25}})
    assert [(row.name, row.difference) for row in rows] == [("student before", None), ("student after", 0.25)]
    assert metric_range(rows) == (0.25, 0.6)


def test_position() -> None:
    assert position(3.0, (2.0, 6.0)) == 25.0
    assert position(2.0, (2.0, 2.0)) == 50.0
    assert metric_range([]) == (0.0, 1.0)
