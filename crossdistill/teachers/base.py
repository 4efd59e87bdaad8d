"""The teacher protocol."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from crossdistill.align import DropReason
from crossdistill.objectives.base import Signal
from crossdistill.tokens import ByteVocab


@dataclass(frozen=True)
class TeacherRequest:
    """A response to score, in the teacher's own tokens.

    prompt_ids: the prompt as the teacher's template renders it. response_ids: the response's tokens, without a stop
    token. stopped: whether the student ended the response, so that the teacher's stop mass after it is wanted.
    """

    prompt_ids: Sequence[int]
    response_ids: Sequence[int]
    stopped: bool


@dataclass(frozen=True)
class TeacherScore:
    """logprobs: nats, float32 [response tokens], each under the prompt and the tokens before it.

    stop_logprob: log of the total probability of the teacher's stop tokens after the response; None unless stopped.
    """

    logprobs: np.ndarray
    stop_logprob: float | None


class Teacher(Protocol):
    """A model that scores responses.

    signal: the most that it can give. vocab: its tokens as bytes. tokenizer: renders prompts (crossdistill.chat).
    """

    signal: Signal
    vocab: ByteVocab
    tokenizer: Any

    def score(self, requests: Sequence[TeacherRequest]) -> list[TeacherScore | DropReason]:
        """One answer a request, in order: its score, or the reason why it has none."""
        ...
