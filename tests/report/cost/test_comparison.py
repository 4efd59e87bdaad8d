"""Distillation against SFT followed on, by hand and with the paper's figures."""

import dataclasses
import math

import pytest

from crossdistill.costs import Part
from crossdistill.errors import InputError
from crossdistill.flops import ModelFlops
from crossdistill.report.cost.comparison import BY_PROBLEMS, BY_SCATTER, NO_INTERVAL, compare
from crossdistill.report.cost.spending import Measurement, Method, Spending

TASK = "aime24"
LLAMA, QWEN = ModelFlops(7_504_658_432), ModelFlops(7_568_097_280)  # Llama-3.1-8B and Qwen3-8B, in matrix products
LENGTH = 8_000


def sft(name: str, data_points: int, mean: float | None, *, student: str = "base", **fields) -> Spending:
    tokens = data_points * LENGTH
    spending = Spending(
        name=name,
        method=Method.SFT,
        student=student,
        teacher="teacher",
        model=f"/runs/{name}/model",
        data_points=data_points,
        num_examples=data_points,
        tokens={Part.SFT_STEP: tokens, Part.TEACHER_ROLLOUT: tokens},
        flops={Part.SFT_STEP: LLAMA.step([tokens]), Part.TEACHER_ROLLOUT: QWEN.forward([tokens])},
        accuracy={} if mean is None else {TASK: (Measurement(data_points, mean),)},
    )
    return dataclasses.replace(spending, **fields)


def opd(name: str, data_points: int, mean: float | None, *, student: str = "base", **fields) -> Spending:
    tokens = data_points * LENGTH
    parts = {Part.STUDENT_ROLLOUT: LLAMA.forward, Part.TEACHER_PREFILL: QWEN.forward, Part.STUDENT_STEP: LLAMA.step}
    spending = Spending(
        name=name,
        method=Method.OPD,
        student=student,
        teacher="teacher",
        model=f"/runs/{name}/model",
        data_points=data_points,
        num_examples=0,
        tokens=dict.fromkeys(parts, tokens),
        flops={part: count([tokens]) for part, count in parts.items()},
        accuracy={} if mean is None else {TASK: (Measurement(data_points, mean),)},
    )
    return dataclasses.replace(spending, **fields)


# --- the paper's table 2: 44.4 % after 20K samples, from SFT on 400K samples with 38.5 %

FIRST, SECOND = sft("sft-200k", 200_000, 0.3333), sft("sft-400k", 200_000, 0.385, student="/runs/sft-200k/model")
SECOND = dataclasses.replace(SECOND, accuracy={TASK: (Measurement(200_000, 0.385),)})
DISTILLED = opd("opd", 20_000, 0.444, student="/runs/sft-400k/model")


def test_the_papers_figures() -> None:
    """The text has 38.5 % at 400K, 44.4 % for 20K samples of OPD and +482K of SFT; 33.33 % at 200K is read off those.

    Its 24.1 and 4.1 % are the ratio of the data, which is that of the FLOPs if a data point costs as much in both.
    """
    report = compare([FIRST, SECOND, DISTILLED])
    assert [total.data_points for total in report.sft] == [200_000, 400_000]
    (found,) = report.comparisons
    assert found.start_points == 400_000
    assert found.started == 0.385
    assert found.additional.value == pytest.approx(482_000, rel=0.002)
    assert found.data_share.value == pytest.approx(0.041, abs=0.0006)
    assert 1 / found.data_share.value == pytest.approx(24.1, abs=0.05)
    assert found.efficiency is not None
    own = 2 * LLAMA.params + 2 * QWEN.params + 6 * LLAMA.params
    assert found.efficiency.value == pytest.approx(24.1 * (2 * QWEN.params + 6 * LLAMA.params) / own, rel=0.002)
    assert found.needed.ends is None
    assert report.method == NO_INTERVAL


def test_flops_of_the_additional_data_by_side() -> None:
    report = compare([FIRST, SECOND, DISTILLED])
    (found,) = report.comparisons
    tokens = found.additional.value * LENGTH
    assert found.teacher_flops is not None
    assert found.student_flops is not None
    assert found.teacher_flops.value == pytest.approx(2 * QWEN.params * tokens, rel=1e-9)
    assert found.student_flops.value == pytest.approx(6 * LLAMA.params * tokens, rel=1e-9)


# --- intervals


def with_problems(run: Spending, right: int, num: int = 400) -> Spending:
    """The first `right` problems are answered."""
    problems = {str(number): float(number < right) for number in range(num)}
    measured = Measurement(run.data_points, right / num, problems=problems)
    return dataclasses.replace(run, accuracy={TASK: (measured,)})


def test_results_of_problems_give_an_interval_even_for_two_points() -> None:
    runs = [with_problems(sft("a", 100, 0), 100), with_problems(sft("b", 1_000, 0), 200)]
    report = compare([*runs, with_problems(opd("opd", 50, 0), 300)])
    assert report.method == BY_PROBLEMS
    (found,) = report.comparisons
    assert found.needed.value == pytest.approx(10_000)
    for interval in (found.needed, found.additional, found.data_share, found.efficiency):
        assert interval is not None
        assert interval.ends is not None
        assert interval.ends[0] < interval.value < interval.ends[1] < math.inf
    assert found.data_share.ends == pytest.approx((50 / found.additional.ends[1], 50 / found.additional.ends[0]))


def test_three_points_give_an_interval_by_their_scatter() -> None:
    points = [sft("a", 100, 0.25), sft("b", 1_000, 0.51), sft("c", 10_000, 0.74)]
    report = compare([*points, opd("opd", 50, 0.8)])
    assert report.method == BY_SCATTER
    (found,) = report.comparisons
    assert found.needed.ends == report.line.needed_interval(0.8)
    wide = {TASK: (Measurement(50, 0.8, ci=(0.7, 0.9)),)}
    report = compare([*points, opd("opd", 50, 0.8, accuracy=wide)])
    low, high = report.comparisons[0].needed.ends
    assert low < found.needed.ends[0] < found.needed.ends[1] < high


def test_sft_that_does_not_gain_reaches_nothing() -> None:
    report = compare([sft("a", 100, 0.3), sft("b", 1_000, 0.3), opd("opd", 50, 0.8)])
    (found,) = report.comparisons
    assert found.needed.value == math.inf
    assert found.data_share.value == 0
    assert any("SFT does not gain on aime24" in note for note in report.notes)


# --- what is missing is said


def notes(*runs: Spending) -> str:
    report = compare(runs)
    return "\n".join(report.notes)


def test_no_sft_run() -> None:
    assert "no SFT run was measured on aime24, so nothing is extrapolated" in notes(opd("opd", 50, 0.8))
    assert "no SFT run was measured" in notes(opd("opd", 50, 0.8), sft("a", 100, None))


def test_one_size_of_sft() -> None:
    report = compare([sft("a", 100, 0.3), sft("b", 100, 0.4), opd("opd", 50, 0.8)])
    assert "SFT was measured at one size of data (a, b), which gives no line" in report.notes[0]
    assert report.comparisons == ()


def test_nothing_measured() -> None:
    report = compare([opd("opd", 50, None)])
    assert report.task is None
    assert "no run was measured on a task" in report.notes[0]


def test_a_run_on_another_task_is_named() -> None:
    other = opd("other", 50, None, accuracy={"math500": (Measurement(50, 0.5),)})
    with pytest.raises(InputError, match="measured on aime24, math500: choose one with --task"):
        compare([FIRST, other])
    report = compare([FIRST, other], TASK)
    assert "other was not measured on aime24: only its cost is shown" in report.notes
    with pytest.raises(InputError, match="no run was measured on 'gsm8k', only on aime24"):
        compare([FIRST], "gsm8k")


def test_other_starts_are_not_compared() -> None:
    report = compare([FIRST, SECOND, opd("opd", 50, 0.8, student="elsewhere")])
    assert report.comparisons == ()
    assert "opd starts from elsewhere, and SFT from base" in report.notes[0]


def test_a_teacher_of_unknown_size_has_no_efficiency() -> None:
    flops = {**DISTILLED.flops, Part.TEACHER_PREFILL: 0}
    report = compare([FIRST, SECOND, dataclasses.replace(DISTILLED, flops=flops)])
    assert report.comparisons[0].efficiency is None
    assert any("the FLOPs of teacher_prefill are not known" in note for note in report.notes)


def test_given_responses_are_in_favour_of_sft() -> None:
    given = [
        dataclasses.replace(run, tokens={Part.SFT_STEP: 1}, flops={Part.SFT_STEP: run.flops[Part.SFT_STEP]})
        for run in (FIRST, SECOND)
    ]
    report = compare([*given, DISTILLED])
    assert any("in favour of SFT" in note for note in report.notes)
    assert report.comparisons[0].efficiency.value < compare([FIRST, SECOND, DISTILLED]).comparisons[0].efficiency.value
    flat = [dataclasses.replace(run, accuracy={TASK: (Measurement(run.data_points, 0.3),)}) for run in given]
    (found,) = compare([*flat, DISTILLED]).comparisons
    assert (found.teacher_flops.value, found.student_flops.value) == (0, math.inf)


def test_repeated_examples_are_in_favour_of_distillation() -> None:
    repeated = dataclasses.replace(FIRST, num_examples=50_000)
    said = "SFT repeated examples: a further data point counts as a new response, in favour of distillation"
    assert said in compare([repeated, SECOND, DISTILLED]).notes
    assert said not in compare([FIRST, SECOND, DISTILLED]).notes


def test_a_distillation_behind_sft_is_no_gain() -> None:
    report = compare([FIRST, SECOND, opd("opd", 20_000, 0.30, student="/runs/sft-400k/model")])
    (found,) = report.comparisons
    assert found.additional.value == 0
    assert found.data_share.value == math.inf
    assert any("there is nothing to extrapolate" in note for note in report.notes)


def test_what_was_measured_need_not_be_extrapolated() -> None:
    """Accuracies that level off, as on a task near its ceiling."""
    points = [sft("a", 256, 0.372), sft("b", 1_024, 0.938), sft("c", 4_096, 0.970)]
    said = notes(*points, opd("opd", 768, 0.935))
    assert "SFT was measured to reach that of opd, with 1,024 data points (b): nothing need be extrapolated" in said
    assert "the line passes what was measured by up to 17.8 points" in said
    (found,) = compare([*points, opd("opd", 768, 0.935)]).comparisons
    assert found.measured is not None
    assert found.measured.run.name == "b"
    straight = notes(sft("a", 100, 0.2), sft("b", 1_000, 0.3), sft("c", 10_000, 0.41), opd("opd", 50, 0.5))
    assert "passes what was measured" not in straight
    assert "was measured to reach" not in straight


def test_a_far_extrapolation_is_said() -> None:
    assert "the line is followed to 100 times the data" in notes(
        sft("a", 100, 0.2), sft("b", 1_000, 0.3), opd("opd", 50, 0.5)
    )
