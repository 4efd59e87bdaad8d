"""The contract of a teacher, with defaults.

A teacher of your own is a subclass of :class:`Teacher` that sets ``vocab``, ``tokenizer`` and ``stop_ids`` and
implements :meth:`Teacher.score`; everything else has a default.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from crossdistill.align import DropReason
from crossdistill.errors import InputError
from crossdistill.findings import FindingError
from crossdistill.flops import ModelFlops
from crossdistill.ops import HiddenStates, TopLogprobs
from crossdistill.signal import Signal
from crossdistill.tokens import ByteVocab


@dataclass(frozen=True)
class TeacherRequest:
    """A response to score, in the teacher's own tokens.

    Attributes:
        prompt_ids: the prompt as the teacher's chat template renders it.
        response_ids: the response's tokens, without a stop token.
        stopped: whether the student ended the response, so that the probability of the teacher's stop tokens after it
            is wanted.

    Example:
        >>> TeacherRequest(prompt_ids=[1, 15043], response_ids=[29871, 2], stopped=True).stopped
        True
    """

    prompt_ids: Sequence[int]
    response_ids: Sequence[int]
    stopped: bool


@dataclass(frozen=True)
class TeacherScore:
    """A teacher's scores of a response.

    Attributes:
        logprobs: nats, float32 [response tokens], each token given the prompt and the tokens before it.
        stop_logprob: nats of the total probability of the teacher's stop tokens after the response; None unless the
            request is `stopped`.
        states: if DENSE was asked for, hidden [response tokens + 1, H] in host memory: row j predicts token j, the last
            row what follows the response.
        topk: if TOPK was asked for, [response tokens + 1, k], with the same rows.

    Example:
        >>> TeacherScore(np.array([-0.5, -2.0], np.float32), stop_logprob=None).logprobs.sum()
        np.float32(-2.5)
    """

    logprobs: np.ndarray
    stop_logprob: float | None
    states: HiddenStates | None = None
    topk: TopLogprobs | None = None


@dataclass(frozen=True)
class WrittenResponse:
    """A response that a model wrote.

    Attributes:
        text: without control tokens.
        num_tokens: generated tokens, the stop token included.
        stopped: whether the model ended it.
        left_out: names of the control tokens within it, in order.

    Example:
        >>> WrittenResponse("The answer is 42.", num_tokens=6, stopped=True).text
        'The answer is 42.'
    """

    text: str
    num_tokens: int
    stopped: bool
    left_out: tuple[str, ...] = ()


class TeacherFindingError(FindingError):
    """Something was found about a teacher while a run goes on; what was trained so far is sound."""


class Teacher(ABC):
    """A model that scores responses.

    Attributes:
        vocab: its tokens as bytes.
        tokenizer: renders its prompts (:mod:`crossdistill.chat`).
        stop_ids: the token ids that end its turn.
        signal: the most that it can give at a position.
        max_top_k: tokens that it can give at a position if `signal` is TOPK; None if there is no limit.
        max_length: tokens of prompt and response together that it can read; None if there is no limit.
        temperature: of its log-probabilities. Hidden states are always those of temperature 1.
        num_params: weights in matrix products, for FLOPs (:class:`crossdistill.costs.Costs`); 0 if unknown.
        is_remote: whether it computes outside this process: it is then called early, in a background thread, while this
            process samples.
        can_write: whether it implements :meth:`write`.

    Example:
        A teacher that finds every token equally likely:

        >>> from crossdistill.tokens import World
        >>> class Uniform(Teacher):
        ...     def __init__(self, tokenizer, stop_ids):
        ...         self.tokenizer, self.vocab, self.stop_ids = tokenizer, ByteVocab.from_tokenizer(tokenizer), stop_ids
        ...
        ...     def score(self, requests, signal=Signal.SAMPLED, top_k=0):
        ...         nats = float(-np.log(len(self.vocab)))
        ...         stop = nats + float(np.log(len(self.stop_ids)))
        ...         return [
        ...             TeacherScore(np.full(len(request.response_ids), nats), stop if request.stopped else None)
        ...             for request in requests
        ...         ]
        >>> teacher = Uniform(World({byte: bytes([byte]) for byte in range(256)}), stop_ids=(0,))
        >>> (score,) = teacher.score([TeacherRequest([72], [105, 33], stopped=True)])
        >>> score.logprobs.round(3).tolist(), round(score.stop_logprob, 3)
        ([-5.545, -5.545], -5.545)
    """

    vocab: ByteVocab
    tokenizer: Any
    stop_ids: tuple[int, ...]
    signal: Signal = Signal.SAMPLED
    max_top_k: int | None = None
    max_length: int | None = None
    temperature: float = 1.0
    num_params: int = 0
    is_remote: bool = False
    can_write: bool = False

    @abstractmethod
    def score(
        self, requests: Sequence[TeacherRequest], signal: Signal = Signal.SAMPLED, top_k: int = 0
    ) -> list[TeacherScore | DropReason]:
        """Score responses.

        Args:
            requests: responses in the teacher's own tokens.
            signal: what is wanted at each position; ``self.signal.covers(signal)`` holds.
            top_k: tokens wanted at each position if `signal` is TOPK; at most `max_top_k`.

        Returns:
            For each request, in order: its score with that signal, or the reason why it has none.

        Raises:
            TeacherError: the run cannot continue. It saves a checkpoint and can be resumed.
        """

    def write(
        self, prompts: Sequence[Any], max_new_tokens: int, temperature: float, seed: int, first_row: int
    ) -> Iterator[WrittenResponse]:
        """Write one response to each prompt, in order (``off_policy = "teacher"``).

        Args:
            prompts: texts or lists of messages.
            max_new_tokens: most tokens of a response.
            temperature: of the sampling; 0 is greedy.
            seed: determines the sampling, together with `first_row`.
            first_row: number of the first prompt within the run.
        """
        raise NotImplementedError

    def set_temperature(self, temperature: float) -> None:
        """Give log-probabilities at this temperature from now on.

        A run calls it on teachers that it loads. A teacher that is given to it as an object keeps its own: call it
        before.

        Raises:
            InputError: the teacher's temperature is fixed and differs.
        """
        if temperature != self.temperature:
            raise InputError(
                f"this teacher gives log-probabilities at temperature {self.temperature:g}, not {temperature:g}: set "
                f"temperature = {self.temperature:g}, or use a local teacher."
            )

    @property
    def flops(self) -> ModelFlops:
        """What it computes for rows of given lengths: by default what follows from `num_params`, without attention."""
        return ModelFlops.of_size(self.num_params)

    def usage(self) -> Mapping[str, float]:
        """Counters since the teacher was made, such as requests and bytes; empty by default.

        What they grew by since the last log is logged as ``server/*``.
        """
        return {}

    def identity(self) -> Mapping[str, Any]:
        """JSON values by which a checkpoint recognises this teacher when the run is resumed.

        Empty by default: a run is then resumed under any teacher.
        """
        return {}

    def difference(self, identity: Mapping[str, Any]) -> str | None:
        """How this teacher differs from the one of a saved :meth:`identity`, in words; None if it is the same.

        By default any difference of the identities counts; override it for a tolerance, or for better words.
        """
        return None if dict(identity) == json.loads(json.dumps(self.identity())) else "its identity differs"

    def set_deadline(self, seconds: float) -> None:
        """Make running and later calls of :meth:`score` end within that many seconds, because the run was told to stop.

        It may be called from a signal handler while this or another thread is inside :meth:`score`. A teacher that
        cannot answer in time raises TeacherUnavailableError. Does nothing by default.
        """
        return

    def close(self) -> None:
        """Release connections and threads; :meth:`score` may open them again later. Does nothing by default."""
        return


def check_teacher(teacher: object) -> Teacher:
    """Return the teacher, if it has what every teacher must have.

    Args:
        teacher: an object that a user gave.

    Raises:
        InputError: it is not a :class:`Teacher`; or one without `vocab`, `tokenizer` or `stop_ids`, or with an identity
            that is not JSON.

    Example:
        >>> try:
        ...     check_teacher(42)
        ... except InputError as error:
        ...     print(str(error).partition(":")[0])
        the teacher is an object of type int, which is not a teacher
    """
    if not isinstance(teacher, Teacher):
        raise InputError(
            f"the teacher is {_described(teacher)}, which is not a teacher: give an instance of a subclass of "
            "crossdistill.teachers.Teacher (`score` is the only method that it must implement)."
        )
    missing = [name for name in ("vocab", "tokenizer", "stop_ids") if not hasattr(teacher, name)]
    if missing:
        raise InputError(f"the teacher is {_described(teacher)} without {', '.join(missing)}: set that in __init__.")
    try:
        json.dumps(teacher.identity())
    except TypeError as error:
        raise InputError(f"the identity of {_described(teacher)} must hold JSON values ({error}).") from None
    return teacher


def given_teacher(teacher: Any) -> Teacher | None:
    """Tell a teacher that is ready from one that the run loads.

    Args:
        teacher: a Teacher; or the name of one (folder, hub id, URL), or a model.

    Returns:
        The Teacher itself; None for a name or a model.

    Raises:
        InputError: something else, or a Teacher that lacks what it must have.
    """
    if isinstance(teacher, str | nn.Module) and not isinstance(teacher, Teacher):
        return None
    return check_teacher(teacher)


def _described(value: object) -> str:
    kind = value if isinstance(value, type) else type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return f"the class {name}" if isinstance(value, type) else f"an object of type {name}"
