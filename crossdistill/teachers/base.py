"""The teacher protocol."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from crossdistill.align import DropReason
from crossdistill.ops import HiddenStates, TopLogprobs
from crossdistill.signal import Signal
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
    states: where DENSE was asked for, hidden [response tokens + 1, H] in host memory: row j predicts token j, the last
    one what follows the response. topk: where TOPK was asked for, [response tokens + 1, k], likewise.
    """

    logprobs: np.ndarray
    stop_logprob: float | None
    states: HiddenStates | None = None
    topk: TopLogprobs | None = None


class Teacher(Protocol):
    """A model that scores responses.

    signal: the most that it can give. max_top_k: how many tokens a position it names where that is TOPK, None where
    there is no limit. vocab: its tokens as bytes. tokenizer: renders prompts (crossdistill.chat). stop_ids: the token
    ids that end its turn. is_remote: whether it computes elsewhere, so that it is asked early and waited for late.
    """

    signal: Signal
    max_top_k: int | None
    vocab: ByteVocab
    tokenizer: Any
    stop_ids: tuple[int, ...]
    is_remote: bool

    def score(
        self, requests: Sequence[TeacherRequest], signal: Signal = Signal.SAMPLED, top_k: int = 0
    ) -> list[TeacherScore | DropReason]:
        """One answer a request, in order: its score with that signal, or the reason why it has none.

        top_k: tokens a position, where the signal is TOPK.
        """
        ...
