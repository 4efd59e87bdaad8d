"""Policy check: at the first step on a rollout, the policy that trains must be the one that sampled.

A run, and a resumed run, is verified once, by all micro-batches of its first step: a refusal names the cause. At the
first step on each later rollout the drift is logged as ``policy_drift``, in nats a token, and is a warning of the
watchdog if it grows; module `sampler_watch` judges that of another engine.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from crossdistill.distill import ScoredResponse
from crossdistill.distill.policy_drift import (
    EXACT,
    OTHER_POLICY,
    Numerics,
    PolicyDrift,
    policy_drift,
)
from crossdistill.distill.policy_probe import ModeGaps, PolicyProbe
from crossdistill.findings import Kind, Severity, When
from crossdistill.ops import HiddenStates
from crossdistill.train.monitor.sampler_watch import SamplerWatch
from crossdistill.train.monitor.watchdog import Watchdog
from crossdistill.train.vllm.sync_probe import SyncProbe

Sum = Callable[[Sequence[float]], Sequence[float]]

NOISE = Kind(
    "noise_in_training",
    Severity.REFUSAL,
    When.FIRST_STEP,
    "the policy that trains is not the one that sampled: {source} draws noise in training mode, which moves "
    "log-probabilities by {nats} nats a token. Switch it off in the model or its configuration.",
    "the student learns from importance ratios that are noise; the demo's ends at 80 % in place of 98 %",
)
BRANCH = Kind(
    "other_in_training",
    Severity.REFUSAL,
    When.FIRST_STEP,
    "the policy that trains is not the one that sampled: {source} computes something else in training mode, which "
    "moves log-probabilities by {nats} nats a token. Let it compute the same if `training` is set.",
    "the student learns for a model that nobody will use",
)
NOT_FINITE_IN_TRAINING = Kind(
    "not_finite_in_training",
    Severity.REFUSAL,
    When.DURING,
    "the pass that trains is not finite at step {step}, although the one that scored is: {source} overflows in "
    "training mode. Let it compute the same if `training` is set, or train in bfloat16 or float32 instead of float16.",
    "every gradient would be NaN",
)
KIND = "policy_drift"
"""Of the watchdog's warning."""

_SAME_ENGINE = (
    "Neither noise nor another computation in training mode explains it: look for what changes weights or states "
    "between scoring and training (callbacks, hooks, a dtype that only one of them has), and for noise or another "
    "computation that only a pass with gradients has"
)
_OTHER_ENGINE = (
    "Check that vLLM has the student's weights, adapters and dtype, and returns processed log-probabilities at the "
    "temperature of the run"
)


@dataclass(frozen=True)
class _Measured:
    drift: PolicyDrift
    numerics: Numerics
    is_same_engine: bool


class PolicyCheck:
    """Verifies a run at its first step, and watches it afterwards. Every process calls it, in the same order.

    Args:
        watchdog: receives the warning.
        sampler: sees the drift of another engine.
        total: adds numbers up over processes.
    """

    def __init__(self, watchdog: Watchdog, sampler: SamplerWatch, total: Sum):
        self._watchdog = watchdog
        self._sampler = sampler
        self._total = total
        self.begin()

    def begin(self) -> None:
        """A run begins, or goes on from a checkpoint."""
        self._measured: _Measured | None = None
        self._drift, self._gaps = PolicyDrift(0.0, 0.0), ModeGaps(0.0, 0.0, 0.0, 0.0)
        self._is_verified = False
        self._sampler.begin()

    def check_sync(self, step: int, probe: SyncProbe, prompt: Sequence[int]) -> None:
        """Check that the weights of a step have arrived in the engine that samples.

        Args:
            step: optimisation steps made before.
            probe: asks the engine.
            prompt: of this process.
        """
        if any(self._total([probe.is_stale(step, prompt)])):
            self._sampler.tell_same_answer(step)

    def measure(
        self,
        is_first: bool,
        responses: Sequence[ScoredResponse],
        states: HiddenStates,
        temperature: float,
        numerics: Numerics,
        is_same_engine: bool,
    ) -> None:
        """Measure the drift of a micro-batch of the first optimisation step on a rollout.

        Args:
            is_first: whether it is the first one of the step; that of the next rollout finds the run verified, whose
                later ones are not measured.
            responses: of this process.
            states: those that predict the supervised tokens, in the pass that trains.
            temperature: of the old log-probs.
            numerics: what they explain.
            is_same_engine: whether the engine that trains also computed them.
        """
        if is_first and self._drift.tokens:
            self._is_verified = True
        if is_first or not self._is_verified:
            drift = policy_drift(responses, states, temperature)
            self._measured = _Measured(drift, numerics, is_same_engine)

    def judge(self, step: int, probe: PolicyProbe) -> float | None:
        """Judge what was measured; the passes of a probe are made outside of the one that trains.

        Args:
            step: optimisation steps made before.
            probe: finds the cause.

        Returns:
            Mean |log ratio| over all processes, nats a token; None if nothing was measured.

        Raises:
            FindingError: in all processes alike; at the first step of the run, or whenever a pass is not finite.
        """
        measured, self._measured = self._measured, None
        if measured is None:
            return None
        drift = PolicyDrift(*self._total(measured.drift))
        if not drift.tokens:
            return None
        if not math.isfinite(drift.absolute):
            raise NOT_FINITE_IN_TRAINING.error(step=step + 1, source=probe.source_of_overflow())
        if not measured.is_same_engine:
            self._sampler.add(step, drift)
        if not self._is_verified:
            self._verify(drift, measured, probe)
        elif measured.is_same_engine and (unexplained := measured.numerics.unexplained(drift)) is not None:
            self._warn(step, **unexplained)
        return drift.mean

    def _verify(self, drift: PolicyDrift, measured: _Measured, probe: PolicyProbe) -> None:
        """Judge what the micro-batches of the first step have shown so far."""
        self._drift = PolicyDrift(*map(sum, zip(self._drift, drift, strict=True)))
        if drift.mean > EXACT:
            self._check_modes(probe)
        unexplained = measured.numerics.unexplained(self._drift)
        if unexplained is not None:
            way_out = _SAME_ENGINE if measured.is_same_engine else _OTHER_ENGINE
            raise OTHER_POLICY.error(**unexplained, way_out=way_out)

    def _check_modes(self, probe: PolicyProbe) -> None:
        """Check that training mode has no noise, and computes what evaluation mode does."""
        here = self._total(probe.gaps())
        gaps = self._gaps = ModeGaps(*map(sum, zip(self._gaps, here, strict=True)))
        if gaps.is_noisy:
            raise NOISE.error(source=probe.source_of_noise(), nats=f"{gaps.noise / gaps.tokens:.2g}")
        if gaps.has_branch and any(self._total([not probe.is_rounding()])):
            raise BRANCH.error(source=probe.source_of_branch(), nats=f"{gaps.branch / gaps.tokens:.2g}")

    def _warn(self, step: int, nats: str, largest: str) -> None:
        self._watchdog.warn(
            step,
            KIND,
            f"the policy that trains is no longer the one that sampled: they differ by {nats} nats a token at the "
            f"first step on a rollout, and numerics explain {largest}. What to try: look for noise or "
            "another computation that begins in mid-training; a lower learning_rate if logits grow too large for the "
            "dtype.",
        )
