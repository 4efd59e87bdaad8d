"""The worker with a sampler and a teacher that do what a test wants."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from crossdistill import InputError
from crossdistill.align import DropReason
from crossdistill.chat import ensure_template
from crossdistill.distill import Distiller
from crossdistill.errors import RolloutServerError, TeacherUnavailableError
from crossdistill.integrations.async_trl import RolloutWorker, Sampled, Sampler
from crossdistill.integrations.async_trl.micro_batches import FreshSamples, MicroBatches, balanced
from crossdistill.integrations.async_trl.pace import Pace
from crossdistill.integrations.async_trl.sample import ScoredSample
from crossdistill.teachers import TeacherRequest
from tests.distill.fake_teacher import FakeTeacher, too_long
from tests.tokenizers_in_process import build

PROMPTS = ["one", "two", "three", "four", "five", "six"]


class Scripted(Sampler):
    """Answers each prompt with its own tokens and a stop, after a while that `wait` takes, given the prompts."""

    def __init__(self, stop: int, wait: Callable[[list[Any]], object] = lambda prompts: None, num_calls: int = 1):
        self.stop, self.wait, self.num_calls = stop, wait, num_calls
        self.calls: list[list[Sequence[int]]] = []

    def sample(self, prompt_ids: Sequence[Sequence[int]]) -> list[Sampled]:
        self.calls.append(list(prompt_ids))
        self.wait(list(prompt_ids))
        answers = [[*ids[-2:], self.stop] for ids in prompt_ids]
        return [Sampled(ids, np.full(len(ids), -0.5, dtype=np.float32)) for ids in answers]


@pytest.fixture
def teacher(sides: Any) -> FakeTeacher:
    return FakeTeacher(*sides)


@pytest.fixture(scope="module")
def sides(vocabs) -> tuple[Any, Any]:
    tokenizer = build("gemma")
    ensure_template(tokenizer)
    return tokenizer, vocabs["gemma"]


@pytest.fixture
def distiller(teacher: FakeTeacher) -> Distiller:
    return Distiller(build("gpt2"), teacher)


def working(distiller: Distiller, sampler: Sampler, pace: Pace, **options: Any) -> RolloutWorker:
    worker = RolloutWorker(distiller, [{"prompt": prompt} for prompt in PROMPTS], sampler, **options)
    worker.keep_pace(pace)
    worker.start()
    return worker


def taken(worker: RolloutWorker, count: int) -> list[ScoredSample]:
    return [worker.rollout_buffer.get(timeout=20) for _ in range(count)]


def test_it_runs_no_further_ahead_than_its_pace(distiller):
    worker = working(distiller, Scripted(distiller.stop_ids[0]), Pace(2, 1), portion=3)
    first = taken(worker, 4)
    time.sleep(0.3)
    assert worker.rollout_buffer.empty()
    worker.update_model_version(1)
    second = taken(worker, 2)
    worker.stop()
    assert [one.number for one in [*first, *second]] == list(range(6))
    assert [one.version for one in [*first, *second]] == [0, 0, 0, 0, 1, 1]


def test_samples_come_in_the_order_of_their_prompts(distiller):
    """The first prompt's call ends last."""
    late = threading.Event()
    first = distiller.renderer.render(PROMPTS[0])
    sampler = Scripted(distiller.stop_ids[0], lambda prompts: first in prompts and late.wait(60), num_calls=3)
    worker = working(distiller, sampler, Pace(6, 0), portion=2, seed=None)
    deadline = time.monotonic() + 20
    while len(sampler.calls) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(sampler.calls) == 3
    assert worker.rollout_buffer.empty()
    late.set()
    assert [one.number for one in taken(worker, 6)] == list(range(6))
    worker.stop()


def test_every_prompt_comes_once_an_epoch_in_an_order_of_its_seed(distiller):
    orders = {}
    for seed in (0, 1, 0, None):
        worker = working(distiller, Scripted(distiller.stop_ids[0]), Pace(12, 0), seed=seed)
        rows = [tuple(one.input_ids.tolist()) for one in taken(worker, 12)]
        worker.stop()
        assert sorted(rows[:6]) == sorted(rows[6:])
        assert len(set(rows)) == len(PROMPTS)
        assert orders.setdefault(seed, rows) == rows
    assert orders[0] != orders[1]
    assert orders[0][:6] != orders[0][6:]
    assert orders[None][:6] == orders[None][6:]


def test_a_resumed_run_begins_with_the_next_prompt(distiller):
    whole = working(distiller, Scripted(distiller.stop_ids[0]), Pace(8, 0))
    rows = [one.input_ids.tolist() for one in taken(whole, 8)]
    whole.stop()
    later = RolloutWorker(distiller, [{"prompt": prompt} for prompt in PROMPTS], Scripted(distiller.stop_ids[0]))
    later.keep_pace(Pace(4, 0), first_number=4)
    later.start()
    found = taken(later, 4)
    later.stop()
    assert [one.number for one in found] == [4, 5, 6, 7]
    assert [one.input_ids.tolist() for one in found] == rows[4:]


def test_what_the_teacher_cannot_score_is_counted_and_keeps_its_place(distiller, teacher):
    teacher.answers = [too_long]
    worker = working(distiller, Scripted(distiller.stop_ids[0]), Pace(2, 0), portion=2)
    lost, kept = taken(worker, 2)
    worker.stop()
    assert not lost.loss_mask.any()
    assert lost.weight == 0
    assert lost.rates[f"dropped/{DropReason.TEACHER_CONTEXT}"] == (3.0, 3.0)
    assert kept.loss_mask.sum() == kept.weight == 3
    assert kept.rates["token_coverage"] == (3.0, 3.0)


def failure(worker: RolloutWorker, silence_s: float = 60.0) -> BaseException:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            worker.check_health(silence_s)
        except Exception as error:  # noqa: BLE001 - what it is, the test says
            worker.stop()
            return error
        time.sleep(0.01)
    raise AssertionError("it seems to be well")


def test_a_dead_teacher_is_told_to_the_trainer(distiller, teacher):
    def dead(request: TeacherRequest) -> Any:
        raise TeacherUnavailableError("the teacher is gone")

    teacher.answers = [dead]
    worker = working(distiller, Scripted(distiller.stop_ids[0]), Pace(2, 0))
    error = failure(worker)
    assert isinstance(error, TeacherUnavailableError)
    assert str(error) == "the teacher is gone"


def test_a_sampler_that_is_silent_is_named(distiller):
    held = threading.Event()
    sampler = Scripted(distiller.stop_ids[0], lambda prompts: held.wait(30))
    sampler.close = held.set  # type: ignore[method-assign]
    worker = working(distiller, sampler, Pace(2, 0))
    error = failure(worker, silence_s=0.2)
    assert isinstance(error, RolloutServerError)
    assert "the sampler (from prompt 0 on) has not answered for 0.2 s" in str(error)


def test_a_long_response_of_an_engine_that_is_well_is_waited_for(distiller):
    held, asked = threading.Event(), []
    sampler = Scripted(distiller.stop_ids[0], lambda prompts: held.wait(30))
    sampler.is_well = lambda: bool(asked.append(1)) or True  # type: ignore[method-assign]
    worker = working(distiller, sampler, Pace(2, 0))
    while len(asked) < 2:
        worker.check_health(0.05)
    held.set()
    assert [one.number for one in taken(worker, 2)] == [0, 1]
    worker.stop()


def test_a_worker_that_was_stopped_says_so(distiller):
    worker = working(distiller, Scripted(distiller.stop_ids[0]), Pace(2, 0))
    worker.stop()
    with pytest.raises(RolloutServerError, match="nothing is sampled any more"):
        worker.check_health(60)


def test_an_earlier_run_leaves_nothing_to_the_next(distiller):
    worker = working(distiller, Scripted(distiller.stop_ids[0]), Pace(2, 0))
    taken(worker, 1)
    with pytest.raises(InputError, match="still samples for another run"):
        worker.keep_pace(Pace(2, 0))
    worker.stop()
    worker.keep_pace(Pace(2, 0), first_number=4)
    worker.start()
    assert [one.number for one in taken(worker, 2)] == [4, 5]
    worker.stop()


def test_missing_log_probabilities_are_named(distiller):
    class Without(Scripted):
        def sample(self, prompt_ids: Sequence[Sequence[int]]) -> list[Sampled]:
            return [Sampled([5, 6], np.zeros(0)) for _ in prompt_ids]

    error = failure(working(distiller, Without(distiller.stop_ids[0]), Pace(2, 0)))
    assert isinstance(error, InputError)
    assert "the engine gave 0 log-probabilities for 2 sampled tokens" in str(error)


def test_too_few_responses_are_named(distiller):
    class Lossy(Scripted):
        def sample(self, prompt_ids: Sequence[Sequence[int]]) -> list[Sampled]:
            return super().sample(prompt_ids)[1:]

    error = failure(working(distiller, Lossy(distiller.stop_ids[0]), Pace(2, 0)))
    assert "the sampler gave 1 responses to 2 prompts" in str(error)


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([], {}, "there is nothing to train on"),
        ([{"text": "a"}], {}, "prompt"),
        ([{"prompt": "a"}], {"portion": 0}, "portion must be at least 1, not 0"),
    ],
)
def test_bad_arguments(distiller, rows, options, message):
    with pytest.raises(InputError, match=message):
        RolloutWorker(distiller, rows, Scripted(1), **options)


def test_tools_are_refused(teacher):
    def add(a: int, b: int) -> int:
        """Add.

        Args:
            a: one
            b: the other
        """
        return a + b

    shown = Distiller(build("gpt2"), teacher, tools=[add])
    with pytest.raises(InputError, match="tools are not called here"):
        RolloutWorker(shown, [{"prompt": "a"}], Scripted(1))


# ---- what the trainer draws ---------------------------------------------------------------------------------------


def sample(number: int, version: int, length: int = 3) -> ScoredSample:
    values = np.full(length, -0.5, dtype=np.float32)
    mask = np.arange(length) > 0
    return ScoredSample(number, version, np.arange(length), mask, values, values, float(mask.sum()), {"rate": (1, 2)})


def drawing(
    distiller: Distiller, samples: Sequence[ScoredSample], max_staleness: int
) -> tuple[Any, dict[str, list[Any]]]:
    worker = RolloutWorker(distiller, [{"prompt": "a"}], Scripted(1))
    for one in samples:
        worker.rollout_buffer.put(one)
    metrics: dict[str, list[Any]] = {}
    sink: Any = _Sink(metrics)
    return FreshSamples(worker, lambda: 3, max_staleness, 60.0, sink, lambda one: None), metrics


class _Sink(dict[str, list[Any]]):
    def __init__(self, kept: dict[str, list[Any]]):
        self._kept = kept

    def __getitem__(self, name: str) -> list[Any]:
        return self._kept.setdefault(name, [])


def test_an_older_sample_is_dropped_and_counted(distiller):
    fresh, metrics = drawing(distiller, [sample(0, 3), sample(1, 0), sample(2, 1)], max_staleness=2)
    drawn = iter(fresh)
    assert [next(drawn).number, next(drawn).number] == [0, 2]
    assert metrics["sample/dropped_stale_total"] == [1.0]
    assert metrics["sample/staleness_max"] == [0.0, 2.0]
    assert metrics["rate"] == [(1, 2), (1, 2)]


def test_a_micro_batch_is_packed_and_counts_its_prompts(distiller):
    fresh, _ = drawing(distiller, [sample(0, 3, 3), sample(1, 2, 2)], max_staleness=2)
    drawn: list[int] = []
    row = next(iter(MicroBatches(fresh, 2, lambda: 3, drawn.extend)))
    assert drawn == [0, 1]
    assert row["input_ids"].tolist() == [[0, 1, 2, 0, 1]]
    assert row["position_ids"].tolist() == [[0, 1, 2, 0, 1]]
    assert row["staleness"].tolist() == [[0, 0, 0, 1, 1]]
    assert row["loss_mask"].tolist() == [[False, True, True, False, True]]
    assert float(row["weight"]) == 3.0
    assert float(row["num_tokens"]) == 5.0


def test_rows_are_about_as_long_as_each_other():
    rows = balanced([sample(k, 0, size) for k, size in enumerate([9, 8, 2, 1])], 2)
    assert sorted(one.number for row in rows for one in row) == [0, 1, 2, 3]
    assert max(sum(len(one) ** 2 for one in row) for row in rows) == 81
