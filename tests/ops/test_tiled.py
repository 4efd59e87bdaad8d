"""Sums over tiles of logits, compared with the complete matrices in float64, with gradients."""

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from crossdistill.errors import InputError
from crossdistill.ops import LMHead, Share, tiled_sum, tiled_values, token_logprobs
from tests.oracles import logprobs as oracle

N, H_S, V_S, H_T, V_T = 11, 8, 37, 6, 53
CLOSE = {"rtol": 2e-4, "atol": 2e-5}


def inputs(num: int = N, seed: int = 0) -> dict[str, Tensor]:
    make = torch.Generator().manual_seed(seed)
    sizes = {
        "hidden": (num, H_S),
        "weight": (V_S, H_S),
        "bias": (V_S,),
        "teacher_hidden": (num, H_T),
        "teacher_weight": (V_T, H_T),
        "row": (num,),
        "table": (num, 3),
    }
    return {name: torch.randn(*size, generator=make) for name, size in sizes.items()}


def share(student: Tensor, teacher: Tensor, row: Tensor, table: Tensor, numbers: Tensor) -> Tensor:
    """A function of both models that does not split into parts: a weighted divergence."""
    log_p, log_q = (torch.log_softmax(logits[:, :20], -1) for logits in (student, teacher))
    divergence = (log_p.exp() * (log_p - log_q)).sum(-1)
    return divergence * row * (1 + numbers) + (table**2).sum(-1) * student[:, 0]


def ours(given: dict[str, Tensor], tile: int, scale: float, softcap: float | None) -> Tensor:
    return tiled_sum(
        lambda *tile: Share(share(*tile)),
        given["hidden"],
        LMHead(given["weight"], given["bias"], scale, softcap),
        given["teacher_hidden"],
        LMHead(given["teacher_weight"], None, 1.0, 2.0),
        rows=(given["row"], given["table"]),
        tile_elements=tile,
    ).total


def whole(given: dict[str, Tensor], scale: float, softcap: float | None) -> Tensor:
    student = oracle.logits(given["hidden"], given["weight"], given["bias"], scale, softcap)
    teacher = oracle.logits(given["teacher_hidden"], given["teacher_weight"], None, 1.0, 2.0).detach()
    numbers = torch.arange(len(student))
    return share(student, teacher, given["row"].double(), given["table"].double(), numbers).sum()


def leaves(given: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.clone().requires_grad_() for name, value in given.items()}


@pytest.mark.parametrize("tile", [1, 3 * (V_S + V_T), 4 * (V_S + V_T) + 5, 10**9])
@pytest.mark.parametrize(("scale", "softcap"), [(1.0, None), (0.5, 3.0)])
def test_value_and_gradients_equal_those_of_the_complete_matrices(tile, scale, softcap):
    mine, reference = leaves(inputs()), leaves(inputs())
    total, expected = ours(mine, tile, scale, softcap), whole(reference, scale, softcap)
    torch.testing.assert_close(total.double(), expected, **CLOSE)
    (3 * total).backward()
    (3 * expected).backward()
    for name in ("hidden", "weight", "bias", "row", "table"):
        torch.testing.assert_close(mine[name].grad, reference[name].grad, **CLOSE)
    assert mine["teacher_hidden"].grad is None
    assert mine["teacher_weight"].grad is None


@pytest.mark.parametrize("wanted", ["hidden", "weight", "bias", "row", "table"])
def test_each_gradient_alone(wanted):
    given, reference = inputs(), inputs()
    given[wanted].requires_grad_()
    reference[wanted].requires_grad_()
    ours(given, 3 * (V_S + V_T), 1.0, None).backward()
    whole(reference, 1.0, None).backward()
    torch.testing.assert_close(given[wanted].grad, reference[wanted].grad, **CLOSE)


def test_no_positions_give_zero_and_zero_gradients():
    given = leaves(inputs(0))
    total = ours(given, 100, 1.0, None)
    total.backward()
    assert total.item() == 0
    assert all(not given[name].grad.any() for name in ("hidden", "weight", "bias"))


def test_without_gradient_none_is_computed():
    given = leaves(inputs())
    calls = []

    def watching(student: Tensor, *rest: Tensor) -> Tensor:
        calls.append(student.requires_grad)
        return Share(student.sum(-1))

    with torch.no_grad():
        total = tiled_sum(watching, given["hidden"], LMHead(given["weight"])).total
    assert not total.requires_grad
    assert calls == [False]


def test_bfloat16_keeps_the_dtypes_of_its_inputs():
    given = {name: value.bfloat16().requires_grad_() for name, value in inputs().items()}
    total = ours(given, 5 * (V_S + V_T), 1.0, None)
    total.backward()
    assert total.dtype == torch.float32
    reference = leaves({name: value.detach().float() for name, value in given.items()})
    expected = whole(reference, 1.0, None)
    torch.testing.assert_close(total.double(), expected, rtol=0.05, atol=0.5)
    assert all(given[name].grad.dtype == torch.bfloat16 for name in ("hidden", "weight", "bias", "row", "table"))


class Allocations(TorchDispatchMode):
    """The size of the largest tensor that is made, in elements."""

    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        sizes = [leaf.numel() for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        self.largest = max([self.largest, *sizes])
        return out


def test_no_tensor_of_tokens_times_vocabulary_is_made():
    given = leaves(inputs(400))
    with Allocations() as seen:
        ours(given, 2 * (V_S + V_T), 1.0, None).backward()
    assert seen.largest <= 400 * max(H_S, H_T)
    assert seen.largest < 400 * min(V_S, V_T)


@pytest.mark.parametrize("piece", [1, 2 * (V_S + V_T), 10**9])
def test_pieces_of_a_tile_give_the_same(monkeypatch, piece):
    monkeypatch.setattr("crossdistill.ops.pieces.PIECE_ELEMENTS", piece)
    mine, reference = leaves(inputs()), leaves(inputs())
    ours(mine, 4 * (V_S + V_T), 0.5, 3.0).backward()
    whole(reference, 0.5, 3.0).backward()
    for name in ("hidden", "weight", "bias", "row", "table"):
        torch.testing.assert_close(mine[name].grad, reference[name].grad, **CLOSE)


@pytest.mark.parametrize("frozen", [(), ("weight", "bias")])
def test_second_derivatives_are_refused_not_left_out(frozen):
    given = {name: value.requires_grad_(name not in frozen) for name, value in inputs().items()}
    head, ids = LMHead(given["weight"], given["bias"]), torch.arange(N)
    losses = (
        ours(given, 4 * (V_S + V_T), 1.0, None),
        tiled_values(lambda logits, rows: logits.logsumexp(-1, keepdim=True), given["hidden"], head).sum(),
        token_logprobs(given["hidden"], head, ids).logprobs.sum(),
    )
    for loss in losses:
        with pytest.raises(InputError, match="no second derivative: differentiate it without create_graph"):
            torch.autograd.grad(loss, given["hidden"], create_graph=True)


def test_a_small_gradient_is_there_twice():
    given = leaves(inputs())
    total = ours(given, 4 * (V_S + V_T), 1.0, None)
    (3 * total).backward(retain_graph=True)
    once = given["weight"].grad.clone()
    (2 * total).backward()
    torch.testing.assert_close(given["weight"].grad, once * 5 / 3)


def test_a_large_gradient_is_scaled_in_place_and_there_once(monkeypatch):
    monkeypatch.setattr("crossdistill.ops.tiled._LARGE", V_S * H_S - 1)
    mine, reference = leaves(inputs()), leaves(inputs())
    total = ours(mine, 4 * (V_S + V_T), 1.0, None)
    (3 * total).backward(retain_graph=True)
    (3 * whole(reference, 1.0, None)).backward()
    torch.testing.assert_close(mine["weight"].grad, reference["weight"].grad, **CLOSE)
    with pytest.raises(InputError, match="the gradient of a large loss is there once"):
        total.backward()
