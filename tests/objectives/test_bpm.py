"""The bpm loss against its definition."""

import math
from dataclasses import replace

import pytest
import torch

from crossdistill import InputError
from crossdistill.objectives import AlignedBatch, VocabPair, get
from crossdistill.objectives.bpm import BPM
from crossdistill.objectives.shared.bytewise import targets as targets_module
from crossdistill.ops import HiddenStates, LMHead
from crossdistill.signal import Signal
from tests.objectives.byte_prefixes import (
    HALVES,
    LETTERS,
    logits,
    one_chunk,
    responses,
    states_of,
    targets_of,
    text_of,
    total_of,
)
from tests.objectives.cases import case, vocab
from tests.objectives.matrices import masked
from tests.oracles import bpm as oracle

OPTIONS = [
    {"divergence": "forward"},
    {"divergence": "jsd", "temperature": 2.0},
    {"divergence": "jsd", "mix": 0.3},
    {"divergence": "skew_reverse", "mix": 0.1},
    {"divergence": "skew_forward", "mix": 0.2},
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("seed", [0, 4])
@pytest.mark.parametrize("stop_unit", [True, False])
def test_value_and_gradient_equal_the_definition(options, seed, stop_unit):
    whole = case(BPM(**options), seed=seed, stop_unit=stop_unit)
    expected = total_of(
        [
            oracle.loss(
                text_of(whole.parts[k]),
                *logits(whole, k),
                options["divergence"],
                options.get("mix", 0.5),
                options.get("temperature", 1.0),
            )
            for k in responses(whole)
        ]
    )
    leaves = [whole.hidden[k] for k in responses(whole)]
    ours = whole.loss()
    torch.testing.assert_close(ours, expected)
    for got, wanted in zip(torch.autograd.grad(ours, leaves), torch.autograd.grad(expected, leaves), strict=True):
        torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("seed", [0, 2])
@pytest.mark.parametrize("banned", [[2, 5, 6], [0, 9], [3], [10, 8]])
def test_they_do_where_the_teacher_gives_some_tokens_no_probability(seed, banned):
    """Realised ones among them, on paths and inside tokens."""
    whole = masked(case(BPM(divergence="skew_reverse", mix=0.4), seed=seed), banned)
    assert any(torch.isin(part.teacher.ids, torch.tensor(banned)).any() for part in whole.parts)
    expected = total_of(
        [oracle.loss(text_of(whole.parts[k]), *logits(whole, k), "skew_reverse", 0.4) for k in responses(whole)]
    )
    leaves = [whole.hidden[k] for k in responses(whole)]
    ours = whole.loss()
    torch.testing.assert_close(ours, expected)
    for got, wanted in zip(torch.autograd.grad(ours, leaves), torch.autograd.grad(expected, leaves), strict=True):
        torch.testing.assert_close(got, wanted)


def test_small_tiles_give_the_same(monkeypatch):
    whole = case(BPM(), seed=4)
    expected = whole.loss()
    monkeypatch.setattr(targets_module, "TILE_ELEMENTS", 60)  # two positions, or one
    torch.testing.assert_close(whole.loss(), expected)


def test_the_residual_is_what_no_student_token_begins():
    """And what moves on is what the path gives to longer tokens; both as sums over the student tokens."""
    whole = case(BPM(), seed=4)
    stats, residual, moved = whole.objective.loss(whole.inputs()).stats, 0.0, 0.0
    for k in responses(whole):
        text, probs = text_of(whole.parts[k]), torch.softmax(logits(whole, k)[1], -1)
        for _, tokens, read, ahead in oracle.positions(text):
            residual += float(oracle.target(text, probs, tokens, read, ahead).get(oracle.OTHER, 0.0))
            near = oracle.target(text, probs, tokens[:1], read, ahead)
            far = oracle.target(text, probs, tokens, read, ahead)
            moved += sum(abs(float(far.get(key, 0.0) - near.get(key, 0.0))) for key in {*near, *far}) / 2
    assert stats["residual"].item() == pytest.approx(residual)
    assert stats["moved"].item() == pytest.approx(moved)
    assert moved > 0.1


# ---- by hand ---------------------------------------------------------------------------------------------------------


def test_a_student_that_is_finer():
    """The teacher reads `ab` and the student `a`, `b`.

    At `a` the student faces a: 0.2 + 0.4, b: 0.1, stop: 0.1, rest: 0.2 (`c`). Inside `ab` the teacher's tokens that
    begin with `a` are `a`, which has no remaining bytes (1/3), and `ab` (2/3).
    """
    states = states_of([[0.2, 0.5, 0.3], [0.1, 0.3, 0.6]], [[0.1, 0.2, 0.4, 0.1, 0.2]])
    inputs = one_chunk(LETTERS, [[1, 2], [2]], states)
    loss = BPM(divergence="forward").loss(inputs)
    first = [(0.6, 0.5), (0.1, 0.3), (0.1, 0.2), (0.2, math.exp(-100))]  # no student token is left for the residual
    second = [(2 / 3, 0.6), (1 / 3, 0.4)]
    assert loss.total.item() == pytest.approx(sum(q * math.log(q / p) for q, p in [*first, *second]))
    assert loss.stats["residual"].item() == pytest.approx(0.2 + 1 / 3)


def test_a_student_that_is_coarser():
    """The teacher reads `a`, `b` and the student `ab`: of the `a`, 0.5 goes on with `b`.

    The target is ab: 0.4 + 0.2 * 0.5, a: 0.2 * 0.5, b: 0.1, stop: 0.1, rest: 0.2.
    """
    states = states_of([[0.2, 0.1, 0.3, 0.4]], [[0.1, 0.2, 0.4, 0.1, 0.2], [0.2, 0.1, 0.1, 0.5, 0.1]])
    loss = BPM(divergence="skew_forward", mix=0.5).loss(one_chunk(HALVES, [[3], [1, 3]], states))
    pairs = [(0.5, 0.4), (0.1, 0.1), (0.1, 0.3), (0.1, 0.2), (0.2, 0.0)]
    assert loss.total.item() == pytest.approx(sum(q * math.log(q / (q / 2 + p / 2)) for q, p in pairs))
    assert loss.stats["moved"].item() == pytest.approx(0.1)


def test_longer_tokens_share_what_goes_on_with_them():
    """The teacher reads `a`, `b`, `c` and the student `abc`; it also has `ab`.

    Of the 0.6 of `a`, 0.6 * 0.5 goes on with `b`, and of this 0.4 with `c`.
    """
    pieces = (b"", b"a", b"b", b"c")
    vocabs = VocabPair(vocab((b"", b"a", b"ab", b"abc")), vocab(pieces), (0,), (0,))
    rows = [[0.1, 0.6, 0.2, 0.1], [0.2, 0.2, 0.5, 0.1], [0.3, 0.2, 0.1, 0.4]]
    inputs = one_chunk(vocabs, [[3], [1, 2, 3]], states_of([[0.25, 0.25, 0.25, 0.25]], rows))
    (target,) = targets_of(inputs.batch)
    assert target == pytest.approx({b"a": 0.3, b"ab": 0.18, b"abc": 0.12, "stop": 0.1, "other": 0.3})
    stats = BPM().loss(inputs).stats
    assert stats["moved"].item() == pytest.approx(0.3)
    assert stats["residual"].item() == pytest.approx(0.3)


def test_a_path_ends_with_its_chunk():
    """The student wrote `ab` and `c`: `abc` fits the text too, but does not count, even across two responses."""
    vocabs = VocabPair(vocab((b"", b"a", b"ab", b"abc", b"c")), vocab((b"", b"a", b"b", b"c")), (0,), (0,))
    rows = [[0.1, 0.6, 0.2, 0.1], [0.2, 0.2, 0.5, 0.1]]
    parts = [
        one_chunk(vocabs, [[2], [1, 2]], states_of([[0.2] * 5], rows)).batch,
        one_chunk(vocabs, [[4], [3]], states_of([[0.2] * 5], rows[:1])).batch,
    ]
    expected = {b"a": 0.3, b"ab": 0.3, b"c": 0.1, "stop": 0.1, "other": 0.2}
    assert targets_of(AlignedBatch.concatenate(parts))[0] == pytest.approx(expected)


# ---- extremes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("divergence", ["forward", "reverse", "jsd", "skew_forward", "skew_reverse"])
def test_a_teacher_that_masks_tokens_and_large_logits_stay_finite(divergence):
    student, teacher = states_of([[0.2, 0.5, 0.3], [0.1, 0.3, 0.6]], [[0.1, 0.2, 0.4, 0.1, 0.2]])
    bounds = torch.tensor([[0.0, -torch.inf, 0.0, 0.0, -torch.inf], [0.0, -torch.inf, -torch.inf, 0.0, 0.0]]).double()
    masked = [
        teacher._replace(head=replace(teacher.head, bias=bias)) for bias in bounds
    ]  # the second rules the text out
    large = [side._replace(hidden=side.hidden * 1e4) for side in (student, teacher)]
    for states in ((student, masked[0]), (student, masked[1]), (large[0], large[1])):
        inputs = one_chunk(LETTERS, [[1, 2], [2]], states)
        hidden = inputs.student.hidden.requires_grad_()
        (grad,) = torch.autograd.grad(BPM(divergence=divergence).loss(inputs).total, hidden)
        assert BPM(divergence=divergence).loss(inputs).total.isfinite()
        assert grad.isfinite().all()


def test_all_of_a_tokens_share_may_move_on():
    """In float32, in which the rest of it may be a little less than 0."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        rows = torch.rand(2, 5, generator=generator).softmax(-1)
        rows[1] = torch.tensor([1e-20, 1e-20, 1e-20, 1.0, 1e-20])  # `a` goes on with `b`
        states = states_of([[0.2, 0.1, 0.3, 0.4]], rows.tolist())
        narrow = [HiddenStates(side.hidden.float(), LMHead(side.head.weight.float())) for side in states]
        inputs = one_chunk(HALVES, [[3], [1, 3]], (narrow[0], narrow[1]))
        assert BPM().loss(inputs).total.isfinite()


@pytest.mark.parametrize(("dtype", "apart"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-2)])
@pytest.mark.parametrize("divergence", ["jsd", "forward"])
def test_in_low_precision_it_is_that_of_the_same_numbers(divergence, dtype, apart):
    """The products of bfloat16 round; everything after them is in float32."""
    whole = case(BPM(divergence=divergence), seed=4)
    losses, slopes = [], []
    for narrow in (torch.float64, dtype):
        inputs = whole.inputs()
        ours, theirs = (rounded(side, dtype, narrow) for side in (inputs.student, inputs.batch.teacher.dense))
        batch = inputs.batch.with_teacher(states=theirs)
        loss = whole.objective.loss(replace(inputs, batch=batch, student=ours)).total
        losses.append(loss.double())
        slopes.append(torch.autograd.grad(loss, ours.hidden)[0].double())
    assert (losses[1] - losses[0]).abs() <= apart * losses[0]
    assert (slopes[1] - slopes[0]).norm() <= apart * slopes[0].norm()


def rounded(states: HiddenStates, dtype: torch.dtype, held_in: torch.dtype) -> HiddenStates:
    """To the numbers that one type has, held in another."""
    head = states.head
    weight, bias, hidden = (value.detach().to(dtype).to(held_in) for value in (head.weight, head.bias, states.hidden))
    return HiddenStates(hidden.requires_grad_(), replace(head, weight=weight, bias=bias))


def test_inside_a_token_that_was_rewritten_nothing_is_taught():
    states = states_of([[0.2, 0.5, 0.3], [0.1, 0.3, 0.6]], [[0.1, 0.2, 0.4, 0.1, 0.2]])
    inputs = one_chunk(LETTERS, [[1, 2], [2]], states)
    teacher = replace(inputs.batch.teacher, ids=torch.tensor([3]))
    batch = replace(inputs.batch, teacher=teacher)
    first = one_chunk(LETTERS, [[1], [1]], (states[0]._replace(hidden=states[0].hidden[:1]), states[1]))
    assert BPM().weight(inputs.batch) == 2
    assert BPM().weight(batch) == 1
    left = BPM().loss(replace(inputs, batch=batch)).total
    torch.testing.assert_close(left, BPM().loss(first).total)


def test_along_tokens_that_were_rewritten_nothing_moves_on():
    """The teacher reads the text `ab` as `a`, `a`: its path is not the text of the student."""
    states = states_of([[0.2, 0.1, 0.3, 0.4]], [[0.1, 0.2, 0.4, 0.1, 0.2], [0.2, 0.1, 0.1, 0.5, 0.1]])
    inputs = one_chunk(HALVES, [[3], [1, 3]], states)
    teacher = replace(inputs.batch.teacher, ids=torch.tensor([1, 1]))
    batch = replace(inputs.batch, teacher=teacher)
    assert BPM().loss(inputs).stats["moved"] > 0
    assert BPM().loss(replace(inputs, batch=batch)).stats["moved"] == 0


def test_white_space_can_be_left_out():
    whole = case(BPM(), seed=2)
    ids = whole.batch().student.ids
    skipping = BPM(skip_white_space=True)
    assert (ids == 3).any()  # token 3 is a space
    assert skipping.weight(whole.batch()) == len(ids) - int((ids == 3).sum())
    assert skipping.loss(whole.inputs()).total < whole.loss()


def test_tabs_are_white_space_and_new_lines_are_not():
    pieces = (b"", b" ", b"\t", b" \t", b"\n", b" a")
    vocabs = VocabPair(vocab(pieces), vocab(pieces), (0,), (0,))
    ids, rows = [1, 2, 3, 4, 5], [[1 / 6] * 6] * 5
    parts = [one_chunk(vocabs, [[k], [k]], states_of(rows[:1], rows[:1])).batch for k in ids]
    assert BPM(skip_white_space=True).weight(AlignedBatch.concatenate(parts)) == 2


def test_a_pair_without_a_common_beginning_is_refused():
    with pytest.raises(InputError, match="no teacher token begins with one"):
        BPM().check(VocabPair(vocab((b"", b"a")), vocab((b"", b"b"))))
    BPM().check(HALVES)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"divergence": "kl"}, "there is no divergence 'kl'"),
        ({"mix": 1.5}, r"lies in \[0, 1\], not 1.5"),
        ({"temperature": 0.0}, "temperature must be a finite number > 0, not 0.0"),
        ({"temperature": math.nan}, "temperature must be a finite number > 0, not nan"),
    ],
)
def test_values_that_cannot_work_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        BPM(**options)


def test_what_it_needs():
    objective = get("bpm")
    assert (objective.signal, objective.loss_signal, objective.on_policy_only) == (Signal.DENSE, Signal.DENSE, False)
    assert (objective.divergence, objective.mix, objective.temperature) == ("jsd", 0.5, 1.0)
