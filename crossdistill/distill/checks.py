"""Checks of what a distiller is given, before it could do harm in silence."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from crossdistill.distill.noise import named, noise_sources
from crossdistill.distill.policy_drift import OTHER_ENGINE, OTHER_POLICY, numerics_of, policy_drift
from crossdistill.distill.response import ScoredResponse
from crossdistill.distill.routing import Routing
from crossdistill.distill.scorer import MAX_LOGPROB
from crossdistill.errors import InputError
from crossdistill.objectives.base import Objective
from crossdistill.ops import HiddenStates
from crossdistill.signal import Signal
from crossdistill.teachers.base import Teacher

_CAUSES = (
    "Usual causes: dropout or other noise in training mode; states of other tokens than the supervised ones; weights "
    "that changed after the rollout; old_logprobs of another model, dtype or temperature"
)


def scoring_temperature(objective: Objective, temperature: float) -> float:
    """Temperature of the log-probabilities that an objective compares; `temperature` is that of the sampling."""
    return temperature if objective.at_sampling_temperature else 1.0


def check_temperature(objective: Objective, teacher: Teacher, temperature: float) -> None:
    """Raises InputError if the teacher's log-probabilities have another temperature than the objective compares at."""
    wanted = scoring_temperature(objective, temperature)
    if teacher.temperature == wanted:
        return
    kind = "the sampling temperature" if objective.at_sampling_temperature else "temperature"
    raise InputError(
        f"objective {objective.name!r} compares both models at {kind} {wanted:g}, and this teacher gives "
        f"log-probabilities at temperature {teacher.temperature:g}: call its set_temperature({wanted:g}) before, if it "
        f"can, or sample at temperature = {teacher.temperature:g}."
    )


def check_signal(objective: Objective, teacher: Teacher) -> None:
    """Raises InputError if the teacher cannot give what the objective needs."""
    if not teacher.signal.covers(objective.signal):
        raise InputError(
            f"objective {objective.name!r} needs {objective.signal.value} probabilities and this teacher gives only "
            f"{teacher.signal.value} ones: choose an objective for {teacher.signal.value} signals, or a local teacher."
        )
    if objective.signal is Signal.TOPK and teacher.max_top_k is not None and objective.num_named > teacher.max_top_k:
        raise InputError(
            f"objective {objective.name!r} needs the {objective.num_named} most probable tokens and this teacher gives "
            f"at most {teacher.max_top_k}: ask for fewer in the objective's options, or raise the limit of the "
            "teacher's server."
        )


def check_policy(
    responses: Sequence[ScoredResponse],
    states: HiddenStates,
    temperatures: Collection[float],
    is_same_engine: bool,
    student: Any,
) -> bool:
    """Check at the first loss of a loop that the policy that trains is the one that sampled.

    Args:
        responses: scored.
        states: those that predict the supervised tokens, [N, H].
        temperatures: at one of which the old log-probs are.
        is_same_engine: whether the model in this process computed them.
        student: the model, whose noise is named; None if it is not known.

    Returns:
        Whether there was anything to measure.

    Raises:
        FindingError: it is another one.
    """
    drifts = [policy_drift(responses, states, temperature) for temperature in temperatures]
    drift = min(drifts, key=lambda one: one.mean)
    numerics = numerics_of(states) if is_same_engine else OTHER_ENGINE
    unexplained = numerics.unexplained(drift)
    if unexplained is not None:
        noise = named(noise_sources(student)) if student is not None and student.training else ""
        causes = f"The model has {noise} in training mode: set it to 0" if noise else _CAUSES
        raise OTHER_POLICY.error(**unexplained, way_out=causes)
    return drift.tokens > 0


def check_arguments(
    teachers: Mapping[str, Any],
    student: Any,
    temperature: float,
    routing: Routing | None,
    template_kwargs: Mapping[str, Any] | None,
) -> None:
    """Raises InputError for arguments that could only fail later, or would be ignored."""
    if not teachers:
        raise InputError("the Distiller has no teacher: give at least one.")
    if isinstance(student, str):
        raise InputError(f"the student is {student!r}: give the model itself, which your loop trains.")
    if not 0 < temperature < math.inf:
        raise InputError(f"temperature must be above 0 and finite, not {temperature}.")
    if routing is not None and set(routing.names) != set(teachers):
        names = ", ".join(routing.names)
        raise InputError(f"the routing is for {names}, and the teachers are {', '.join(teachers)}.")
    unknown = set(template_kwargs or {}) - set(teachers)
    if len(teachers) > 1 and unknown:
        raise InputError(
            f"teacher_template_kwargs are for {', '.join(sorted(unknown))}, who is not among the teachers."
        )


def checked_logprobs(values: Any, ids: Sequence[int], row: int) -> np.ndarray:
    """Log-probabilities of one completion, without padding."""
    numbers = (
        values.detach().float().cpu().numpy() if isinstance(values, Tensor) else np.array(values, dtype=np.float32)
    )
    if len(numbers) < len(ids):
        raise InputError(f"old_logprobs has {len(numbers)} values for a completion of {len(ids)} tokens.")
    numbers = numbers[: len(ids)]
    if not (np.isfinite(numbers).all() and (numbers <= MAX_LOGPROB).all()):
        raise InputError(f"old_logprobs of row {row} are not all finite and at most 0: check the engine that sampled.")
    return numbers
