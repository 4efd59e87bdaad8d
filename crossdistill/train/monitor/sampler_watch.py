"""Sampler watch: another engine samples with the weights of every step, not with those of an earlier one.

An engine that gets no weights at all is told at once by module `sync_probe`. One that gets some of them, or those of
another run or step, is seen in ``policy_drift``, the mean |log ratio| at the first step on a rollout. What numerics add
to it stays as large as it was in the first rollout, when both engines have the first weights; what old weights add
grows from step to step. Single rollouts scatter by a factor of ten, so several are put together.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from crossdistill.distill.policy_drift import PolicyDrift
from crossdistill.train.monitor.base import Monitor
from crossdistill.train.monitor.watchdog import Watchdog

FILE_NAME = "sampler.json"
KIND = "stale_sampler"
"""Of the watchdog's warning."""
NUM_ROLLOUTS = 5
"""Rollouts that are put together."""
MIN_DRIFT = 0.002
"""Drift in nats a token that is not reported. On the demo with real vLLM, five rollouts of a healthy run are below
0.001, also in bfloat16; a run whose weights do not arrive passes 0.01 at its third step at the demo's learning rate,
and 0.002 at its fifth at a tenth of it."""
MAX_GROWTH = 4.0
"""Likewise, as a multiple of the drift of the first rollout."""
MAX_DRIFT = 0.06
"""Drift that is reported whatever it was at first: a server may hold the weights of an earlier run. Reports of vLLM
against a training engine in bfloat16 range up to 0.05 for dense models; mixtures of experts can be healthy above it."""

_WAY_OUT = (
    "What to try: see that it loads the weights of every step (its log, vllm_weights_folder, NCCL), those of adapters "
    "too."
)


@dataclass
class SamplerWatch(Monitor):
    """Compares the latest rollouts of another engine with the first one, and warns if weights do not arrive.

    Args:
        watchdog: receives the warning.

    Example:
        >>> warned = []
        >>> watch = SamplerWatch(Watchdog(emit=warned.append))
        >>> for step in range(9):
        ...     watch.add(step, PolicyDrift(tokens=100, absolute=0.1 + step))
        >>> [message[:38] for message in warned]
        ['at step 5: vLLM does not sample with t']
    """

    watchdog: Watchdog

    def __post_init__(self) -> None:
        self._first: PolicyDrift | None = None
        self.begin()

    def begin(self) -> None:
        """A training begins: another one's rollouts are not put together with its own. The first one stays the same."""
        self._first_step: int | None = None
        self._latest: dict[int, PolicyDrift] = {}  # by step

    def add(self, step: int, drift: PolicyDrift) -> None:
        """Add the drift of a micro-batch of the first step on a rollout. Every process calls it alike.

        Args:
            step: optimisation steps made before.
            drift: of all processes together.
        """
        if self._first is None or step == self._first_step:
            self._first, self._first_step = _sum(drift, self._first), step
            return
        self._latest[step] = _sum(drift, self._latest.get(step))
        if len(self._latest) > NUM_ROLLOUTS:
            del self._latest[min(self._latest)]
        if len(self._latest) == NUM_ROLLOUTS:
            self._judge(step, self._first.mean, _sum(*self._latest.values()).mean)

    def _judge(self, step: int, first: float, latest: float) -> None:
        if latest > min(MAX_DRIFT, max(MIN_DRIFT, MAX_GROWTH * first)):
            self.watchdog.warn(
                step,
                KIND,
                f"vLLM does not sample with the weights that train: policy_drift was {first:.2g} nats a token in the "
                f"first rollout and is {latest:.2g} in the latest {NUM_ROLLOUTS}, so weights do not arrive in vLLM, or "
                f"only some of them. {_WAY_OUT} With a mixture of experts the numerics of two engines alone may reach "
                "0.2.",
            )

    def tell_same_answer(self, step: int) -> None:
        """Warn that the engine answers as before its weights should have changed. Every process calls it alike."""
        self.watchdog.warn(
            step,
            KIND,
            "vLLM does not sample with the weights that train: these have changed, and it answers the same question "
            f"with the same log-probabilities as before, to the last digit. {_WAY_OUT}",
        )

    def save(self, checkpoint: Path, is_writer: bool) -> None:
        if self._first is not None and is_writer:
            checkpoint.mkdir(parents=True, exist_ok=True)
            (checkpoint / FILE_NAME).write_text(json.dumps({"first": self._first}))

    def load(self, checkpoint: Path) -> None:
        """A checkpoint without a state leaves a new watch, whose first rollout is yet to come."""
        path = checkpoint / FILE_NAME
        if path.exists():
            self._first = PolicyDrift(*json.loads(path.read_text())["first"])


def _sum(*drifts: PolicyDrift | None) -> PolicyDrift:
    return PolicyDrift(*map(sum, zip(*(drift for drift in drifts if drift is not None), strict=True)))
