"""Samples and scores in the background, no further ahead of training than allowed."""

import queue
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from crossdistill.chat.messages import Prompt
from crossdistill.chat.prompts import as_prompt, prompt_name
from crossdistill.distill import Distiller
from crossdistill.distill.routing import COLUMN
from crossdistill.errors import InputError, RolloutServerError
from crossdistill.integrations.async_trl.pace import Pace
from crossdistill.integrations.async_trl.sample import ScoredSample, samples_of
from crossdistill.integrations.async_trl.sampler import Sampled, Sampler

_TICK_S = 0.02


class _Portion(NamedTuple):
    """Prompts of one call of the sampler, and their first number in the run; `sampled` begins with the version."""

    first: int
    rows: Sequence[Mapping[str, Any]]
    prompts: list[Prompt]
    sampled: "Future[tuple[int, list[Sampled]]]"


class RolloutWorker:
    """TRL's RolloutWorkerProtocol: threads that sample and score.

    Samples reach the trainer in the order of their prompts, not in that in which they end: a run that takes what is
    ready first learns from short responses first.

    Args:
        distiller: scores; it needs no student.
        rows: each a dict with a ``prompt``, and a ``teacher`` if the data names one of several.
        sampler: the engine that samples.
        portion: prompts of one call of the sampler.
        seed: of the order of the prompts, drawn anew in each epoch; None keeps that of `rows`.

    Attributes:
        rollout_buffer: scored samples, in order.
        metrics_queue: empty; a sample carries its own metrics.

    Raises:
        InputError: there are no rows, a row has no prompt, or the student is shown tools.
    """

    def __init__(
        self,
        distiller: Distiller,
        rows: Sequence[Mapping[str, Any]],
        sampler: Sampler,
        *,
        portion: int = 8,
        seed: int | None = 0,
    ):
        if not len(rows):
            raise InputError("there is nothing to train on: give at least one row with a prompt.")
        if distiller.renderer.tools:
            raise InputError("tools are not called here: make the Distiller without tools, or train synchronously.")
        if portion < 1:
            raise InputError(f"portion must be at least 1, not {portion}.")
        for number in range(len(rows)):
            as_prompt(rows[number].get("prompt"), prompt_name(number))
        self.distiller, self.rows, self.sampler = distiller, rows, sampler
        self.rollout_buffer: queue.Queue[ScoredSample] = queue.Queue()
        self.metrics_queue: queue.Queue[dict[str, float]] = queue.Queue()
        self._portion, self._seed = portion, seed
        self._version, self._first_number = 0, 0
        self._pace: Pace | None = None
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._sampling: dict[int, float] = {}  # first prompt of each call -> since when it is silent

    # ---- called by the trainer's thread ---------------------------------------------------------------------------

    def keep_pace(self, pace: Pace, first_number: int = 0) -> None:
        """Set how far to run ahead, before it starts.

        Args:
            pace: counts the samples of this run.
            first_number: the prompt to begin with, in a resumed run.

        Raises:
            InputError: an earlier run's thread is still at work.
        """
        if self._is_alive:
            raise InputError("the worker still samples for another run: stop it, or make a new worker and sampler.")
        self._pace, self._first_number = pace, first_number

    def start(self) -> None:
        """Begin to sample."""
        if self._pace is None:
            raise InputError("the worker has no pace: give it to an AsyncTrainer, which sets it.")
        self._stopped.clear()
        self._error = None
        while not self.rollout_buffer.empty():  # an earlier run's, whose prompts this one begins with
            self.rollout_buffer.get_nowait()
        self._thread = threading.Thread(target=self._run, args=(self._pace,), name="crossdistill-rollout", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End; what is under way is given up."""
        self._stopped.set()
        self.sampler.close()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=5)

    @property
    def version(self) -> int:
        """Version of the weights that the sampler has, at least."""
        return self._version

    def update_model_version(self, model_version: int) -> None:
        self._version = int(model_version)

    def check_health(self, stale_after_s: float) -> None:
        """Check that samples are still to come.

        Raises:
            TeacherError: the teacher failed.
            RolloutServerError: the engine that samples failed or has been silent for `stale_after_s`, or the worker was
                stopped.
        """
        if self._error is not None:
            raise self._error
        if not self._is_alive:
            raise RolloutServerError("nothing is sampled any more: the worker was stopped, or never started.")
        now = time.monotonic()
        silent = [first for first, since in list(self._sampling.items()) if now - since > stale_after_s]
        if not silent:
            return
        if not self.sampler.is_well():
            raise RolloutServerError(
                f"the sampler (from prompt {silent[0]} on) has not answered for {stale_after_s:g} s "
                "(heartbeat_stale_after_s): see whether its server still runs; what was trained so far is sound."
            )
        for first in silent:  # a long response: asked again after as long
            if first in self._sampling:
                self._sampling[first] = now

    @property
    def _is_alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    # ---- the worker's own thread ------------------------------------------------------------------------------------

    def _run(self, pace: Pace) -> None:
        try:
            with ThreadPoolExecutor(self.sampler.num_calls, thread_name_prefix="crossdistill-sample") as pool:
                try:
                    self._sample_and_score(pool, pace)
                finally:
                    self.sampler.close()
                    pool.shutdown(wait=False, cancel_futures=True)
        except BaseException as error:  # noqa: BLE001 - raised in the trainer's thread by check_health
            self._error = error

    def _sample_and_score(self, pool: ThreadPoolExecutor, pace: Pace) -> None:
        ahead: deque[_Portion] = deque()
        number = 0
        while not self._stopped.is_set():
            size = min(self._portion, pace.until_end_of_step(number))
            # one portion more than the sampler takes, so that it need not wait for the teacher
            if len(ahead) <= self.sampler.num_calls and pace.allows(number, self._version):
                ahead.append(self._begin(pool, number, size))
                number += size
            elif ahead and self._is_sampled(ahead[0]):
                for sample in self._scored(ahead.popleft()):
                    self.rollout_buffer.put(sample)
            elif not ahead:
                time.sleep(_TICK_S)

    def _begin(self, pool: ThreadPoolExecutor, number: int, size: int) -> _Portion:
        first = self._first_number + number
        rows = [self.rows[index] for index in self._order(first, size)]
        prompts = [as_prompt(row["prompt"], prompt_name(first + k)) for k, row in enumerate(rows)]
        return _Portion(first, rows, prompts, pool.submit(self._sample, first, prompts))

    def _sample(self, first: int, prompts: Sequence[Prompt]) -> tuple[int, list[Sampled]]:
        version = self._version  # before sampling: tokens can come from a later policy, never from an earlier one
        with self._heard(first):
            sampled = self.sampler.sample([self.distiller.renderer.render(prompt) for prompt in prompts])
        if len(sampled) != len(prompts):
            raise InputError(f"the sampler gave {len(sampled)} responses to {len(prompts)} prompts: give one each.")
        return version, sampled

    def _is_sampled(self, portion: _Portion) -> bool:
        try:
            portion.sampled.result(timeout=_TICK_S)
        except TimeoutError:
            if portion.sampled.done():  # the sampler's own
                raise
            return False
        return True

    def _scored(self, portion: _Portion) -> Iterator[ScoredSample]:
        version, sampled = portion.sampled.result()
        stops = [self._stop_logprob(one) for one in sampled]
        batch = self.distiller.score(  # a served teacher has time limits of its own
            portion.prompts,
            [one.ids for one in sampled],
            [one.logprobs for one in sampled],
            stop_logprobs=stops,
            teachers=[row.get(COLUMN) for row in portion.rows],
        )
        return samples_of(batch, portion.first, version)

    def _stop_logprob(self, sampled: Sampled) -> float | None:
        if not sampled.ids or sampled.ids[-1] not in self.distiller.stop_ids:
            return None
        return float(sampled.logprobs[-1]) if sampled.stop_logprob is None else sampled.stop_logprob

    def _order(self, first: int, size: int) -> list[int]:
        """Rows of the run's prompts from `first` on."""
        places = [divmod(number, len(self.rows)) for number in range(first, first + size)]
        if self._seed is None:
            return [place for _, place in places]
        orders = {
            epoch: np.random.default_rng([self._seed, epoch]).permutation(len(self.rows))
            for epoch in {epoch for epoch, _ in places}
        }
        return [int(orders[epoch][place]) for epoch, place in places]

    @contextmanager
    def _heard(self, first: int) -> Iterator[None]:
        self._sampling[first] = time.monotonic()
        try:
            yield
        finally:
            self._sampling.pop(first, None)
