"""Log-probabilities, entropy and gradients, compared with the complete matrix of logits in float64.

The implementation computes in float32; relative 2e-5 is about ten times the rounding error of a sum of 97 terms.
"""

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from crossdistill.ops import LMHead, log_mass, token_logprobs
from tests.oracles import logprobs as oracle

V, H, N = 97, 16, 10
CLOSE = {"rtol": 2e-5, "atol": 2e-6}
SETTINGS = [
    pytest.param((scale, softcap, temperature, bias), id=f"scale={scale}-cap={softcap}-T={temperature}-bias={bias}")
    for scale, softcap, temperature, bias in [
        (1.0, None, 1.0, False),
        (1.0, None, 1.0, True),
        (0.25, None, 1.0, False),
        (1.0, 3.0, 1.0, False),
        (1.0, None, 0.7, False),
        (0.5, 4.0, 1.7, True),
    ]
]
TILES = [1, V - 1, V, 3 * V, 4 * V + 5, N * V, 10**9]


def inputs(num: int = N, bias: bool = True, seed: int = 0) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    make = torch.Generator().manual_seed(seed)
    hidden = torch.randn(num, H, generator=make)
    weight = torch.randn(V, H, generator=make)
    offsets = torch.randn(V, generator=make) if bias else None
    return hidden, weight, offsets, torch.randint(V, (num,), generator=make)


def leaves(*tensors: Tensor | None) -> list[Tensor | None]:
    return [None if tensor is None else tensor.clone().requires_grad_() for tensor in tensors]


def oracle_logprobs(hidden, weight, bias, ids, *, scale=1.0, softcap=None, temperature=1.0) -> tuple[Tensor, Tensor]:
    table = oracle.log_softmax(oracle.logits(hidden, weight, bias, scale, softcap), temperature)
    return table[torch.arange(len(ids)), ids], oracle.entropy(table) if len(ids) else table.new_zeros(0)


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("settings", SETTINGS)
def test_values_and_gradients_equal_those_of_the_complete_matrix(settings, tile):
    scale, softcap, temperature, bias = settings
    *parameters, ids = inputs(bias=bias)
    ours, theirs = leaves(*parameters), leaves(*parameters)
    result = token_logprobs(ours[0], LMHead(ours[1], ours[2], scale, softcap), ids, temperature, tile)
    expected, entropy = oracle_logprobs(*theirs, ids, scale=scale, softcap=softcap, temperature=temperature)
    assert result.logprobs.dtype == result.entropy.dtype == torch.float32
    torch.testing.assert_close(result.logprobs.double(), expected, **CLOSE)
    torch.testing.assert_close(result.entropy.double(), entropy.detach(), **CLOSE)
    upstream = torch.linspace(-2, 3, N, dtype=torch.float64)
    (result.logprobs * upstream.float()).sum().backward()
    (expected * upstream).sum().backward()
    for our, their in zip(ours, theirs, strict=True):
        if our is not None:
            torch.testing.assert_close(our.grad, their.grad, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize(
    "wanted", [(True, False, False), (False, True, False), (False, False, True), (True, True, True)]
)
def test_only_the_wanted_gradients_are_computed(wanted):
    *parameters, ids = inputs()
    ours, theirs = leaves(*parameters), leaves(*parameters)
    for tensor, want in zip([*ours, *theirs], [*wanted, *wanted], strict=True):
        tensor.requires_grad_(want)
    token_logprobs(ours[0], LMHead(ours[1], ours[2]), ids, tile_elements=3 * V).logprobs.sum().backward()
    oracle_logprobs(*theirs, ids)[0].sum().backward()
    for our, their, want in zip(ours, theirs, wanted, strict=True):
        assert (our.grad is not None) == want
        if want:
            torch.testing.assert_close(our.grad, their.grad, rtol=1e-4, atol=2e-5)


def test_a_tied_weight_gets_the_gradient_of_both_of_its_uses():
    _, weight, _, ids = inputs()
    ours, theirs = leaves(weight, weight)
    token_logprobs(torch.tanh(ours[ids]), LMHead(ours), ids.flip(0)).logprobs.sum().backward()
    oracle_logprobs(torch.tanh(theirs[ids]), theirs, None, ids.flip(0))[0].sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=2e-5)


def test_entropy_is_constant():
    hidden, weight, _, ids = inputs()
    result = token_logprobs(hidden.requires_grad_(), LMHead(weight), ids)
    assert result.logprobs.requires_grad
    assert not result.entropy.requires_grad


def test_no_positions_give_empty_results_and_gradients_of_zero():
    hidden, weight, bias, ids = inputs(num=0)
    hidden, weight, bias = leaves(hidden, weight, bias)
    result = token_logprobs(hidden, LMHead(weight, bias), ids)
    assert result.logprobs.shape == result.entropy.shape == (0,)
    result.logprobs.sum().backward()
    assert hidden.grad.shape == (0, H)
    assert weight.grad.eq(0).all()
    assert bias.grad.eq(0).all()


def test_very_sharp_distributions_stay_finite():
    hidden, weight, _, ids = inputs()
    hidden = (hidden * 1000).requires_grad_()
    result = token_logprobs(hidden, LMHead(weight), ids)
    expected, entropy = oracle_logprobs(hidden, weight, None, ids)
    torch.testing.assert_close(result.logprobs.double(), expected, **CLOSE)
    torch.testing.assert_close(result.entropy.double(), entropy.nan_to_num(), rtol=0, atol=1e-3)
    result.logprobs.sum().backward()
    assert hidden.grad.isfinite().all()


def test_bfloat16_is_as_exact_as_without_tiles():
    """The tolerance is the error of the plain bfloat16 form itself against float64."""
    hidden, weight, bias, ids = (t.bfloat16() if t.is_floating_point() else t for t in inputs())
    ours, plain, exact = (leaves(hidden, weight, bias) for _ in range(3))
    result = token_logprobs(ours[0], LMHead(ours[1], ours[2], softcap=5.0), ids, tile_elements=3 * V).logprobs
    raw = torch.nn.functional.linear(*plain).float()
    reference = torch.log_softmax(5 * torch.tanh(raw / 5), -1)[torch.arange(N), ids]
    expected = oracle_logprobs(*exact, ids, softcap=5.0)[0]
    torch.testing.assert_close(result, reference, rtol=1e-6, atol=1e-6)
    for value in (result, reference, expected):
        value.sum().backward()
    for our, by_autograd, true in zip(ours, plain, exact, strict=True):
        assert our.grad.dtype == torch.bfloat16
        own_error = (by_autograd.grad.double() - true.grad.double()).abs().max()
        assert (our.grad.double() - true.grad.double()).abs().max() <= 1.5 * own_error + 1e-3


class Largest(TorchDispatchMode):
    """The size of the largest tensor that any operation returns, in elements."""

    def __init__(self) -> None:
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        sizes = [leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        self.numel = max([self.numel, *sizes])
        return result


def largest_tensors(num: int, function) -> tuple[int, int]:
    """Sizes of the largest tensors in the forward and backward pass."""
    *parameters, ids = inputs(num)
    ours = leaves(*parameters)
    with Largest() as forward:
        total = function(*ours, ids).sum()
    with Largest() as backward:
        total.backward()
    return forward.numel, backward.numel


def test_no_tensor_of_all_positions_by_the_vocabulary_exists():
    num, rows = 200, 3
    allowed = max(rows * V, num * H, V * H)
    assert allowed < num * V / 5

    def tiled(hidden, weight, bias, ids):
        return token_logprobs(hidden, LMHead(weight, bias, 0.5, 3.0), ids, 0.9, rows * V).logprobs

    def whole(hidden, weight, bias, ids):
        return oracle_logprobs(hidden, weight, bias, ids)[0]

    assert max(largest_tensors(num, tiled)) <= allowed
    assert min(largest_tensors(num, whole)) >= num * V  # the measurement does detect one


def test_log_mass_holds_no_more_than_a_tile(monkeypatch):
    monkeypatch.setattr("crossdistill.ops.logprobs.TILE_ELEMENTS", 3 * V)
    hidden, weight, _, _ = inputs(200)
    with Largest() as mode:
        log_mass(hidden, LMHead(weight), torch.tensor([1, 2]))
    assert mode.numel <= max(3 * V, V * H, 200 * H)


@pytest.mark.parametrize("ids", [[5], [0, 96], [3, 1, 4, 15], list(range(V))])
@pytest.mark.parametrize("rows", [1, 3, 1000])
@pytest.mark.parametrize("settings", SETTINGS)
def test_log_mass_is_the_log_of_the_summed_probabilities(monkeypatch, settings, rows, ids):
    scale, softcap, temperature, bias = settings
    monkeypatch.setattr("crossdistill.ops.logprobs.TILE_ELEMENTS", rows * V)
    hidden, weight, offsets, _ = inputs(bias=bias)
    mass = log_mass(hidden, LMHead(weight, offsets, scale, softcap), torch.tensor(ids), temperature)
    probabilities = oracle.log_softmax(oracle.logits(hidden, weight, offsets, scale, softcap), temperature).exp()
    expected = torch.stack([sum(row[k] for k in ids).log() for row in probabilities])
    assert mass.dtype == torch.float32
    torch.testing.assert_close(mass.double(), expected, **CLOSE)


def test_log_mass_of_no_positions_is_empty_and_it_never_carries_gradient():
    hidden, weight, _, _ = inputs()
    assert log_mass(hidden[:0], LMHead(weight), torch.tensor([1])).shape == (0,)
    assert not log_mass(hidden.requires_grad_(), LMHead(weight.requires_grad_()), torch.tensor([1])).requires_grad
