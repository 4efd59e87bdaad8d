"""A run is held to the coverage that its pair promises."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from crossdistill import InputError
from crossdistill.align import Coverage, DropReason
from crossdistill.inspection import minimum_coverage, promised_coverage
from crossdistill.teachers import LocalTeacher
from crossdistill.train import promise
from crossdistill.train.promise import MIN_BYTES, MIN_ROLLOUTS, CoverageGuard, LowCoverageError, check_settings
from tests.models import Pair
from tests.train.harness import arguments, make_trainer


def coverage(supervised: int, **dropped: int) -> Coverage:
    found = Coverage()
    found.supervise(10, supervised)
    for reason, num_bytes in dropped.items():
        found.drop(DropReason(reason), 1, num_bytes)
    return found


def control() -> Any:
    return SimpleNamespace(should_save=False, should_training_stop=False)


def guard(vocabs: Any, ask: Callable[[], Coverage], **options: Any) -> CoverageGuard:
    return CoverageGuard(vocabs["gpt2"], vocabs["gemma"], ask, **options)


def step(on: CoverageGuard, number: int = MIN_ROLLOUTS, is_main: bool = True) -> Any:
    flags = control()
    on.on_step_end(None, SimpleNamespace(global_step=number, is_world_process_zero=is_main), flags)
    return flags


LOW = coverage(9 * MIN_BYTES, unencodable=MIN_BYTES, teacher_context=2 * MIN_BYTES, special_token=0)  # 75 %


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_coverage": 1.5}, "min_coverage is a share of the sampled bytes, from 0 to 1, not 1.5."),
        ({"min_coverage": -0.1}, "min_coverage is a share"),
        ({"low_coverage": "panic"}, "low_coverage must be one of stop, warn, ignore, not 'panic'."),
    ],
)
def test_settings_that_mean_nothing(options, message, tmp_path):
    with pytest.raises(InputError, match=message):
        check_settings(**{"min_coverage": None, "low_coverage": "stop", **options})
    with pytest.raises(InputError, match=message):
        arguments(tmp_path, **options)


def test_the_minimum_is_what_was_promised_less_a_tolerance_or_what_was_chosen(vocabs):
    promised = promised_coverage(vocabs["gpt2"], vocabs["gemma"])
    held = guard(vocabs, lambda: LOW)
    assert held.as_dict() == {
        "promised": promised,
        "minimum": minimum_coverage(promised),
        "low_coverage": "stop",
    }
    assert guard(vocabs, lambda: LOW, min_coverage=0.3).minimum == 0.3
    assert guard(vocabs, lambda: LOW, min_coverage=0.0).minimum == 0.0


def test_a_run_below_stops_after_a_checkpoint_and_says_why(vocabs):
    held = guard(vocabs, lambda: LOW)
    flags = step(held)
    assert flags.should_save
    assert flags.should_training_stop
    with pytest.raises(LowCoverageError) as error:
        held.check()
    message = str(error.value)
    assert message.startswith(
        f"the run stopped after a checkpoint at step {MIN_ROLLOUTS}: the teacher supervised 75.0%"
    )
    assert f"of the {12 * MIN_BYTES:,} bytes sampled so far, less than 95.0%" in message
    assert "what this pair promises (100.0%" in message
    assert f"Bytes lost: teacher context {2 * MIN_BYTES:,}, unencodable {MIN_BYTES:,}." in message
    assert "special token" not in message
    assert message.index("Lower max_completion_length") < message.index("take a teacher whose tokenizer")
    assert 'low_coverage = "warn", and resume' in message


def test_a_chosen_minimum_is_named(vocabs):
    held = guard(vocabs, lambda: LOW, min_coverage=0.8)
    step(held)
    with pytest.raises(LowCoverageError, match=r"less than 80.0%, min_coverage"):
        held.check()


def test_a_warning_is_given_once_by_the_main_process(vocabs):
    told: list[str] = []
    held = guard(vocabs, lambda: LOW, low_coverage="warn", tell=told.append)
    for number in range(MIN_ROLLOUTS, MIN_ROLLOUTS + 3):
        flags = step(held, number)
        assert not flags.should_save
        assert not flags.should_training_stop
    assert len(told) == 1
    assert told[0].startswith(f"at step {MIN_ROLLOUTS}: the teacher supervised 75.0%")
    held.check()
    other = guard(vocabs, lambda: LOW, low_coverage="warn", tell=told.append)
    step(other, is_main=False)
    assert len(told) == 1


def test_nothing_is_judged_too_early_or_inside_a_batch_of_rollouts(vocabs):
    early = coverage(0, non_finite=MIN_BYTES - 1)
    for held, number in (
        (guard(vocabs, lambda: early), MIN_ROLLOUTS),
        (guard(vocabs, lambda: LOW), MIN_ROLLOUTS - 1),
        (guard(vocabs, lambda: LOW, every=2), 2 * MIN_ROLLOUTS + 1),
        (guard(vocabs, lambda: LOW, every=2), 2 * MIN_ROLLOUTS - 2),
    ):
        assert not step(held, number).should_training_stop
        held.check()
    assert step(guard(vocabs, lambda: LOW, every=2), 2 * MIN_ROLLOUTS).should_training_stop
    assert step(guard(vocabs, lambda: coverage(0, non_finite=MIN_BYTES))).should_training_stop


def test_enough_is_enough(vocabs):
    at_minimum = coverage(95 * MIN_BYTES, unencodable=5 * MIN_BYTES)
    assert not step(guard(vocabs, lambda: at_minimum)).should_training_stop


def test_an_ignored_coverage_is_not_even_asked_for(vocabs):
    def ask() -> Coverage:
        raise AssertionError

    held = guard(vocabs, ask, low_coverage="ignore")
    assert not step(held).should_training_stop
    held.check()


def test_a_run_stops_in_good_order_and_can_be_resumed(pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(promise, "MIN_BYTES", 1)
    monkeypatch.setattr(promise, "MIN_ROLLOUTS", 2)
    monkeypatch.setattr(LocalTeacher, "score", lambda self, requests: [DropReason.NON_FINITE] * len(requests))
    trainer = make_trainer(pair, tmp_path, max_steps=4)
    with pytest.raises(LowCoverageError, match=r"at step 2.*Bytes lost: non finite .*Check the teacher's weights"):
        trainer.train()
    checkpoint = tmp_path / "checkpoint-2"
    assert (checkpoint / "trainer_state.json").exists()
    assert trainer.state.global_step == 2
    resumed = make_trainer(pair, tmp_path, max_steps=4, low_coverage="ignore")
    resumed.train(str(checkpoint))
    assert resumed.state.global_step == 4


def test_a_healthy_run_is_left_alone(pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(promise, "MIN_BYTES", 1)
    monkeypatch.setattr(promise, "MIN_ROLLOUTS", 1)
    trainer = make_trainer(pair, tmp_path, max_steps=2)
    trainer.train()
    assert trainer.state.global_step == 2
    assert trainer.coverage_guard.promised == promised_coverage(trainer.student_vocab, trainer.teacher.vocab)
    assert trainer.total_ledger().coverage.share >= trainer.coverage_guard.minimum
