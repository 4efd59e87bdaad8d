"""Checks of a teacher's answers: a breach of the contract is named, and a score that cannot teach is dropped."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from crossdistill.align import DropReason
from crossdistill.errors import InputError
from crossdistill.signal import Signal
from crossdistill.teachers.base import TeacherRequest, TeacherScore

MAX_LOGPROB = 0.1
"""Nats. Rounding may bring a certain token's log-probability above 0, but no further than this."""

Answer = TeacherScore | DropReason


def check_answers(answers: object, requests: Sequence[TeacherRequest], signal: Signal, top_k: int) -> list[Answer]:
    """The answers of :meth:`crossdistill.teachers.Teacher.score`, checked against the contract.

    A score with a NaN or an infinity teaches nothing and would poison the whole step: it becomes
    ``DropReason.NON_FINITE``. Among the most probable tokens a probability of 0 means what it says.

    Args:
        answers: what the teacher returned.
        requests: what it was asked.
        signal, top_k: what was wanted at each position.

    Raises:
        InputError: something that the contract does not allow, with what it should be.
    """
    if not isinstance(answers, list | tuple) or len(answers) != len(requests):
        given = f"{len(answers)} answers" if isinstance(answers, list | tuple) else f"a {type(answers).__name__}"
        raise InputError(
            f"the teacher gave {given} for {len(requests)} requests: `score` returns a list, one for each."
        )
    return [_checked(answer, request, signal, top_k) for answer, request in zip(answers, requests, strict=True)]


def _checked(answer: object, request: TeacherRequest, signal: Signal, top_k: int) -> Answer:
    if isinstance(answer, DropReason):
        return answer
    if not isinstance(answer, TeacherScore):
        raise InputError(f"the teacher answered a {type(answer).__name__}: give a TeacherScore or a DropReason.")
    num_tokens, logprobs = len(request.response_ids), answer.logprobs
    if not isinstance(logprobs, np.ndarray) or logprobs.ndim != 1:
        raise InputError("the teacher's `logprobs` must be a numpy array with one value for each response token.")
    if len(logprobs) != num_tokens or (answer.stop_logprob is not None) != request.stopped:
        raise InputError(
            f"the teacher scored {len(logprobs)} tokens and stop {answer.stop_logprob} for a request of "
            f"{num_tokens} tokens with stopped={request.stopped}: `logprobs` has one value for each response token, "
            "and `stop_logprob` is None unless the request is stopped."
        )
    if signal is Signal.TOPK:
        _check_top_k(answer, num_tokens, top_k)
    if signal is Signal.DENSE and (answer.states is None or len(answer.states.hidden) != num_tokens + 1):
        raise InputError(
            f"the teacher was asked for its hidden states: `states.hidden` has {num_tokens + 1} rows for {num_tokens} "
            "response tokens, the last one after the response."
        )
    stop = 0.0 if answer.stop_logprob is None else answer.stop_logprob
    is_sound = bool(np.isfinite(logprobs).all()) and bool(np.isfinite(stop))
    if answer.topk is not None:
        is_sound = is_sound and not bool(answer.topk.logprobs.isnan().any())
    if not is_sound:
        return DropReason.NON_FINITE
    if max(stop, float(logprobs.max(initial=0.0))) > MAX_LOGPROB:
        raise InputError(
            "the teacher gave a log-probability above 0: `logprobs` and `stop_logprob` are in nats, at most 0."
        )
    return answer


def _check_top_k(answer: TeacherScore, num_tokens: int, top_k: int) -> None:
    """A vocabulary may have fewer tokens than `top_k`."""
    top = answer.topk
    is_right = top is not None and all(isinstance(values, Tensor) and values.dim() == 2 for values in top)
    if top is None or not is_right or not num_tokens + 1 == len(top.ids) == len(top.logprobs):
        raise InputError(
            f"the teacher was asked for its {top_k} most probable tokens: `topk` is a TopLogprobs of two torch "
            f"tensors, ids (int64) and logprobs (nats), of {num_tokens + 1} rows and {top_k} columns here: a row for "
            "each response token, and one for what follows the response."
        )
