"""Byte-level distillation: heads on the student against the teacher's next-byte probabilities."""

import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from crossdistill import Alignment, InputError
from crossdistill.objectives import LossInputs, VocabPair, bld, get
from crossdistill.objectives.shared import auxiliary_heads
from crossdistill.objectives.shared.bytewise.byte_heads import NUM_SYMBOLS, STOP
from crossdistill.objectives.shared.bytewise.next_bytes import ByteSlots, next_bytes
from crossdistill.ops import HiddenStates, LMHead, last_hidden_states
from tests.objectives.cases import (
    H_S,
    STUDENT_STOPS,
    TEACHER_PIECES,
    TEACHER_STOPS,
    Case,
    attach,
    batch,
    case,
    head,
    pair,
    vocab,
)
from tests.objectives.matrices import masked
from tests.oracles import bld as oracle

EXACT = {"rtol": 1e-9, "atol": 1e-9}
CPU = torch.device("cpu")


def responses(whole: Case) -> list[oracle.Response]:
    """A case as the oracle reads it."""
    found = []
    for part, hidden in zip(whole.parts, whole.hidden, strict=True):
        stopped = bool(part.is_stop.any())
        sides = [
            [vocabulary.pieces[k] for k in tokens.ids.tolist()]
            for vocabulary, tokens in ((part.pair.student, part.student), (part.pair.teacher, part.teacher))
        ]
        for pieces in sides:
            pieces[len(pieces) - stopped :] = [None] * stopped
        logits = whole.objective.heads().logits(hidden).unflatten(-1, (-1, NUM_SYMBOLS))
        states = part.teacher.dense
        found.append(oracle.Response(*sides, logits, states.head.logits(states.hidden).softmax(-1)))
    return found


def parameters(whole: Case) -> list[torch.Tensor]:
    return [*(hidden for hidden in whole.hidden if len(hidden)), *whole.objective.heads.parameters()]


# ---- the value ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop_unit", [True, False])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("options", [{}, {"num_bytes": 2, "byte_nll": 0.7}])
def test_value_and_gradients_are_those_of_the_definition(options, seed, stop_unit):
    whole = case(get("bld", **options), seed=seed, stop_unit=stop_unit)
    expected, count = oracle.loss(
        responses(whole), TEACHER_PIECES, TEACHER_STOPS if stop_unit else (), options.get("byte_nll", 0.0)
    )
    total = whole.loss()
    torch.testing.assert_close(total, expected, **EXACT)
    assert whole.objective.weight(whole.batch()) == count
    ours, theirs = (torch.autograd.grad(value, parameters(whole)) for value in (total, expected))
    assert all(gradient.abs().max() > 1e-3 for gradient in ours[:1])
    for gradient, reference in zip(ours, theirs, strict=True):
        torch.testing.assert_close(gradient, reference, **EXACT)


def test_tiles_smaller_than_the_batch_change_nothing(monkeypatch):
    whole = case(get("bld"), seed=5)
    total = whole.loss()
    gradients = torch.autograd.grad(total, parameters(whole))
    for name in ("tiled_sum", "next_bytes"):
        monkeypatch.setattr(f"crossdistill.objectives.bld.{name}", partial(getattr(bld, name), tile_elements=1))
    again = whole.loss()
    torch.testing.assert_close(again, total, **EXACT)
    for gradient, reference in zip(torch.autograd.grad(again, parameters(whole)), gradients, strict=True):
        torch.testing.assert_close(gradient, reference, **EXACT)


def test_a_byte_by_hand():
    """The student wrote `a`, `b`; the teacher reads `ab`. Its next tokens: ab 0.4, aa 0.1, b 0.2, stop 0.3."""
    objective = get("bld", num_bytes=1)
    vocabs = VocabPair(vocab([b"", b"a", b"b"]), vocab([b"", b"ab", b"aa", b"b", b"a"]), (0,), (0,))
    teacher = HiddenStates(torch.ones(1, 1), LMHead(torch.tensor([[0.3], [0.4], [0.1], [0.2], [1e-30]]).log()))
    states = HiddenStates(torch.zeros(2, H_S, requires_grad=True), LMHead(torch.zeros(3, H_S)))
    part = batch(vocabs, [1, 2], None, (states, teacher))
    attach(objective, states.head, torch.Generator())
    for parameter in objective.heads.parameters():
        torch.nn.init.zeros_(parameter)  # every symbol has 1 / 257
    inputs = LossInputs(part, torch.zeros(2), states)
    first = 0.5 * math.log(0.5) + 0.2 * math.log(0.2) + 0.3 * math.log(0.3) + math.log(257)
    second = 0.8 * math.log(0.8) + 0.2 * math.log(0.2) + math.log(257)
    loss = objective.loss(inputs)
    assert loss.total.item() == pytest.approx(first + second, rel=1e-5)
    assert objective.weight(part) == 2
    assert loss.stats["byte_nll"].item() == pytest.approx(2 * math.log(257), rel=1e-5)
    assert loss.stats["left_out"] == loss.stats["ruled_out"] == 0


def test_token_nll_is_the_cross_entropy_of_the_tokens():
    plain, with_tokens = (case(get("bld", token_nll=weight), seed=6) for weight in (0.0, 0.5))
    tokens = with_tokens.inputs().student_logprobs().sum()
    torch.testing.assert_close(with_tokens.loss() - plain.loss(), -0.5 * tokens, **EXACT)


def test_bytes_beyond_the_heads_are_counted():
    whole = case(get("bld", num_bytes=1), seed=7)
    inputs = whole.inputs()
    num_bytes = int(inputs.batch.alignment.byte_splits[-1])
    left_out = objective_stats(whole)["left_out"]
    assert left_out > 0
    assert whole.objective.weight(inputs.batch) + left_out == num_bytes


def objective_stats(whole: Case) -> dict[str, float]:
    return {name: float(value) for name, value in whole.objective.loss(whole.inputs()).stats.items()}


# ---- the teacher's bytes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop_unit", [True, False])
def test_byte_probabilities_sum_to_one(stop_unit):
    everything = case(get("bld"), seed=8, stop_unit=stop_unit).batch()
    found = next_bytes(ByteSlots.of(everything, 8), everything.pair, everything.teacher.dense, CPU)
    assert found.usable.all()
    assert found.log_probs.shape[1] == (257 if stop_unit else 256)
    torch.testing.assert_close(found.log_probs.exp().sum(-1), torch.ones_like(found.ended), **EXACT)


@pytest.mark.parametrize("seed", [9, 10])
def test_if_the_teacher_rules_out_the_bytes_read_there_is_no_target(seed):
    """The other terms stay."""
    banned = [k for k, piece in enumerate(TEACHER_PIECES) if piece.startswith(b"a")]
    whole = masked(case(get("bld", byte_nll=0.7), seed=seed), banned)
    stats = objective_stats(whole)
    assert stats["ruled_out"] > 0
    assert math.isfinite(stats["ended"])
    expected, _ = oracle.loss(responses(whole), TEACHER_PIECES, TEACHER_STOPS, 0.7)
    total = whole.loss()
    torch.testing.assert_close(total, expected, **EXACT)
    ours, theirs = (torch.autograd.grad(value, parameters(whole)) for value in (total, expected))
    for gradient, reference in zip(ours, theirs, strict=True):
        torch.testing.assert_close(gradient, reference, **EXACT)


@pytest.mark.parametrize(("probability", "usable"), [(1e-9, True), (1e-14, False)])
def test_after_bytes_that_are_next_to_impossible_there_is_no_target(probability, usable):
    """The student wrote `b`, `a`; the teacher hardly ever begins with `b`, and then continues with `a` or with `b`.

    In float32, in which such probabilities vanish next to that of `a`.
    """
    vocabs = VocabPair(vocab([b"", b"a", b"b"]), vocab([b"", b"ba", b"bb", b"a", b"b"]), (0,), (0,))
    row = torch.tensor([[0.3], [probability], [3 * probability], [0.7], [1e-30]])
    sides = (
        HiddenStates(torch.zeros(2, 1), LMHead(torch.zeros(3, 1))),
        HiddenStates(torch.ones(1, 1), LMHead(row.log())),
    )
    part = batch(vocabs, [2, 1], None, sides)
    found = next_bytes(ByteSlots.of(part, 8), vocabs, part.teacher.dense, CPU)
    assert found.usable.tolist() == [True, usable]
    if usable:
        assert found.log_probs[1].exp()[list(b"ab")].tolist() == pytest.approx([0.25, 0.75], rel=1e-5)


@pytest.mark.parametrize("size", [1e4, 1e-4])
def test_large_logits_stay_finite(size):
    whole = case(get("bld"), seed=10)
    for part in whole.parts:
        part.teacher.dense.hidden.mul_(size)
    with torch.no_grad():
        for hidden in whole.hidden:
            hidden.mul_(size)
    total = whole.loss()
    gradients = torch.autograd.grad(total, parameters(whole))
    assert total.isfinite()
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_nothing_is_known_inside_a_token_that_the_normaliser_rewrote():
    """Two ids of the teacher in one chunk have other bytes than the text: only the chunk's first byte counts."""
    vocabs, generator = pair(), torch.Generator().manual_seed(0)
    sides = ((vocabs.student, 5, 3), (vocabs.teacher, 4, 2))
    student, teacher = (
        HiddenStates(torch.ones(rows, size, dtype=torch.float64), head(generator, len(side), size))
        for side, size, rows in sides
    )
    part = batch(vocabs, [1, 1], STUDENT_STOPS[0], (student, teacher))
    assert len(ByteSlots.of(part, 8).tokens) == 3
    part.teacher.ids[0] = TEACHER_PIECES.index(b"ab")  # two bytes as well, but not those that were read
    slots = ByteSlots.of(part, 8)
    assert slots.tokens.tolist() == [0, 2]
    assert slots.symbols.tolist() == [ord("a"), STOP]
    assert slots.num_left_out == 1


def test_a_chunk_begins_with_its_first_token_of_no_bytes_too():
    """A normaliser may put one before the one that covers the text."""
    vocabs, generator = pair(), torch.Generator().manual_seed(0)
    student, teacher = (
        HiddenStates(torch.ones(rows, size, dtype=torch.float64), head(generator, len(side), size))
        for side, size, rows in ((vocabs.student, 5, 2), (vocabs.teacher, 4, 2))
    )
    part = batch(vocabs, [1], STUDENT_STOPS[0], (student, teacher))
    tokens = replace(
        part.teacher,
        ids=torch.tensor([12, *part.teacher.ids.tolist()]),
        ends=torch.tensor([0, 1, 2]),
        logprobs=part.teacher.logprobs[[0, 0, 1]],
    )
    rewritten = replace(part, teacher=tokens, alignment=Alignment([0, 1, 2], [0, 2, 3], [0, 1, 2]))
    slots = ByteSlots.of(rewritten, 8)
    assert (slots.rows.tolist(), slots.prefixes, slots.num_left_out) == ([0, 2], [b"", b""], 0)


# ---- training --------------------------------------------------------------------------------------------------------


def tiny_llama() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=11, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2
    )
    return LlamaForCausalLM(config)


def test_steps_lower_the_byte_loss_and_move_the_trunk():
    objective = get("bld", head_speed=10.0)
    whole = case(objective, seed=11, lengths=(6,))
    model = tiny_llama()
    objective.attach(model)
    everything = whole.batch()
    ids = torch.cat([torch.tensor([0]), everything.student.ids])[None, :-1]
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)

    def loss() -> torch.Tensor:
        hidden = last_hidden_states(model, ids, torch.ones_like(ids))[0]
        states = HiddenStates(hidden, LMHead.from_model(model))
        return objective.loss(LossInputs(everything, everything.student.logprobs, states)).total

    first = loss()
    first.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())  # as DDP expects
    assert not any(value.grad.any() for name, value in model.named_parameters() if name.startswith("model."))
    for _ in range(40):
        optimizer.step()
        optimizer.zero_grad()
        last = loss()
        last.backward()
    assert last.item() < 0.2 * first.item()
    moved = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    assert "model.layers.0.mlp.up_proj.weight" in moved
    assert {f"{auxiliary_heads.NAME}.weight", f"{auxiliary_heads.NAME}.bias"} <= moved
    assert "lm_head.weight" not in moved  # learns through the trunk alone


def test_an_empty_step_touches_every_parameter():
    objective, model = get("bld"), tiny_llama()
    objective.attach(model)
    hidden = last_hidden_states(model, torch.tensor([[1, 2]]), torch.ones(1, 2))[0]
    zero_loss = objective.zero_loss(HiddenStates(hidden, LMHead.from_model(model)))
    zero_loss.backward()
    assert zero_loss.item() == 0
    assert all(value.grad is not None and not value.grad.any() for value in model.parameters())


def test_attaching_again_replaces_the_heads():
    objective, model = get("bld", num_bytes=2), tiny_llama().double()
    objective.attach(model)
    first = objective.heads
    objective.attach(model)
    assert objective.heads is not first
    assert auxiliary_heads.auxiliary_heads_of(model) is objective.heads
    assert objective.heads.weight.shape == (2 * NUM_SYMBOLS, 16)
    assert objective.heads.weight.dtype == torch.float64


# ---- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_bytes": 0}, r"num_bytes, the number of heads, must lie in 1 \.\.\. 256, not 0"),
        ({"head_speed": 0.0}, "head_speed must be a finite number > 0"),
        ({"byte_nll": -1.0}, "byte_nll must be a finite number >= 0"),
        ({"token_nll": math.inf}, "token_nll must be a finite number >= 0"),
        ({"divergence": "l2"}, "there is no divergence 'l2'"),
        ({"mix": 2.0}, "mix"),
        ({"_attachment": 1}, "has no option '_attachment'"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        get("bld", **options)
