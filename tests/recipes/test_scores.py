"""Scores and gains against what they are by hand."""

import math
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import pytest

from crossdistill.errors import InputError
from crossdistill.eval.interval import wilson
from recipes.paper.published import published
from recipes.paper.scores import Scores
from recipes.paper.settings import Settings, read_settings
from tests.recipes.folders import cell, evaluated, right

BENCHMARKS = published().benchmarks
SIZES = dict(zip(BENCHMARKS, (30, 30, 30, 50, 40, 60), strict=True))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    path = tmp_path / "mine.toml"
    path.write_text(f'output = "{tmp_path / "out"}"\nseeds = [0, 1, 2]\n')
    return read_settings([path])


def fill(settings: Settings, name: str, share: float, tasks=BENCHMARKS, **sampling) -> None:
    found = cell(settings, name)
    outcomes = {task: right(round(share * SIZES[task]), SIZES[task]) for task in tasks}
    evaluated(found.evaluation, found.model, outcomes, **sampling)


def test_nothing_was_run(settings):
    scores = Scores.read(settings)
    assert scores.evaluations == {}
    assert scores.score("llama", "opd", ("aime24",)) is None
    assert scores.gain("llama", "sft", "opd", ("aime24",)) is None


def test_one_seed_has_the_interval_of_its_evaluation(settings):
    fill(settings, "llama/opd-1", 0.4)
    found = Scores.read(settings).score("llama", "opd", ("math500",))
    expected = wilson(20, 50)
    assert (found.mean, found.low, found.high, found.n) == (0.4, expected.low, expected.high, 50)


def test_the_average_is_over_tasks_and_not_over_problems(settings):
    found = cell(settings, "llama/opd-0")
    counts = dict(zip(BENCHMARKS, (3, 6, 9, 50, 0, 30), strict=True))
    evaluated(found.evaluation, found.model, {task: right(counts[task], SIZES[task]) for task in BENCHMARKS})
    average = Scores.read(settings).score("llama", "opd", BENCHMARKS)
    shares = [counts[task] / SIZES[task] for task in BENCHMARKS]
    assert average.mean == pytest.approx(fmean(shares))
    # tasks are independent, so their variances add up: the bootstrap's interval is near the normal one
    error = (
        math.sqrt(sum(share * (1 - share) / SIZES[task] for share, task in zip(shares, BENCHMARKS, strict=True))) / 6
    )
    assert average.high - average.low == pytest.approx(2 * 1.96 * error, rel=0.05)


def test_several_seeds_have_students_interval(settings):
    for seed, share in enumerate((0.2, 0.5, 0.4)):
        fill(settings, f"llama/opd-{seed}", share)
    for tasks in (("aime24",), BENCHMARKS):
        found = Scores.read(settings).score("llama", "opd", tasks)
        half = 4.30265 * stdev((0.2, 0.5, 0.4)) / math.sqrt(3)  # t, 2 degrees of freedom
        assert (found.mean, found.n) == (pytest.approx(1.1 / 3), 3)
        assert (found.low, found.high) == (
            pytest.approx(1.1 / 3 - half, abs=1e-4),
            pytest.approx(1.1 / 3 + half, abs=1e-4),
        )


def test_a_gain_is_paired_by_problem(settings):
    fill(settings, "llama/sft", 0.2)
    fill(settings, "llama/opd-0", 0.5)
    scores = Scores.read(settings)
    found = scores.gain("llama", "sft", "opd", ("aime24",))
    assert found.mean == pytest.approx(0.3)
    # 9 of 30 problems are gained, none is lost: the resampled gain is binomial
    low, high = np.quantile(np.random.default_rng(5).binomial(30, 0.3, 100_000) / 30, (0.025, 0.975))
    assert (found.low, found.high) == (pytest.approx(low, abs=0.034), pytest.approx(high, abs=0.034))
    alike = scores.gain("llama", "sft", "sft", BENCHMARKS)
    assert (alike.mean, alike.low, alike.high) == (0, 0, 0)


def test_a_gain_over_seeds_is_over_the_one_start(settings):
    fill(settings, "llama/sft", 0.2)
    for seed, share in enumerate((0.3, 0.5, 0.4)):
        fill(settings, f"llama/opd-{seed}", share)
    found = Scores.read(settings).gain("llama", "sft", "opd", BENCHMARKS)
    assert (found.mean, found.n) == (pytest.approx(0.2), 3)
    assert found.high - found.mean == pytest.approx(4.30265 * 0.1 / math.sqrt(3), abs=1e-4)


def test_a_task_that_is_missing_is_missing(settings):
    fill(settings, "llama/opd-0", 0.5)
    fill(settings, "llama/opd-1", 0.5, tasks=BENCHMARKS[:2])
    scores = Scores.read(settings)
    assert scores.score("llama", "opd", ("aime24",)) is not None
    assert scores.score("llama", "opd", ("math500",)) is None
    assert scores.score("llama", "opd", BENCHMARKS) is None


def test_other_settings_are_refused(settings):
    fill(settings, "llama/sft", 0.5)
    fill(settings, "r1/opd-0", 0.5, temperature=1.0)
    with pytest.raises(InputError, match=r"llama/sft and r1/opd-0 were not sampled alike on 'aime24': temperature"):
        Scores.read(settings)
