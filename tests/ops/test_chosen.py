"""Logits of chosen tokens, compared with those of all tokens."""

import pytest
import torch
from torch import Tensor

from crossdistill.ops import LMHead
from crossdistill.ops.chosen import chosen_logits

N, K, H, V = 7, 5, 4, 11
IDS = torch.randint(0, V, (N, K), generator=torch.Generator().manual_seed(0))  # some of them twice per row


def leaves(dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(*size, generator=generator).to(dtype).requires_grad_() for size in ((N, H), (V, H), (V,))]


@pytest.mark.parametrize("tile_elements", [1, 3 * K * H, 10**6])
@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("with_bias", [True, False])
def test_values_and_gradients_are_those_of_all_logits(tile_elements, softcap, with_bias):
    hidden, weight, bias = leaves()
    head = LMHead(weight, bias if with_bias else None, scale=0.7, softcap=softcap)
    inputs = [hidden, weight, *([bias] if with_bias else [])]
    chosen, wanted = chosen_logits(hidden, head, IDS, tile_elements), head.logits(hidden).gather(1, IDS)
    torch.testing.assert_close(chosen, wanted)
    factors = torch.randn(N, K, dtype=torch.float64)
    grads = [torch.autograd.grad((values * factors).sum(), inputs) for values in (chosen, wanted)]
    torch.testing.assert_close(*grads)


def test_bfloat16_gives_float32_with_the_error_of_bfloat16():
    hidden, weight, bias = leaves(torch.bfloat16)
    chosen = chosen_logits(hidden, LMHead(weight, bias), IDS)
    assert chosen.dtype == torch.float32
    exact = LMHead(weight.float(), bias.float()).logits(hidden.float()).gather(1, IDS)
    torch.testing.assert_close(chosen, exact, rtol=0.02, atol=0.02)
    chosen.sum().backward()
    assert [leaf.grad.dtype for leaf in (hidden, weight, bias)] == [torch.bfloat16] * 3


def test_a_frozen_head_and_frozen_states_get_no_gradient():
    hidden, weight, _ = leaves()
    (grad,) = torch.autograd.grad(chosen_logits(hidden, LMHead(weight.detach()), IDS).sum(), hidden)
    torch.testing.assert_close(grad, weight[IDS].sum(1))
    (grad,) = torch.autograd.grad(chosen_logits(hidden.detach(), LMHead(weight), IDS).sum(), weight)
    assert grad.shape == weight.shape


@pytest.mark.parametrize("shape", [(0, K), (0, 0)])
def test_no_positions_give_zero_gradients(shape):
    hidden, weight, bias = leaves()
    chosen = chosen_logits(hidden[:0], LMHead(weight, bias), torch.zeros(shape, dtype=torch.long))
    assert chosen.shape == shape
    chosen.sum().backward()
    assert not weight.grad.any()
    assert not bias.grad.any()
