"""Which metrics share a chart, what their captions say, and where their intervals come from."""

import re

from crossdistill.report.curves import EVALUATION, TRAINING, accuracy_charts, curve_charts, smoothed

HISTORY = [
    {"step": step, "teacher_gap/digits": 0.5 / step, "teacher_gap/rest": 0.25, "share/digits": 0.01 * step}
    for step in (1, 2, 4)
]


def test_classes_share_a_chart_with_names_beside_their_ends():
    by_class, shares = curve_charts(TRAINING, HISTORY)
    assert by_class.title == "Gap to the teacher by kind of byte"
    assert by_class.caption == "lower is better"
    for name in ("digits", "the rest"):
        assert f">{name}</text>" in by_class.svg
    assert "white space" not in by_class.svg
    assert "legend" not in by_class.svg
    assert shares.caption == "1.0 % → 4.0 %"
    assert ">digits</text>" not in shares.svg  # a single line needs no name


def test_points_are_shown_behind_a_smooth_line_that_is_alone():
    def shows_points(**metrics):
        (chart,) = curve_charts(TRAINING, [{"step": step, **metrics} for step in range(80)])
        return "var(--raw)" in chart.svg

    assert shows_points(entropy=1.0)
    assert not shows_points(entropy=1.0, sampled_entropy=1.0)


def test_every_metric_is_drawn_once():
    keys = [key for curve in (*EVALUATION, *TRAINING) for key in curve.lines]
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
    assert sums.caption == "31.2 % → 96.8 %; higher is better"
    assert "opacity: 0.2" in sums.svg
    assert others.caption == "50.0 %; higher is better"


def test_accuracy_is_never_smoothed():
    (chart,) = accuracy_charts({"sums": points(*[0.0, 1.0] * 40, ci=[0.0, 1.0])})
    assert "var(--raw)" not in chart.svg


def test_a_run_that_was_not_evaluated_has_no_such_chart():
    assert accuracy_charts({}) == []
    assert curve_charts(EVALUATION, HISTORY) == []


def test_a_gap_with_its_standard_error_has_an_interval():
    rows = [{"step": step, "eval_teacher_gap": 0.5 / step, "eval_teacher_gap_se": 0.01} for step in (1, 2, 2)]
    (chart,) = curve_charts(EVALUATION, rows)
    assert chart.caption == "0.5 → 0.25; lower is better"
    assert "opacity: 0.2" in chart.svg
    rows[0].pop("eval_teacher_gap_se")
    assert "opacity: 0.2" not in curve_charts(EVALUATION, rows)[0].svg


def ticks(svg: str) -> set[str]:
    return set(re.findall(r">([^<>]+)</text>", svg))


def test_steps_are_whole_and_shares_stay_within_their_range():
    for steps in ((3,), (1, 2), (1, 2, 3), range(1, 400)):
        (chart,) = curve_charts(TRAINING, [{"step": step, "stopped": 1.0} for step in steps])
        shown = ticks(chart.svg) - {"step"}
        shares = {text for text in shown if text.endswith("%")}
        assert {text.removesuffix("%") for text in shares} == {"0", "25", "50", "75", "100"}
        assert all(text.replace(",", "").isdigit() for text in shown - shares), shown


def test_small_shares_are_told_apart():
    (chart,) = curve_charts(TRAINING, [{"step": step, "share/digits": 0.02 + step / 1000} for step in (1, 2)])
    shares = [float(text.removesuffix("%")) for text in ticks(chart.svg) if text.endswith("%")]
    assert min(shares) == 0
    assert 2 <= max(shares) < 5
