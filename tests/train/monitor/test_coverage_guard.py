"""A run is held to the coverage that is expected of its pair."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from crossdistill import InputError
from crossdistill.align import Coverage, DropReason
from crossdistill.inspection import expected_coverage, minimum_coverage
from crossdistill.teachers import LocalTeacher
from crossdistill.train.monitor import coverage_guard
from crossdistill.train.monitor.coverage_guard import (
    MIN_BYTES,
    MIN_ROLLOUTS,
    CoverageGuard,
    LowCoverageError,
    check_settings,
)
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
    return CoverageGuard(vocabs["gpt2"], [vocabs["gemma"]], ask, **options)


def step(on: CoverageGuard, number: int = MIN_ROLLOUTS, is_main: bool = True) -> Any:
    flags = control()
    on.on_step_end(None, SimpleNamespace(global_step=number, is_world_process_zero=is_main), flags)
    return flags


def steps(on: CoverageGuard, first: int = 1, last: int = MIN_ROLLOUTS, **options: Any) -> Any:
    """Steps in a row; the flags of the last, before which none stopped."""
    for number in range(first, last):
        assert not step(on, number, **options).should_training_stop
    return step(on, last, **options)


class Run:
    """A run whose coverage grows batch by batch, as all of its processes see it."""

    def __init__(self, vocabs: Any, **options: Any):
        self.total = Coverage()
        self.guard = guard(vocabs, self._copy, **options)
        self.step = 0

    def _copy(self) -> Coverage:
        copy = Coverage()
        copy.add(self.total)
        return copy

    def start(self) -> None:
        self.guard.on_train_begin(None, SimpleNamespace(), control())

    def batches(self, batch: Coverage, most: int) -> int | None:
        """Sample so many batches alike; after how many of them the run stopped."""
        for number in range(1, most + 1):
            self.total.add(batch)
            self.step += 1
            if step(self.guard, self.step).should_training_stop:
                return number
        return None


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


def test_the_minimum_is_the_expected_coverage_less_a_tolerance_or_the_chosen_one(vocabs):
    expected = expected_coverage(vocabs["gpt2"], vocabs["gemma"])
    held = guard(vocabs, lambda: LOW)
    assert held.expected == expected
    assert held.as_dict() == {
        "promised": expected,
        "minimum": minimum_coverage(expected),
        "low_coverage": "stop",
    }
    assert guard(vocabs, lambda: LOW, min_coverage=0.3).minimum == 0.3
    assert guard(vocabs, lambda: LOW, min_coverage=0.0).minimum == 0.0


def test_a_run_below_stops_after_a_checkpoint_and_says_why(vocabs):
    held = guard(vocabs, lambda: LOW)
    flags = steps(held)
    assert flags.should_save
    assert flags.should_training_stop
    with pytest.raises(LowCoverageError) as error:
        held.check()
    message = str(error.value)
    assert message.startswith(
        f"the run stopped after a checkpoint at step {MIN_ROLLOUTS}: the teacher supervised 75.0%"
    )
    assert f"of the last {12 * MIN_BYTES:,} bytes sampled, less than 95.0% (" in message
    assert "(100.0% is expected of this pair, see crossdistill inspect, less a tolerance)" in message
    assert f"Bytes lost: teacher context {2 * MIN_BYTES:,}, unencodable {MIN_BYTES:,}." in message
    assert "special token" not in message
    assert message.index("For a new run, lower max_completion_length") < message.index("use a teacher whose tokenizer")
    assert message.endswith('To go on with this one, resume: a lower min_coverage or low_coverage = "warn" accepts it.')


def test_a_chosen_minimum_is_named(vocabs):
    held = guard(vocabs, lambda: LOW, min_coverage=0.8)
    steps(held)
    with pytest.raises(LowCoverageError, match=r"less than 80.0% \(min_coverage\)"):
        held.check()


def test_a_warning_is_given_once_by_the_main_process(vocabs):
    warnings: list[str] = []
    held = guard(vocabs, lambda: LOW, low_coverage="warn", emit=warnings.append)
    for number in range(1, MIN_ROLLOUTS + 3):
        flags = step(held, number)
        assert not flags.should_save
        assert not flags.should_training_stop
    assert len(warnings) == 1
    assert warnings[0].startswith(f"at step {MIN_ROLLOUTS}: the teacher supervised 75.0%")
    assert 'low_coverage = "ignore" accepts it' in warnings[0]
    held.check()
    other = guard(vocabs, lambda: LOW, low_coverage="warn", emit=warnings.append)
    steps(other, is_main=False)
    assert len(warnings) == 1


def test_nothing_is_judged_too_early(vocabs):
    assert not steps(guard(vocabs, lambda: coverage(0, non_finite=MIN_BYTES - 1))).should_training_stop
    assert not steps(guard(vocabs, lambda: LOW), last=MIN_ROLLOUTS - 1).should_training_stop
    assert steps(guard(vocabs, lambda: coverage(0, non_finite=MIN_BYTES))).should_training_stop


def test_nothing_is_judged_inside_a_batch_of_rollouts(vocabs):
    def stops(last: int) -> bool:
        return bool(steps(guard(vocabs, lambda: LOW, every=2), last=last).should_training_stop)

    assert [stops(last) for last in range(2 * MIN_ROLLOUTS - 2, 2 * MIN_ROLLOUTS + 1)] == [False, False, True]


def test_a_share_of_tokens_is_of_those_that_are_taught():
    found = counted(3, special_token=1, stop_token=96)
    assert found.token_share == 0.75
    assert Coverage().token_share == counted(0, stop_token=3).token_share == 1.0


def test_coverage_since_an_earlier_state():
    total = counted(3, special_token=1)
    total.add(counted(2, stop_token=4))
    assert total.since(counted(3, special_token=1)) == counted(2, stop_token=4)
    assert total.since(total) == Coverage()


def test_enough_is_enough(vocabs):
    at_minimum = coverage(95 * MIN_BYTES, unencodable=5 * MIN_BYTES)
    assert not steps(guard(vocabs, lambda: at_minimum)).should_training_stop


GOOD, LOST = coverage(MIN_BYTES), coverage(0, teacher_context=MIN_BYTES)


def test_a_collapse_late_in_a_run_is_seen_at_once(vocabs):
    run = Run(vocabs)
    run.start()
    assert run.batches(GOOD, 500) is None
    assert run.batches(LOST, 50) == 1
    assert run.total.share > 0.99
    with pytest.raises(LowCoverageError, match=rf"75.0% of the last {MIN_ROLLOUTS * MIN_BYTES:,} bytes sampled"):
        run.guard.check()


def test_batches_that_are_small_are_judged_together(vocabs):
    run = Run(vocabs)
    run.start()
    tenth = MIN_BYTES // 10
    assert run.batches(coverage(tenth), 100) is None
    assert run.batches(coverage(tenth - tenth // 4, unencodable=tenth // 4), 100) == 3  # 3 of 10 batches lose 25 %
    run = Run(vocabs)
    run.start()
    assert run.batches(coverage(0, unencodable=tenth), 100) == 10


def test_a_run_that_goes_on_is_not_held_to_what_was_lost_before(vocabs):
    run = Run(vocabs)
    run.total.add(coverage(0, non_finite=1000 * MIN_BYTES))  # the usage of its checkpoint
    run.start()
    assert run.batches(GOOD, 20) is None
    assert run.batches(LOST, 20) == 1
    run.start()
    run.guard.check()
    assert run.batches(GOOD, 20) is None
    assert run.batches(LOST, 20) == 1
    run.start()  # the cause is still there
    assert run.batches(LOST, 20) == MIN_ROLLOUTS


def counted(supervised: int, **dropped: int) -> Coverage:
    """Tokens: the supervised ones of ten bytes each, the dropped ones of none."""
    found = Coverage()
    found.supervise(supervised, 10 * supervised)
    for reason, tokens in dropped.items():
        found.drop(DropReason(reason), tokens, 0)
    return found


def test_control_tokens_have_no_bytes_and_are_missed_all_the_same(vocabs):
    run = Run(vocabs)
    run.start()
    assert run.batches(counted(MIN_BYTES, special_token=MIN_BYTES), 20) is None
    assert run.batches(counted(MIN_BYTES, special_token=9 * MIN_BYTES), 20) == 1
    with pytest.raises(LowCoverageError) as error:
        run.guard.check()
    message = str(error.value)
    num_sampled, num_lost = 16 * MIN_BYTES, 12 * MIN_BYTES
    assert f"supervised 25.0% of the last {num_sampled:,} tokens sampled, less than 50.0% (" in message
    assert f"the smallest share of the tokens). Tokens lost: special token {num_lost:,}. For a new run, name" in message
    assert "text_tokens" in message


def test_tokens_without_any_bytes(vocabs):
    run = Run(vocabs)
    run.start()
    tokens = MIN_BYTES // 8
    assert run.batches(counted(0, special_token=tokens), 20) == 8


def test_a_lower_minimum_is_one_of_the_tokens_too(vocabs):
    lost = counted(4 * MIN_BYTES, special_token=6 * MIN_BYTES)
    for minimum, stops in ((0.0, None), (0.4, None), (0.45, MIN_ROLLOUTS), (0.9, MIN_ROLLOUTS)):
        run = Run(vocabs, min_coverage=minimum)
        run.start()
        assert run.batches(lost, 10) == stops
    run = Run(vocabs, min_coverage=0.45)
    run.batches(lost, 10)
    with pytest.raises(LowCoverageError, match=r"less than 45.0% \(min_coverage\)\."):
        run.guard.check()


def test_stops_that_are_not_taught_are_not_missed(vocabs):
    run = Run(vocabs)
    run.start()
    assert run.batches(counted(MIN_BYTES, stop_token=9 * MIN_BYTES), 10) is None
    assert run.batches(counted(0, stop_token=MIN_BYTES), 10) is None


def test_without_a_way_out_by_settings(vocabs):
    held = guard(vocabs, lambda: coverage(0, stop_token=MIN_BYTES))
    steps(held)
    with pytest.raises(LowCoverageError, match="Resume once the cause is removed; a lower min_coverage"):
        held.check()


def test_an_ignored_coverage_is_not_even_asked_for(vocabs):
    def ask() -> Coverage:
        raise AssertionError

    held = guard(vocabs, ask, low_coverage="ignore")
    held.on_train_begin(None, SimpleNamespace(), control())
    assert not step(held).should_training_stop
    held.check()


@pytest.mark.slow
def test_a_run_stops_in_good_order_and_can_be_resumed(pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(coverage_guard, "MIN_BYTES", 1)
    monkeypatch.setattr(coverage_guard, "MIN_ROLLOUTS", 2)
    monkeypatch.setattr(LocalTeacher, "score", lambda self, requests, *signal: [DropReason.NON_FINITE] * len(requests))
    trainer = make_trainer(pair, tmp_path, max_steps=4)
    with pytest.raises(LowCoverageError, match=r"at step 2.*Bytes lost: non finite .*check the teacher's weights"):
        trainer.train()
    checkpoint = tmp_path / "checkpoint-2"
    assert (checkpoint / "trainer_state.json").exists()
    assert trainer.state.global_step == 2
    resumed = make_trainer(pair, tmp_path, max_steps=4, low_coverage="ignore")
    resumed.train(str(checkpoint))
    assert resumed.state.global_step == 4


@pytest.mark.slow
def test_a_run_whose_cause_was_removed_goes_on(pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(coverage_guard, "MIN_BYTES", 1)
    monkeypatch.setattr(coverage_guard, "MIN_ROLLOUTS", 1)
    with monkeypatch.context() as patch:
        patch.setattr(LocalTeacher, "score", lambda self, requests, *signal: [DropReason.NON_FINITE] * len(requests))
        with pytest.raises(LowCoverageError, match=r"at step 1"):
            make_trainer(pair, tmp_path, max_steps=3).train()
    resumed = make_trainer(pair, tmp_path, max_steps=3)
    resumed.train(str(tmp_path / "checkpoint-1"))
    assert resumed.state.global_step == 3
    assert resumed.total_usage().coverage.dropped[DropReason.NON_FINITE].tokens > 0


def test_a_healthy_run_is_left_alone(pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(coverage_guard, "MIN_BYTES", 1)
    monkeypatch.setattr(coverage_guard, "MIN_ROLLOUTS", 1)
    trainer = make_trainer(pair, tmp_path, max_steps=2)
    trainer.train()
    assert trainer.state.global_step == 2
    assert trainer.coverage_guard.expected == expected_coverage(trainer.student_vocab, trainer.teacher.vocab)
    assert trainer.total_usage().coverage.share >= trainer.coverage_guard.minimum
