from typing import Any

import pytest

from crossdistill.report import format
from crossdistill.report.charts import smoothed
from crossdistill.report.results import metric_range, metric_rows, position


@pytest.mark.parametrize(
    ("function", "value", "shown"),
    [
        (format.nats, -1.234, "−1.23"),
        (format.nats, -0.001, "0.00"),
        (format.nats, None, "–"),
        (format.nats, float("nan"), "–"),
        (format.signed, 0.5, "+0.50"),
        (format.signed, -10.0, "−10.00"),
        (format.signed, 0.001, "0.00"),
        (format.count, 1234567, "1,234,567"),
        (format.percent, 0.5, "50.0 %"),
        (format.percent, 0.0, "0.0 %"),
        (format.percent, 1e-6, "< 0.1 %"),
        (format.percent, 0.99999, "> 99.9 %"),
        (format.percent, 1.0, "100.0 %"),
        (format.si, 999, "999"),
        (format.si, 999.6, "1 k"),
        (format.si, 3.42e15, "3.42 P"),
        (format.duration, 5.25, "5.25 s"),
        (format.duration, 59.9 + 60, "2 min 00 s"),
        (format.duration, 7384, "2 h 03 min"),
        (format.duration, "soon", "–"),
        (format.tint, 0.04, ""),
        (format.tint, 0.5, "up2"),
        (format.tint, -7.0, "down4"),
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
