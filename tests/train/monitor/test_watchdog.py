"""A healthy run is left alone, and each way of going wrong is reported as itself."""

import json
import logging

import numpy as np
import pytest

from crossdistill.train.monitor.collapse import MIN_BLOCKS, ratio
from crossdistill.train.monitor.rollout_sums import RolloutSums
from crossdistill.train.monitor.watchdog import BLOCK_RESPONSES, FILE_NAME, NUM_BLOCKS, Watchdog
from tests.train.trajectories import Student, kinds, watched

FIRST_JUDGEMENT = 2 * NUM_BLOCKS
HEALTHY = {
    "nothing changes": lambda progress: {},
    "a base student grows sure": lambda progress: {"entropy": 2.4 * 0.15**progress},
    "a sure student grows surer": lambda progress: {"entropy": 0.03 * 0.1**progress},
    "twice as long": lambda progress: {"length": 120 * 2**progress},
    "shorter": lambda progress: {"length": 120 * 0.2**progress},
    "it learns to stop": lambda progress: {"ends": progress},
    "it never stopped": lambda progress: {"ends": 0.05 * (1 - progress)},
    "numbers are learned last": lambda progress: {"gap": 1.0 - 0.9 * progress, "digit_gap": 1.1 - 0.3 * progress},
    "all grows apart": lambda progress: {"gap": 0.15 + progress, "digit_gap": 0.2 + progress},
    "half as many digits": lambda progress: {"digits": 0.03 * (1 - progress / 2)},
    "no digits at all": lambda progress: {"digits": 0.0},
    "rare digits": lambda progress: {"digits": 0.002 * (1 - progress)},
    "prose to code": lambda progress: {"white_space": 0.17 + 0.13 * progress},
}
WRONG = {
    "numerals vanish": ("numerals", lambda progress: {"digits": 0.03 * max(0.05, 1 - 2 * progress)}),
    "the gap on numerals widens": ("numerals", lambda progress: {"digit_gap": 0.2 + 1.5 * progress}),
    "white space vanishes": ("white_space", lambda progress: {"white_space": 0.17 * (1 - 0.95 * progress)}),
    "white space fills all": ("white_space", lambda progress: {"white_space": 0.17 + 0.6 * progress}),
    "responses grow": ("length", lambda progress: {"length": 60 * 6**progress}),
    "responses do not end": ("length", lambda progress: {"ends": max(0.01, 1 - 1.5 * progress)}),
    "entropy collapses": ("entropy", lambda progress: {"entropy": 0.8 * 0.02**progress}),
}


@pytest.mark.parametrize("responses", [4, 64])
@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_run_is_left_alone(name, responses):
    for seed in range(3):
        assert kinds(watched(HEALTHY[name], responses=responses, seed=seed)) == []


@pytest.mark.parametrize("responses", [16, 128])
@pytest.mark.parametrize("name", WRONG)
def test_each_way_of_going_wrong_is_reported_once_and_alone(name, responses):
    kind, change = WRONG[name]
    for seed in range(3):
        assert kinds(watched(change, responses=responses, seed=seed)) == [kind]


def test_small_batches_are_put_together():
    def collapse(progress):
        return {"entropy": 0.8 if progress < 0.5 else 0.01}

    steps = FIRST_JUDGEMENT * BLOCK_RESPONSES
    assert kinds(watched(collapse, responses=1, steps=steps - 1)) == []
    assert kinds(watched(collapse, responses=1, steps=steps + BLOCK_RESPONSES)) == ["entropy"]


def test_the_first_judgement_is_as_soon_as_documented():
    def collapse(progress):
        return {"entropy": 0.8 if progress < 0.5 else 0.01}

    assert kinds(watched(collapse, steps=FIRST_JUDGEMENT - 1)) == []
    assert [warning.step for warning in watched(collapse, steps=FIRST_JUDGEMENT).warnings] == [FIRST_JUDGEMENT - 1]


def test_several_kinds_of_collapse_are_each_reported():
    def babble(progress):
        return {"white_space": 0.17 + 0.6 * progress, "ends": 1 - 0.99 * progress, "entropy": 0.8 * 0.02**progress}

    assert sorted(kinds(watched(babble))) == ["entropy", "length", "white_space"]


def test_a_warning_names_figures_and_what_to_try():
    (warning,) = watched(WRONG["numerals vanish"][1]).warnings
    assert warning.message.startswith("numerals are being suppressed: share/digits is 0.")
    for part in ("% now and was 2.", "teacher_gap/digits is", "What to try", "learning_rate", "align --run"):
        assert part in warning.message
    (warning,) = watched(WRONG["white space vanishes"][1]).warnings
    assert warning.message.startswith("white space is being suppressed: share/white_space is ")
    (warning,) = watched(WRONG["white space fills all"][1]).warnings
    assert warning.message.startswith("the responses are filling with white space")
    (warning,) = watched(WRONG["responses do not end"][1]).warnings
    assert "stopped is " in warning.message
    assert "stop_unit" in warning.message
    (warning,) = watched(WRONG["entropy collapses"][1]).warnings
    assert "sampled_entropy is 0.0" in warning.message


def test_the_main_process_warns_and_all_keep_the_warning(caplog):
    def run(is_main_process):
        rng, dog = np.random.default_rng(0), Watchdog(is_main_process)
        for step in range(40):
            dog.add(Student(entropy=0.8 if step < 20 else 0.01).rollout(rng, 16), step)
        return dog

    with caplog.at_level(logging.WARNING, logger="crossdistill"):
        other, main = run(False), run(True)
    assert other.as_list() == main.as_list() != []
    (record,) = caplog.records
    assert record.message == f"at step {main.warnings[0].step}: {main.warnings[0].message}"


def test_a_student_that_samples_no_text_is_not_judged():
    dog = Watchdog(is_main_process=False)
    for step in range(100):
        dog.add(RolloutSums(responses=16, stopped=16, sampled_tokens=16), step)
    assert dog.warnings == []


@pytest.mark.parametrize("cut", [3, 15, 47, 80])
def test_a_resumed_run_judges_as_if_nothing_had_happened(cut, tmp_path):
    def run(interrupted):
        rng, dog = np.random.default_rng(5), Watchdog(is_main_process=False)
        for step in range(120):
            if interrupted and step == cut:
                dog.save(tmp_path / "checkpoint-1", is_writer=True)
                dog = Watchdog(is_main_process=False)
                dog.load(tmp_path / "checkpoint-1")
            dog.add(Student(entropy=0.8 * 0.01 ** (step / 119), ends=1 - step / 119).rollout(rng, 5), step)
        return dog.as_list()

    assert run(interrupted=True) == run(interrupted=False)
    assert {warning["kind"] for warning in run(interrupted=False)} == {"entropy", "length"}


def test_a_checkpoint_without_a_watchdog_begins_anew(tmp_path):
    dog = Watchdog(is_main_process=False)
    dog.load(tmp_path)
    assert dog.as_list() == []
    dog.save(tmp_path, is_writer=True)
    assert json.loads((tmp_path / FILE_NAME).read_text())["start"] == []


def test_a_ratio_and_its_error_over_blocks():
    """Blocks of equal size: the mean, and the standard error of a mean."""
    values = [0.1, 0.4, 0.2, 0.3, 0.35, 0.15]
    blocks = [RolloutSums(digit_bytes=10 * value, sampled_bytes=10) for value in values]
    found = ratio(blocks, lambda sums: sums.digit_bytes, lambda sums: sums.sampled_bytes)
    assert found.value == pytest.approx(np.mean(values))
    assert found.error == pytest.approx(np.std(values, ddof=1) / np.sqrt(len(values)))
    difference = found.minus(found)
    assert (difference.value, difference.error) == (0, 0)
    assert ratio(blocks[: MIN_BLOCKS - 1], lambda sums: sums.digit_bytes, lambda sums: sums.sampled_bytes) is None


def test_the_error_of_a_ratio_is_what_it_varies_by():
    rng = np.random.default_rng(0)

    def estimate():
        blocks = [Student().rollout(rng, 16) for _ in range(NUM_BLOCKS)]
        return ratio(blocks, lambda sums: sums.digit_bytes, lambda sums: sums.sampled_bytes)

    found = [estimate() for _ in range(300)]
    assert np.std([one.value for one in found]) == pytest.approx(np.mean([one.error for one in found]), rel=0.15)
