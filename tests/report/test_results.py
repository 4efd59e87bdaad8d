"""The results table of a report."""

import pytest

from crossdistill.report.results import evaluation_history, fates, metric_range, metric_rows, position


def test_metric_rows_are_in_order_with_differences() -> None:
    rows = metric_rows({"after": {"mean": 0.5, "ci": [0.4, 0.6], "n": 9}, "before": {"mean": 0.25}})
    assert [(row.name, row.difference) for row in rows] == [("student before", None), ("student after", 0.25)]
    assert metric_range(rows) == (0.25, 0.6)


def test_position() -> None:
    assert position(3.0, (2.0, 6.0)) == 25.0
    assert position(2.0, (2.0, 2.0)) == 50.0
    assert metric_range([]) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("metric", "key"),
    [("teacher gap, nats per byte", "eval_teacher_gap"), ("held-out loss, nats per token", "eval_loss")],
)
def test_the_history_of_evaluations_begins_before_training(metric: str, key: str) -> None:
    run = {"metric": metric, "metrics": {"before": {"mean": 0.5, "ci": [0.304, 0.696], "n": 9}}}
    first, second = evaluation_history(run, [{"step": 4, key: 0.25, f"{key}_se": 0.01}])
    assert first == {"step": 0, key: 0.5, f"{key}_se": pytest.approx(0.1)}
    assert second["step"] == 4
    assert evaluation_history(run, [{"step": 4, "loss": 0.25}]) == [{"step": 4, "loss": 0.25}]
    assert len(evaluation_history({**run, "metric": "exact match"}, [{"step": 4, key: 0.25}])) == 1


def test_the_bytes_of_a_bar_follow_each_other() -> None:
    dropped = {"unencodable": 10, "teacher_context": 30}
    parts = fates({"sampled_bytes": 200, "supervised_bytes": 160, "dropped": dropped})
    assert [(part.name, part.start, part.width) for part in parts] == [
        ("supervised", 0, 80),
        ("teacher context", 80, 15),
        ("unencodable", 95, 5),
    ]
    assert len({part.look for part in parts}) == 3
    assert [part.width for part in fates({"sampled_bytes": 0})] == [0]
