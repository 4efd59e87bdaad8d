"""Noise of training mode: all its forms are found and switched off, and nothing that evaluation needs."""

import json
from typing import Any

import pytest
import torch
import transformers
from torch import nn

from crossdistill.distill.noise import named, noise_sources, switch_off
from crossdistill.ops.mode import in_mode
from tests import tiny_models

IDS = torch.tensor([[7, 3, 11, 2, 0, 39, 5, 8, 1, 9]])


def is_random(model: Any) -> bool:
    with torch.no_grad(), in_mode(model, training=True):
        return any(not torch.equal(model(input_ids=IDS).logits, model(input_ids=IDS).logits) for _ in range(10))


def evaluated(model: Any) -> torch.Tensor:
    with torch.no_grad(), in_mode(model, training=False):
        return model(input_ids=IDS).logits


def opt() -> Any:
    sizes = {"hidden_size": 16, "ffn_dim": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    numbers = {"dropout": 0.1, "attention_dropout": 0.2, "layerdrop": 0.3}
    config = transformers.OPTConfig(
        vocab_size=40, max_position_embeddings=64, word_embed_proj_dim=16, pad_token_id=None, **numbers, **sizes
    )
    return transformers.OPTForCausalLM(config).eval()


def mixtral() -> Any:
    config = transformers.MixtralConfig(
        vocab_size=40, num_local_experts=2, router_jitter_noise=0.3, **tiny_models.SIZES, pad_token_id=None
    )
    return transformers.MixtralForCausalLM(config).eval()


def llama(p: float = 0.02) -> Any:
    model = tiny_models.build("llama")
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = p
    return model


def gpt2() -> Any:
    return tiny_models.build("gpt2")  # resid_pdrop and its like are 0.1 by default


class ReadsConfig(nn.Module):
    """Dropout whose number is read in the configuration at each pass."""

    def __init__(self, inner: nn.Module, config: Any):
        super().__init__()
        self.inner, self.config = inner, config

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return nn.functional.dropout(self.inner(*args, **kwargs), self.config.residual_dropout, self.training)


def reads_config() -> Any:
    model = tiny_models.build("llama")
    model.config.residual_dropout = 0.4
    model.model.layers[0].mlp = ReadsConfig(model.model.layers[0].mlp, model.config)
    return model


class DropPath(nn.Module):
    """Noise under a name of its own, in a layer that is not torch's."""

    def __init__(self, inner: nn.Module, prob: float):
        super().__init__()
        self.inner, self.prob = inner, prob

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.inner(x)
        return x * (torch.rand(x.shape[:2]) >= self.prob)[..., None] if self.training else x


def drop_path() -> Any:
    model = tiny_models.build("llama")
    model.model.layers[1].mlp = DropPath(model.model.layers[1].mlp, 0.5)
    return model


def neftune() -> Any:
    from transformers.integrations.neftune import neftune_post_forward_hook

    model = tiny_models.build("llama")
    model.model.embed_tokens.neftune_noise_alpha = 5
    model.model.embed_tokens.register_forward_hook(neftune_post_forward_hook)
    return model


def adapters(kind: str, **options: Any) -> Any:
    peft = pytest.importorskip("peft")
    config = getattr(peft, kind)(r=2, target_modules=["q_proj", "down_proj"], **options)
    return peft.get_peft_model(tiny_models.build("llama"), config).eval()


MODELS = {
    "layers and numbers of OPT": (opt, {"dropout", "layerdrop"}),
    "a router's jitter": (mixtral, {"jitter_noise"}),
    "a small number": (llama, {"attention_dropout"}),
    "layers": (gpt2, {"drop", "attn_dropout", "resid_dropout", "dropout"}),
    "read in the configuration": (reads_config, {"residual_dropout"}),
    "a layer of its own": (drop_path, {"prob"}),
    "on embeddings": (neftune, {"neftune_noise_alpha"}),
    "LoRA": (lambda: adapters("LoraConfig", lora_dropout=0.3, init_lora_weights=False), {"lora_dropout"}),
    "LoHa": (lambda: adapters("LoHaConfig", rank_dropout=0.3, module_dropout=0.2, init_weights=False), None),
}


@pytest.mark.parametrize("name", MODELS)
def test_noise_is_switched_off_and_evaluation_stays_as_it_was(name):
    build, labels = MODELS[name]
    model = build()
    before = evaluated(model)
    assert is_random(model)
    found = switch_off(model)
    assert not is_random(model)
    assert torch.equal(evaluated(model), before)
    assert labels is None or {source.label for source in found} == labels
    assert not model.training


def test_a_model_without_noise_is_left_alone():
    model = tiny_models.build("llama")
    state = torch.get_rng_state()
    assert switch_off(model) == [] == noise_sources(model)
    assert torch.equal(torch.get_rng_state(), state)


class Selecting(nn.Module):
    """A number that is called noise, and that evaluation depends on as well."""

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner, self.router_jitter_noise = inner, 0.3

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x) * (1 + self.router_jitter_noise)


class BreakingTies(Selecting):
    """The like of PhiMoE's router: two experts that are nearly as good as each other are both used."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = torch.tensor([1.0, 0.5])  # no near ties in these tokens, but in others
        return self.inner(x) * ((scores.max() - scores) <= self.router_jitter_noise).sum()


@pytest.mark.parametrize("kind", [Selecting, BreakingTies])
def test_a_number_that_evaluation_needs_is_kept(kind):
    model = llama(0.1)
    model.model.layers[0].mlp = kind(model.model.layers[0].mlp)
    before = evaluated(model)
    assert {source.label for source in switch_off(model)} == {"attention_dropout"}
    assert model.model.layers[0].mlp.router_jitter_noise == 0.3
    assert torch.equal(evaluated(model), before)


@pytest.mark.parametrize("build", [opt, reads_config, gpt2], ids=["numbers", "configuration", "layers"])
def test_the_model_is_saved_with_its_own_numbers(build, tmp_path):
    model = build()
    numbers = {name: value for name, value in model.config.to_dict().items() if "drop" in name}
    switch_off(model)
    model.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    assert numbers and {name: saved.get(name) for name in numbers} == numbers


@pytest.mark.parametrize("attribute", ["dropout_keep_prob", "noise_steps", "num_dropout_samples"])
def test_other_numbers_with_such_names_are_no_noise(attribute):
    layer = nn.Linear(2, 2)
    setattr(layer, attribute, 0.9)
    assert not noise_sources(layer)


def test_a_long_list_is_cut():
    model = nn.Sequential(*(nn.Dropout(p / 10) for p in range(1, 8)))
    assert named(noise_sources(model)) == "p = 0.1, p = 0.2, p = 0.3, p = 0.4, 3 more"
