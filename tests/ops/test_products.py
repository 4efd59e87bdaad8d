"""Products with a head of some tokens, in blocks, compared with those of a copy of its rows."""

import pytest
import torch

from crossdistill.ops import LMHead, Share, chosen_logits, tiled_sum, token_logprobs
from crossdistill.ops.products import blocks_of, hidden_gradient, raw_into

N, V, H = 7, 41, 6
KEPT = torch.tensor([40, 3, 17, 0, 22, 9, 31, 5, 12, 28, 36])


@pytest.fixture(params=[1, 3 * H, 4 * H + 1, 10**6])
def block(request, monkeypatch):
    monkeypatch.setattr("crossdistill.ops.products.BLOCK_ELEMENTS", request.param)
    return request.param


def leaves(dtype=torch.float32):
    make = torch.Generator().manual_seed(0)
    shapes = (N, H), (V, H), (V,)
    return [torch.randn(*shape, generator=make).to(dtype).requires_grad_() for shape in shapes]


def squared_distance(logits, numbers):
    return Share((logits.softmax(-1) * logits.square() * (1 + numbers[:, None])).sum(-1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_values_and_gradients_are_those_of_a_copy(block, dtype):
    ours, theirs = leaves(dtype), leaves(dtype)
    for (hidden, weight, bias), cut in ((ours, True), (theirs, False)):
        head = LMHead(weight, bias, 0.5, 4.0)
        if cut:
            head = head.of_ids(KEPT)
            assert head.vocab_size == len(KEPT)
        else:
            head = LMHead(weight[KEPT], bias[KEPT], 0.5, 4.0)
        total = tiled_sum(squared_distance, hidden, head, tile_elements=3 * len(KEPT)).total
        ids = torch.arange(N)
        logprobs = token_logprobs(hidden, head, ids, tile_elements=2 * len(KEPT)).logprobs
        (2 * total + logprobs.sum() + chosen_logits(hidden, head, ids[:, None]).sum()).backward()
    close = {"rtol": 5e-2, "atol": 0.5} if dtype == torch.bfloat16 else {"rtol": 1e-5, "atol": 1e-5}
    for our, their in zip(ours, theirs, strict=True):
        torch.testing.assert_close(our.grad, their.grad, **close)


def test_blocks_are_the_rows_of_the_ids_in_order(block):
    _, weight, bias = leaves()
    found = list(blocks_of(LMHead(weight, bias).of_ids(KEPT)))
    assert torch.equal(torch.cat([one.ids for one in found]), KEPT)
    assert torch.equal(torch.cat([one.weight for one in found]), weight[KEPT])
    assert torch.equal(torch.cat([one.bias for one in found]), bias[KEPT])
    assert [one.columns.start for one in found] == [0, *[one.columns.stop for one in found[:-1]]]


def test_ids_of_ids_are_those_of_the_whole():
    hidden, weight, bias = leaves()
    twice = LMHead(weight, bias).of_ids(KEPT).of_ids(torch.tensor([2, 0]))
    torch.testing.assert_close(twice.logits(hidden), LMHead(weight, bias).logits(hidden)[:, [17, 40]])


def test_no_more_rows_are_copied_than_a_block_has(monkeypatch):
    hidden, weight, _ = (leaf.detach() for leaf in leaves())
    monkeypatch.setattr("crossdistill.ops.products.BLOCK_ELEMENTS", 2 * H)
    head, copied = LMHead(weight).of_ids(KEPT), []
    select = torch.Tensor.index_select

    def watched(values, dim, ids):
        copied.append(len(ids))
        return select(values, dim, ids)

    monkeypatch.setattr(torch.Tensor, "index_select", watched)
    out = torch.empty(N, len(KEPT))
    raw_into(head, hidden, out)
    hidden_gradient(head, out)
    assert sum(copied) == 2 * len(KEPT)
    assert max(copied) == 2
