"""The alm loss against its definition."""

import math

import pytest
import torch
from torch import Tensor

from crossdistill import InputError
from crossdistill.objectives import LossInputs
from crossdistill.objectives.alm import ALM, is_boundary
from crossdistill.ops import HiddenStates, LMHead
from crossdistill.signal import Signal
from tests.objectives.cases import (
    STUDENT_PIECES,
    STUDENT_STOPS,
    TEACHER_PIECES,
    TEACHER_STOPS,
    Case,
    batch,
    case,
    pair,
    vocab,
)
from tests.oracles import alm as oracle

OPTIONS = [
    {},
    {"debias": False},
    {"threshold": 0.0},
    {"threshold": 0.4, "tau": 5.0},
    {"divergence": "reverse", "tau": 1.0},
    {"divergence": "tvd", "tau": 2.0, "threshold": 0.3},
    {"divergence": "tvd", "debias": False, "tau": 1.0},
]
STUDENT_BOUNDARY = [0, 3, 9]  # the stop, the space, the control token
TEACHER_BOUNDARY = [1, 7, 4, 8, 11, 12]  # the stops, what begins with a space, the control token


def expected(whole: Case) -> tuple[Tensor, int]:
    """The sum over all responses, and the number of its terms."""
    objective, total, terms = whole.objective, 0.0, 0
    for part, hidden in zip(whole.parts, whole.hidden, strict=True):
        stopped = bool(part.is_stop.any())
        stops = ((), ()) if not part.pair.student_stops else (STUDENT_STOPS, TEACHER_STOPS)
        states, splits = part.teacher.dense, part.alignment
        value, number = oracle.loss(
            oracle.Side(
                whole.head.logits(hidden).softmax(-1),
                part.student.ids.tolist(),
                splits.student_splits.tolist(),
                STUDENT_BOUNDARY,
                stops[0],
            ),
            oracle.Side(
                states.head.logits(states.hidden).softmax(-1),
                part.teacher.ids.tolist(),
                splits.teacher_splits.tolist(),
                TEACHER_BOUNDARY,
                stops[1],
            ),
            stopped,
            name=objective.divergence,
            tau=objective.tau,
            debias=objective.debias,
            threshold=objective.threshold,
        )
        total, terms = total + value, terms + number
    return total, terms


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("stop_unit", [True, False])
def test_value_gradient_and_weight_equal_the_definition(options, seed, stop_unit):
    whole = case(ALM(**options), seed, stop_unit=stop_unit)
    leaves = [*whole.hidden, whole.head.weight.requires_grad_(), whole.head.bias.requires_grad_()]
    wanted, terms = expected(whole)
    loss = whole.loss()
    torch.testing.assert_close(loss, wanted, rtol=1e-9, atol=1e-9)
    assert whole.objective.weight(whole.batch()) == terms
    torch.testing.assert_close(
        torch.autograd.grad(loss, leaves), torch.autograd.grad(wanted, leaves), rtol=1e-7, atol=1e-9
    )


def test_merging_leaves_fewer_chunks_and_none_without_a_threshold():
    whole = case(ALM(threshold=0.5), lengths=(12, 12, 12))
    minimal = whole.batch().alignment.num_chunks
    assert 3 <= whole.objective.weight(whole.batch()) < minimal
    assert ALM(threshold=0.0).weight(whole.batch()) == minimal
    assert ALM(debias=False).weight(whole.batch()) == minimal


def test_tiles_of_one_row_give_the_same(monkeypatch):
    whole = case(ALM())
    wanted = whole.loss()
    monkeypatch.setattr("crossdistill.ops.tiled.tiled_sum.__defaults__", (None, None, (), 1))
    monkeypatch.setattr("crossdistill.ops.logprobs.TILE_ELEMENTS", 1)
    torch.testing.assert_close(whole.loss(), wanted, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("name", "tau", "p", "q", "value"),
    [
        ("forward", 1, 0.5, 0.25, 0.5 * math.log(2) + 0.5 * math.log(2 / 3)),
        ("reverse", 1, 0.5, 0.25, 0.25 * math.log(0.5) + 0.75 * math.log(1.5)),
        ("tvd", 1, 0.5, 0.25, 0.5),
        ("tvd", 2, 0.25, 0.0625, 0.5),  # roots 0.5 and 0.25
        ("forward", 2, 0.25, 0.0625, 0.5 * math.log(2) + 0.5 * math.log(2 / 3)),
    ],
)
def test_divergences_worked_out_by_hand(name, tau, p, q, value):
    got = ALM(divergence=name, tau=float(tau)).between(*(torch.tensor([x], dtype=torch.float64).log() for x in (q, p)))
    assert got.item() == pytest.approx(value)


def test_one_chunk_worked_out_by_hand():
    """Student `a` + space of probability 1/2 + 1/4 and boundary mass 1/2, teacher 1/2, 1/8 and 3/4, both truncated."""
    logits = torch.full((2, 11), -torch.inf, dtype=torch.float64)
    logits[0, [1, 2]] = torch.tensor([0.5, 0.5], dtype=torch.float64).log()
    logits[1, [3, 9, 1]] = torch.tensor([0.25, 0.25, 0.5], dtype=torch.float64).log()
    theirs = torch.full((2, 13), -torch.inf, dtype=torch.float64)
    theirs[0, [3, 0]] = torch.tensor([0.5, 0.5], dtype=torch.float64).log()
    theirs[1, [4, 12, 0]] = torch.tensor([0.125, 0.625, 0.25], dtype=torch.float64).log()
    states = [HiddenStates(torch.eye(2, dtype=torch.float64), LMHead(rows.T.contiguous())) for rows in (logits, theirs)]
    states = [state._replace(head=LMHead(state.head.weight.nan_to_num(neginf=-1e4))) for state in states]
    part = batch(pair(), [1, 3], None, tuple(states))

    def kl(p: float, q: float) -> float:
        return p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))

    for options, value in [
        ({"debias": False}, kl(1 / 2, 1 / 2) + kl(1 / 8, 1 / 4)),
        ({"threshold": 0.7}, kl(3 / 8, 1 / 4) + kl(1 / 8, 1 / 4)),
        ({"threshold": 0.8}, kl(1 / 16, 1 / 8)),  # the teacher's 3/4 is below the threshold: one chunk
    ]:
        objective = ALM(tau=1.0, **options)
        got = objective.loss(LossInputs(part, objective.advantages(part), states[0])).total
        assert got.item() == pytest.approx(value), options


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("forward", lambda a, b: (a - b) - a * math.log(a / b)),  # of tau times the loss, a = log p and b = log q
        ("tvd", lambda a, b: 2 * abs(a - b)),
    ],
)
def test_a_large_tau_reaches_the_limit_of_the_paper(name, limit):
    a, b = -3.0, -5.0
    tau = 1e6
    got = ALM(divergence=name, tau=tau).between(torch.tensor([b], dtype=torch.float64), torch.tensor([a]).double())
    assert tau * got.item() == pytest.approx(limit(a, b), rel=1e-4)


@pytest.mark.parametrize("name", ["forward", "reverse", "tvd"])
@pytest.mark.parametrize("tau", [1.0, 100.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_certain_and_impossible_chunks_stay_finite(name, tau, dtype):
    values = [0.0, 1e-7, -1e-9, -1e-4, -5.0, -1e4, -torch.inf]  # rounding may leave a sum above 0
    student = torch.tensor([[x] * len(values) for x in values], dtype=dtype).flatten().requires_grad_()
    teacher = torch.tensor(values * len(values), dtype=dtype)
    loss = ALM(divergence=name, tau=tau).between(student, teacher)
    assert loss.isfinite().all()
    assert (loss > -1e-6).all()
    (gradient,) = torch.autograd.grad(loss.sum(), student)
    assert gradient.isfinite().all()


def test_a_student_that_is_certain_still_gets_a_gradient():
    student = torch.zeros(1, requires_grad=True)
    ALM().between(student, torch.tensor([-2.0])).sum().backward()
    assert student.grad.item() > 0


def test_small_differences_keep_their_value_in_float32():
    student, teacher = torch.tensor([-1e-3]), torch.tensor([-2e-3])
    exact = ALM().between(student.double(), teacher.double())
    assert ALM().between(student, teacher).item() == pytest.approx(exact.item(), rel=1e-2)


def test_a_masked_teacher_and_huge_logits_stay_finite():
    whole = case(ALM())
    masked, bias = [], whole.parts[0].teacher.dense.head.bias.clone()
    bias[TEACHER_BOUNDARY] = -torch.inf  # also the stops: a stop unit the teacher holds impossible
    for part in whole.parts:
        states = part.teacher.dense
        head = LMHead(states.head.weight, bias, states.head.scale)
        logprobs = torch.log_softmax(head.logits(states.hidden), -1).gather(1, part.teacher.ids[:, None])[:, 0]
        teacher = type(part.teacher)(part.teacher.ids, part.teacher.ends, logprobs, HiddenStates(states.hidden, head))
        masked.append(type(part)(part.alignment, part.is_stop, part.response_splits, part.pair, part.student, teacher))
    for objective in (ALM(), ALM(threshold=0.0), ALM(debias=False, tau=1.0)):
        loss = Case(masked, whole.hidden, LMHead(whole.head.weight * 1e3, None), objective).loss()
        assert loss.isfinite()
        assert all(grad.isfinite().all() for grad in torch.autograd.grad(loss, whole.hidden))


def test_boundaries_are_white_space_stops_and_what_carries_no_bytes():
    found = is_boundary(vocab(STUDENT_PIECES), STUDENT_STOPS)
    assert found.nonzero()[:, 0].tolist() == STUDENT_BOUNDARY
    found = is_boundary(vocab(TEACHER_PIECES), TEACHER_STOPS)
    assert sorted(found.nonzero()[:, 0].tolist()) == sorted(TEACHER_BOUNDARY)
    assert is_boundary(vocab([b"a", b"\n", b"b\n", b"\t\t", b"\xc2\xa0"]), (0,)).tolist() == [
        True,
        True,
        False,
        True,
        False,
    ]


def test_the_signal_follows_the_options():
    assert ALM().signal is Signal.DENSE
    assert ALM(debias=False).signal is Signal.SAMPLED


def test_a_vocabulary_without_boundaries_is_refused_where_one_is_needed():
    words = vocab([b"a", b"b"])
    both = type(pair())(words, pair().teacher)
    with pytest.raises(InputError, match="cannot debias: no token of the student"):
        ALM().check(both)
    ALM(debias=False).check(both)
    ALM().check(pair())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"divergence": "jsd"}, "there is no divergence 'jsd'"),
        ({"tau": 0.0}, "tau"),
        ({"tau": math.inf}, "tau"),
        ({"tau": math.nan}, "tau"),
        ({"threshold": 1.0}, "threshold"),
        ({"threshold": -0.1}, "threshold"),
        ({"threshold": math.nan}, "threshold"),
    ],
)
def test_options_that_cannot_work_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        ALM(**options)
