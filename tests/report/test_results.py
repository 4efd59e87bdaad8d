"""The results table of a report."""

from crossdistill.report.results import metric_range, metric_rows, position


def test_metric_rows_are_in_order_with_differences() -> None:
    rows = metric_rows({"after": {"mean": 0.5, "ci": [0.4, 0.6], "n": 9}, "before": {"mean": 0.25}})
    assert [(row.name, row.difference) for row in rows] == [("student before", None), ("student after", 0.25)]
    assert metric_range(rows) == (0.25, 0.6)


def test_position() -> None:
    assert position(3.0, (2.0, 6.0)) == 25.0
    assert position(2.0, (2.0, 2.0)) == 50.0
    assert metric_range([]) == (0.0, 1.0)
