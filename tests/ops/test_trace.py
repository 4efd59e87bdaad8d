"""The first layer that is random, computes something else in training mode, or is not finite."""

import pytest
import torch
from torch import nn

from crossdistill.ops.mode import in_mode
from crossdistill.ops.trace import first_difference, first_not_finite, first_weight_not_finite
from tests import tiny_models

IDS = torch.tensor([[7, 3, 11, 2]])


class Inside(nn.Module):
    """Noise between two layers, from no module of its own."""

    def __init__(self, p: float = 0.5):
        super().__init__()
        self.first, self.second, self.p = nn.Linear(8, 8), nn.Linear(8, 8), p

    def forward(self, x):
        return self.second(nn.functional.dropout(self.first(x), self.p, self.training))


class Skipping(nn.Module):
    """Layerdrop: a layer is not always called."""

    def __init__(self):
        super().__init__()
        self.layer, self.calls = nn.Linear(8, 8), 0

    def forward(self, x):
        self.calls += 1
        return self.layer(x) if self.calls % 2 else x


def passes(model, x=None):
    x = torch.ones(5, 8) if x is None else x
    return lambda: model(x)


@pytest.mark.parametrize(
    ("layer", "name"),
    [(nn.Dropout(0.5), "1 (Dropout)"), (Inside(), "1 (Inside)"), (Skipping(), "1 (Skipping)")],
    ids=["a layer", "inside a layer", "a layer left out"],
)
def test_the_innermost_source_of_noise_is_named(layer, name):
    model = nn.Sequential(nn.Linear(8, 8), layer, nn.Linear(8, 8))
    assert first_difference(model, passes(model), passes(model)) == name


def test_nothing_is_named_without_noise_and_no_hook_is_left():
    model = tiny_models.build("llama")
    assert first_difference(model, passes(model, IDS), passes(model, IDS)) is None
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_attention_dropout_is_found_inside_its_layer():
    model = tiny_models.build("llama").train()
    model.model.layers[1].self_attn.attention_dropout = 0.5
    found = first_difference(model, passes(model, IDS), passes(model, IDS))
    assert found == "model.layers.1.self_attn (LlamaAttention)"


def test_hooks_are_removed_after_an_error():
    model = Inside()
    with pytest.raises(RuntimeError):
        first_not_finite(model, passes(model, torch.ones(5, 3)))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_the_first_layer_that_overflows_is_named_with_its_dtype():
    model = tiny_models.build("llama").half()
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight.fill_(6e4)
    assert first_not_finite(model, passes(model, IDS)) == ("model.layers.1.mlp.up_proj (Linear)", torch.float16)
    assert first_weight_not_finite(model) is None


@pytest.mark.parametrize(("dtype", "largest"), [(torch.float16, 6e4), (torch.bfloat16, 3e38), (torch.float32, 3e38)])
def test_finite_weights_whose_sum_overflows_are_finite(dtype, largest):
    model = torch.nn.Linear(64, 64, dtype=dtype)
    torch.nn.init.constant_(model.weight, largest)
    assert not model.weight.sum().isfinite()
    assert first_weight_not_finite(model) is None
    with torch.no_grad():
        model.bias[:2] = torch.tensor([torch.inf, -torch.inf])
    assert first_weight_not_finite(model) == ("bias", dtype)
    with torch.no_grad():
        model.weight[3, 3] = torch.nan
    assert first_weight_not_finite(model) == ("weight", dtype)


def test_each_module_keeps_its_own_mode():
    model = tiny_models.build("llama").train()
    model.model.norm.eval()
    with pytest.raises(ZeroDivisionError), in_mode(model, training=False):
        assert not any(module.training for module in model.modules())
        raise ZeroDivisionError
    assert [name for name, module in model.named_modules() if not module.training] == ["model.norm"]
