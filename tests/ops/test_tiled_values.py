"""Values of tiles of logits, compared with the complete matrix in float64, with gradients."""

import pytest
import torch

from crossdistill.ops import LMHead, tiled_values
from tests.oracles import logprobs as oracle

N, V, H = 9, 23, 5
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def leaves(num=N):
    make = torch.Generator().manual_seed(0)
    shapes = (num, H), (V, H), (V,)
    return [torch.randn(*shape, generator=make).requires_grad_() for shape in shapes]


def values(logits, rows):
    """Of different rows different columns, and one that needs all of a row."""
    numbers = torch.arange(rows.start, rows.stop) % V
    return torch.stack([logits.gather(1, numbers[:, None])[:, 0].square(), logits.logsumexp(-1)], -1)


def coupled(found):
    """Rows that need each other."""
    return (found.cumsum(0).tanh() * torch.arange(1.0, 2 * len(found) + 1).view(-1, 2).to(found)).sum()


@pytest.mark.parametrize("piece", [1, 2 * V, 10**6])
@pytest.mark.parametrize("tile", [1, 3 * V + 1, 10**6])
@pytest.mark.parametrize("known", [False, True])
def test_values_and_gradients_equal_those_of_the_complete_matrix(monkeypatch, piece, tile, known):
    monkeypatch.setattr("crossdistill.ops.pieces.PIECE_ELEMENTS", piece)
    ours, theirs = leaves(), leaves()
    whole = oracle.logits(*theirs, 0.5, 3.0)
    expected = values(whole, slice(0, N))
    given = expected.detach().float() if known else None
    found = tiled_values(values, ours[0], LMHead(*ours[1:], 0.5, 3.0), given, tile)
    torch.testing.assert_close(found.double(), expected, **CLOSE)
    coupled(found).backward()
    coupled(expected).backward()
    for our, their in zip(ours, theirs, strict=True):
        torch.testing.assert_close(our.grad, their.grad, **CLOSE)


@pytest.mark.parametrize("view", [lambda logits, rows: logits, lambda logits, rows: logits[:, 2:4]])
def test_a_function_may_return_a_view_of_the_logits(monkeypatch, view):
    """Their memory is used again for the next tile."""
    monkeypatch.setattr("crossdistill.ops.pieces.PIECE_ELEMENTS", V)
    ours, theirs = leaves(), leaves()
    found = tiled_values(view, ours[0], LMHead(*ours[1:]), tile_elements=2 * V)
    expected = view(oracle.logits(*theirs, 1.0, None), slice(0, N))
    torch.testing.assert_close(found.double(), expected, **CLOSE)
    found.square().sum().backward()
    expected.square().sum().backward()
    for our, their in zip(ours, theirs, strict=True):
        torch.testing.assert_close(our.grad, their.grad, **CLOSE)


@pytest.mark.parametrize("wanted", range(3))
def test_each_gradient_alone(wanted):
    ours, theirs = leaves(), leaves()
    for given in (ours, theirs):
        for number, leaf in enumerate(given):
            leaf.requires_grad_(number == wanted)
    coupled(tiled_values(values, ours[0], LMHead(*ours[1:]))).backward()
    coupled(values(oracle.logits(*theirs, 1.0, None), slice(0, N))).backward()
    torch.testing.assert_close(ours[wanted].grad, theirs[wanted].grad, **CLOSE)
    assert all(leaf.grad is None for number, leaf in enumerate(ours) if number != wanted)


def test_known_values_cost_no_product_before_the_backward_pass():
    hidden, weight, _ = leaves()

    def refused(logits, rows):
        raise AssertionError("the values are known")

    assert tiled_values(refused, hidden, LMHead(weight), torch.ones(N, 2)).sum().item() == 2 * N


def test_no_positions_give_no_values_and_zero_gradients():
    hidden, weight, bias = leaves(0)
    found = tiled_values(values, hidden, LMHead(weight, bias))
    assert found.shape == (0, 2)
    found.sum().backward()
    assert not weight.grad.any()
    assert not bias.grad.any()
