"""What passes through a wrapper that casts keeps its precision, and the wrapper still sees it."""

import pytest
import torch
from torch import Tensor, nn

from crossdistill.train.redirection import Redirection


class Casting(nn.Module):
    """As FSDP2 with bfloat16 does to what goes in and comes out."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module
        self.seen: list[bool] = []

    def forward(self, *args: Tensor) -> object:
        out = self.module(*(value.bfloat16() for value in args))
        values = out if isinstance(out, tuple) else (out,)
        self.seen += [value.requires_grad for value in values if value is not None]
        cast = tuple(value.bfloat16() if value is not None and value.is_floating_point() else value for value in values)
        return cast if isinstance(out, tuple) else cast[0]


def test_results_and_arguments_are_not_rounded():
    module = nn.Linear(1, 1)
    wrapper, third = Casting(module), torch.tensor([1 / 3])

    def method(model, value, divided_by):
        return (model.weight * value).sum() / divided_by, None, value > 0

    loss, nothing, mask = Redirection()(wrapper, module, method, module, third, divided_by=torch.tensor(7.0))
    assert loss.item() == ((module.weight * third).sum() / 7).item()
    assert nothing is None
    assert mask.tolist() == [True]
    loss.backward()
    assert module.weight.grad.item() == pytest.approx(1 / 21, rel=1e-6)
    assert wrapper.seen == [True, False]


def test_a_single_result():
    module = nn.Identity()
    assert Redirection()(Casting(module), module, lambda: torch.tensor(1 / 3)).item() == torch.tensor(1 / 3).item()
