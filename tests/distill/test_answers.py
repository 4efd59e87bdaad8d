"""What a teacher may answer, and what is said of everything else."""

import math

import numpy as np
import pytest
import torch

from crossdistill import InputError
from crossdistill.align import DropReason
from crossdistill.distill.scorer import check_answers
from crossdistill.ops import HiddenStates, LMHead, TopLogprobs
from crossdistill.signal import Signal
from crossdistill.teachers import TeacherRequest, TeacherScore

REQUEST = TeacherRequest([1], [2, 3], stopped=True)
NATS = np.array([-0.5, -1.0], dtype=np.float32)
HEAD = LMHead(torch.zeros(5, 4))


def top(rows: int, ids: object = None) -> TopLogprobs:
    return TopLogprobs(torch.zeros(rows, 2, dtype=torch.long) if ids is None else ids, torch.full((rows, 2), -1.0))


def check(answers: object, signal: Signal = Signal.SAMPLED) -> object:
    return check_answers(answers, [REQUEST], signal, top_k=2)


def test_right_answers_pass():
    score = TeacherScore(NATS, -0.25, HiddenStates(torch.zeros(3, 4), HEAD), top(3))
    for signal in Signal:
        assert check([score], signal) == [score]
    assert check([DropReason.TEACHER_CONTEXT]) == [DropReason.TEACHER_CONTEXT]
    rounded = TeacherScore(np.array([1e-3, -1.0], np.float32), 1e-4)
    assert check([rounded]) == [rounded]
    impossible = TopLogprobs(torch.zeros(3, 2, dtype=torch.long), torch.full((3, 2), -math.inf))
    assert check([TeacherScore(NATS, -0.25, topk=impossible)], Signal.TOPK)[0].topk is impossible


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_score_that_cannot_teach_is_dropped(value):
    for score in (
        TeacherScore(np.array([value, -1.0], np.float32), -0.25),
        TeacherScore(NATS, value),
        *([TeacherScore(NATS, -0.25, topk=TopLogprobs(top(3).ids, torch.full((3, 2), value)))] * math.isnan(value)),
    ):
        assert check([score], Signal.TOPK if score.topk else Signal.SAMPLED) == [DropReason.NON_FINITE]


@pytest.mark.parametrize(
    ("answers", "signal", "message"),
    [
        (None, Signal.SAMPLED, "gave a NoneType for 1 requests: `score` returns a list"),
        ([], Signal.SAMPLED, "gave 0 answers for 1 requests"),
        ([None], Signal.SAMPLED, "answered a NoneType: give a TeacherScore or a DropReason"),
        ([TeacherScore([-0.5, -1.0], -0.25)], Signal.SAMPLED, "`logprobs` must be a numpy array"),
        ([TeacherScore(NATS[:1], -0.25)], Signal.SAMPLED, "scored 1 tokens and stop -0.25 for a request of 2 tokens"),
        ([TeacherScore(NATS, None)], Signal.SAMPLED, "stop None for a request of 2 tokens with stopped=True"),
        ([TeacherScore(-NATS, -0.25)], Signal.SAMPLED, "a log-probability above 0"),
        ([TeacherScore(NATS, 0.25)], Signal.SAMPLED, "a log-probability above 0"),
        ([TeacherScore(NATS, -0.25)], Signal.TOPK, "its 2 most probable tokens: `topk` is a TopLogprobs"),
        ([TeacherScore(NATS, -0.25, topk=top(2))], Signal.TOPK, "of 3 rows and 2 columns"),
        ([TeacherScore(NATS, -0.25, topk=top(3, np.zeros((3, 2))))], Signal.TOPK, "two torch tensors"),
        ([TeacherScore(NATS, -0.25)], Signal.DENSE, "`states.hidden` has 3 rows for 2 response tokens"),
        (
            [TeacherScore(NATS, -0.25, HiddenStates(torch.zeros(2, 4), HEAD))],
            Signal.DENSE,
            "`states.hidden` has 3 rows for 2 response tokens",
        ),
    ],
)
def test_what_breaks_the_contract_is_named(answers, signal, message):
    with pytest.raises(InputError) as error:
        check(answers, signal)
    assert message in str(error.value)
