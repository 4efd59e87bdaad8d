"""What a teacher is: the whole contract, with defaults.

A teacher of your own is a subclass of :class:`Teacher` that sets ``vocab``, ``tokenizer`` and ``stop_ids`` and
implements :meth:`Teacher.score`. Everything else has a default.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from crossdistill.align import DropReason
from crossdistill.errors import InputError
from crossdistill.ops import HiddenStates, TopLogprobs
from crossdistill.signal import Signal
from crossdistill.tokens import ByteVocab


@dataclass(frozen=True)
class TeacherRequest:
    """A response to score, in the teacher's own tokens.

    Attributes:
        prompt_ids: the prompt as the teacher's chat template renders it.
        response_ids: the response's tokens, without a stop token.
        stopped: whether the student ended the response, so that the teacher's stop mass after it is wanted.
    """

    prompt_ids: Sequence[int]
    response_ids: Sequence[int]
    stopped: bool


@dataclass(frozen=True)
class TeacherScore:
    """A teacher's answer to a request.

    Attributes:
        logprobs: nats, float32 [response tokens], each token given the prompt and the tokens before it.
        stop_logprob: log of the total probability of the teacher's stop tokens after the response; None unless the
            request is `stopped`.
        states: if DENSE was asked for, hidden [response tokens + 1, H] in host memory: row j predicts token j, the last
            row what follows the response.
        topk: if TOPK was asked for, [response tokens + 1, k], with the same rows.
    """

    logprobs: np.ndarray
    stop_logprob: float | None
    states: HiddenStates | None = None
    topk: TopLogprobs | None = None


@dataclass(frozen=True)
class WrittenResponse:
    """A response that a model wrote.

    Attributes:
        text: without special tokens.
        num_tokens: tokens that were generated.
        stopped: whether it ended by itself.
    """

    text: str
    num_tokens: int
    stopped: bool


class Teacher(ABC):
    """A model that scores responses.

    Attributes:
        vocab: its tokens as bytes.
        tokenizer: renders its prompts (:mod:`crossdistill.chat`).
        stop_ids: the token ids that end its turn.
        signal: the most that it can give at a position.
        max_top_k: how many tokens a position it can give if that is TOPK; None if there is no limit.
        max_length: tokens of prompt and response together that it reads; None if there is no limit.
        temperature: of the log-probabilities that it gives. Hidden states are always those of temperature 1.
        num_params: parameters that take part in matrix products, for FLOPs (:class:`crossdistill.costs.Costs`); 0 if
            they are not known.
        is_remote: whether it computes elsewhere: it is then called in a background thread, early, while this process
            samples.
        can_write: whether it implements :meth:`write`.

    Example:
        A teacher that finds every token equally likely::

            class Uniform(Teacher):
                def __init__(self, tokenizer, vocab):
                    self.tokenizer, self.vocab, self.stop_ids = tokenizer, vocab, (tokenizer.eos_token_id,)

                def score(self, requests, signal=Signal.SAMPLED, top_k=0):
                    nats = -math.log(len(self.vocab))
                    return [
                        TeacherScore(np.full(len(r.response_ids), nats, np.float32), nats if r.stopped else None)
                        for r in requests
                    ]
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
            signal: what is wanted at each position; ``self.signal.covers(signal)``.
            top_k: tokens a position, if the signal is TOPK; at most `max_top_k`.

        Returns:
            One answer a request, in order: its score with that signal, or the reason why it has none.

        Raises:
            TeacherError: the run cannot go on. It saves a checkpoint, and can be resumed.
        """

    def write(
        self, prompts: Sequence[Any], max_new_tokens: int, temperature: float, seed: int, first_row: int
    ) -> Iterator[WrittenResponse]:
        """Write one response a prompt, in order (``off_policy = "teacher"``).

        Args:
            prompts: texts or lists of messages. max_new_tokens: of a response. temperature: 0 is greedy.
            seed: together with `first_row`, the number of the first prompt in the run, it decides the sampling.
            first_row: see `seed`.
        """
        raise NotImplementedError

    def set_temperature(self, temperature: float) -> None:
        """Give log-probabilities of this sampling temperature from now on.

        Raises:
            InputError: the teacher has a fixed temperature, and it is another one.
        """
        if temperature != self.temperature:
            raise InputError(
                f"this teacher gives log-probabilities at temperature {self.temperature:g}, not {temperature:g}: set "
                f"temperature = {self.temperature:g}, or use a local teacher."
            )

    def usage(self) -> Mapping[str, float]:
        """Counters since the teacher was made, such as requests and bytes; logged as ``server/*``. None by default."""
        return {}

    def identity(self) -> Mapping[str, Any]:
        """What a checkpoint keeps to recognise this teacher when the run is resumed: JSON values. Empty by default."""
        return {}

    def difference(self, identity: Mapping[str, Any]) -> str | None:
        """How this teacher differs from the one of a saved :meth:`identity`, in words; None if it is the same."""
        return None if dict(identity) == dict(self.identity()) else "its identity is another one"

    def set_deadline(self, seconds: float) -> None:
        """A running or later call to :meth:`score` must end within so many seconds, because the run was told to stop.

        May be called from a signal handler while another thread, or this one, is inside :meth:`score`. A teacher that
        cannot answer in time raises TeacherUnavailableError. By default nothing happens.
        """
        return

    def close(self) -> None:
        """Release connections and threads. A later call to :meth:`score` may open them again. Nothing by default."""
        return


def check_teacher(teacher: object) -> Teacher:
    """Return the teacher, if it has what every teacher must have.

    Args:
        teacher: an object that a user gave.

    Raises:
        InputError: it is not a :class:`Teacher`, or one without `vocab`, `tokenizer` or `stop_ids`.
    """
    if not isinstance(teacher, Teacher):
        raise InputError(
            f"the teacher is {_described(teacher)}, which is not a teacher: give an instance of a subclass of "
            "crossdistill.teachers.Teacher (`score` is the only method that it must implement)."
        )
    missing = [name for name in ("vocab", "tokenizer", "stop_ids") if not hasattr(teacher, name)]
    if missing:
        raise InputError(f"the teacher is {_described(teacher)} without {', '.join(missing)}: set that in __init__.")
    return teacher


def _described(value: object) -> str:
    kind = value if isinstance(value, type) else type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return f"the class {name}" if isinstance(value, type) else f"an object of type {name}"
