"""Which metrics share a chart, and their captions."""

from crossdistill.report.charts import CURVES, accuracy_charts, learning_curves, smoothed

HISTORY = [
    {"step": step, "teacher_gap/digits": 0.5 / step, "teacher_gap/rest": 0.25, "share/digits": 0.01 * step}
    for step in (1, 2, 4)
]


def test_classes_share_a_chart_with_a_legend():
    by_class, shares = learning_curves(HISTORY)
    assert by_class.title == "Gap to the teacher by kind of byte"
    assert by_class.caption == "digits 0.5 at step 1, 0.125 at step 4; the rest 0.25 at step 1, 0.25 at step 4"
    for name in ("digits", "the rest"):
        assert f">{name}</text>" in by_class.svg
    assert "white space" not in by_class.svg
    assert "stroke-dasharray" in by_class.svg
    assert shares.caption == "digits 0.01 at step 1, 0.04 at step 4"
    assert ">digits</text>" not in shares.svg  # a single line needs no legend


def test_points_are_shown_behind_a_smooth_line_that_is_alone():
    def shows_points(**metrics):
        (chart,) = learning_curves([{"step": step, **metrics} for step in range(80)])
        return "var(--raw)" in chart.svg

    assert shows_points(entropy=1.0)
    assert not shows_points(entropy=1.0, sampled_entropy=1.0)


def test_every_metric_is_drawn_once():
    keys = [key for curve in CURVES for key in curve.lines]
    assert len(keys) == len(set(keys))
    assert {"coverage", "stopped", "completions/mean_length", "sampled_entropy", "share/white_space"} <= set(keys)


def test_smoothed_does_not_lag() -> None:
    assert smoothed([1.0, 2.0, 6.0, 4.0, 5.0, 0.0], 2) == [3.0, 3.25, 3.6, 3.4, 3.75, 3.0]
    straight = [float(step) for step in range(9)]
    assert smoothed(straight, 3)[3:-3] == straight[3:-3]


def points(*means: float, ci: list[float] | None = None) -> list[dict[str, object]]:
    return [{"step": 10 * k, "mean": mean, "ci": ci} for k, mean in enumerate(means)]


def test_accuracy_has_a_chart_for_each_task_with_a_band():
    sums, others = accuracy_charts({"sums": points(0.3125, 0.9675, ci=[0.25, 0.98]), "others": points(0.5)})
    assert sums.title == "Accuracy on sums"
    assert sums.caption == "0.3125 at step 0, 0.9675 at step 10"
    assert "opacity: 0.2" in sums.svg
    assert others.caption == "0.5 at step 0, 0.5 at step 0"


def test_accuracy_is_never_smoothed():
    (chart,) = accuracy_charts({"sums": points(*[0.0, 1.0] * 40, ci=[0.0, 1.0])})
    assert "var(--raw)" not in chart.svg


def test_a_run_that_was_not_evaluated_has_no_such_chart():
    assert accuracy_charts({}) == []
