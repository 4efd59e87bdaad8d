"""Whether a server's scores are those of its model: the same in another order, and the same as a local model's."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from crossdistill.errors import InputError
from crossdistill.inspection import corpus
from crossdistill.teachers import Teacher, TeacherRequest, TeacherScore
from crossdistill.teachers.served.fingerprint import TOLERANCE_NATS, prefix, token_ids

SAME_NATS = 1e-3
"""Largest difference at a token of two computations in float32; `make test-server` holds vLLM to it."""
ROUNDED_MEAN_NATS, ROUNDED_MOST_NATS = 0.07, 0.6
"""A half more than what bfloat16 does: SmolLM2-135M in bfloat16 and in float32 differ by 0.044 on average and by 0.37
at most of 1,524 tokens (`benchmarks/rounding.py`)."""
NUM_BEGINNINGS, NUM_ENDS = 4, 3
LENGTH = 128


@dataclass(frozen=True)
class Difference:
    """Two scores of the same tokens.

    Attributes:
        mean_nats: mean absolute difference of a token.
        most_nats: the largest.
        num_tokens: that were compared; 0 if none was scored both times.
    """

    mean_nats: float
    most_nats: float
    num_tokens: int

    def __str__(self) -> str:
        return f"{self.mean_nats:.2g} nats a token on average, {self.most_nats:.2g} at most, of {self.num_tokens:,}"


def texts(tokenizer: Any, length: int) -> list[TeacherRequest]:
    """Pieces of the built-in corpus; three of them share each beginning, which a server with a prefix cache keeps.

    Args:
        tokenizer: of the teacher.
        length: most tokens of each.
    """
    text = "\n".join(document.data.decode() for document in corpus())
    step = len(text) // (NUM_BEGINNINGS * (NUM_ENDS + 1))

    def ids(window: str, most: int) -> tuple[int, ...]:
        return prefix(tokenizer, token_ids(tokenizer, window), most)

    made = []
    for start in range(0, NUM_BEGINNINGS * (NUM_ENDS + 1) * step, (NUM_ENDS + 1) * step):
        beginning = tokenizer.decode(ids(text[start : start + step], length // 2), clean_up_tokenization_spaces=False)
        ends = (text[start + number * step :][:step] for number in range(1, NUM_ENDS + 1))
        made += [ids(beginning + end, length) for end in ends]
    return [TeacherRequest(one[:1], one[1:], stopped=False) for one in made]


def compare(one: Teacher, other: Teacher, requests: Sequence[TeacherRequest]) -> Difference:
    """Score the requests at once by one teacher, then each alone in the opposite order by the other, or by the same."""
    first = one.score(requests)
    second = [other.score([request])[0] for request in reversed(requests)][::-1]
    pairs = [
        np.abs(ours.logprobs - theirs.logprobs)
        for ours, theirs in zip(first, second, strict=True)
        if isinstance(ours, TeacherScore) and isinstance(theirs, TeacherScore)
    ]
    gaps = np.concatenate([np.zeros(0, dtype=np.float32), *pairs])
    return Difference(float(gaps.mean()), float(gaps.max()), len(gaps)) if len(gaps) else Difference(0.0, 0.0, 0)


def order(teacher: Teacher, requests: Sequence[TeacherRequest]) -> str:
    """A finding: whether the scores of a server depend on what it was asked before.

    Raises:
        InputError: they do, by more than a run's own check accepts.
    """
    found = compare(teacher, teacher, requests)
    if not found.num_tokens:
        return "order: not compared, because no text was scored twice"
    way_out = "serve without a prefix cache (vLLM: --no-enable-prefix-caching; see vllm-project/vllm#42019)"
    if found.mean_nats > TOLERANCE_NATS:
        raise InputError(
            f"it scores the same texts otherwise alone and in another order, by {found}: the check of a run would take "
            f"it for another model; {way_out}."
        )
    return f"order: scored again alone and in the opposite order, texts differ by {found}: {_judged(found, way_out)}"


def local(teacher: Teacher, model: Teacher, requests: Sequence[TeacherRequest]) -> str:
    """A finding: whether the scores of a server are those of a local model.

    Args:
        teacher: behind the server.
        model: the local one.
        requests: texts to score.
    """
    found = compare(teacher, model, requests)
    if not found.num_tokens:
        return "local model: not compared, because no text was scored by both"
    if found.mean_nats > TOLERANCE_NATS:
        judged = "warning: a run would take them for two models; serve this one, or another quantisation of it"
    else:
        judged = _judged(found, "look at the server's dtype and quantisation")
    return f"local model: texts differ by {found}: {judged}"


def _judged(found: Difference, way_out: str) -> str:
    if found.most_nats <= SAME_NATS:
        return "the same"
    if found.mean_nats <= ROUNDED_MEAN_NATS and found.most_nats <= ROUNDED_MOST_NATS:
        return "as bfloat16 rounds"
    return f"warning: more than bfloat16 rounds, and each advantage is wrong by as much; {way_out}"
