"""The head read from a model, compared with the model's own logits."""

import pytest
import torch
from torch import nn

from crossdistill import InputError
from crossdistill.findings import FindingError
from crossdistill.ops import LMHead, causal_lm, last_hidden_states, token_logprobs
from tests import tiny_models
from tests.oracles import logprobs as oracle

IDS = torch.tensor([[7, 3, 11, 2, 0, 39, 5], [1, 1, 30, 4, 9, 8, 6]])


def own_and_ours(model) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        own = model(input_ids=IDS).logits
        ours = LMHead.from_model(model).logits(last_hidden_states(model, IDS, torch.ones_like(IDS)).flatten(0, 1))
    return own.flatten(0, 1), ours


@pytest.mark.parametrize("name", tiny_models.NAMES)
def test_logits_are_the_models_own(name):
    model = tiny_models.build(name)
    LMHead.from_model(model).verify(model)
    own, ours = own_and_ours(model)
    torch.testing.assert_close(ours, own, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "scale", "softcap", "bias"),
    [
        ("llama", 1.0, None, False),
        ("tied_qwen", 1.0, None, False),
        ("gemma2", 1.0, 3.0, False),
        ("gemma3", 1.0, 2.0, False),
        ("cohere", 0.25, None, False),
        ("granite", 0.25, None, False),
        ("gpt2", 1.0, None, False),
        ("phi", 1.0, None, True),
    ],
)
def test_the_head_of_each_architecture(name, scale, softcap, bias):
    head = LMHead.from_model(tiny_models.build(name))
    assert (head.scale, head.softcap, head.bias is not None, head.vocab_size) == (scale, softcap, bias, 40)


@pytest.mark.parametrize(
    ("name", "change"),
    [("gemma2", {"softcap": None}), ("cohere", {"scale": 1.0}), ("granite", {"scale": 4.0}), ("phi", {"bias": None})],
)
def test_an_incomplete_head_is_refused(name, change):
    model = tiny_models.build(name)
    head = LMHead.from_model(model)
    fields = {"weight": head.weight, "bias": head.bias, "scale": head.scale, "softcap": head.softcap} | change
    with pytest.raises(InputError, match=r"the logits of \w+ForCausalLM are not its hidden states times its output"):
        LMHead(**fields).verify(model)


@pytest.mark.parametrize(
    "rewrite",
    [
        lambda logits: logits * 1.01,
        lambda logits: logits - logits.mean(-1, keepdim=True),
        lambda logits: logits.roll(1, -1),
        lambda logits: logits.index_fill(-1, torch.tensor([39]), -torch.inf),
        lambda logits: logits * torch.nan,
    ],
    ids=["scaled", "centred", "permuted", "masked", "nan"],
)
def test_a_model_with_other_logits_is_refused(monkeypatch, rewrite):
    model = tiny_models.build("llama")
    forward = type(model).forward

    def rewritten(self, *args, **kwargs):
        output = forward(self, *args, **kwargs)
        output.logits = rewrite(output.logits)
        return output

    monkeypatch.setattr(type(model), "forward", rewritten)
    with pytest.raises(InputError, match="this architecture is not supported; use one whose head is linear"):
        LMHead.from_model(model).verify(model)


@pytest.mark.parametrize(
    ("layer", "name"),
    [(nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 40)), "Sequential"), (nn.Conv1d(16, 40, 1), "Conv1d")],
)
def test_an_output_layer_that_is_no_matrix_is_refused(layer, name):
    model = tiny_models.build("llama")
    model.lm_head = layer
    with pytest.raises(FindingError, match=f"the output layer of LlamaForCausalLM is a {name}, not one matrix: this"):
        LMHead.from_model(model)


# ---- blame: what is not the head's fault ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model.embed_tokens.weight", "model.layers.1.mlp.down_proj.weight", "lm_head.weight"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_weight_that_is_not_finite_is_named(name, value):
    model = tiny_models.build("llama")
    model.get_parameter(name).data[-1, 0] = value
    model.get_parameter(name).data[1, 0] = value
    with pytest.raises(FindingError, match=f"the weight {name} of LlamaForCausalLM has NaN or infinite values"):
        LMHead.from_model(model).verify(model)


@pytest.mark.parametrize(("dtype", "way_out"), [(torch.float16, "Load it in bfloat16"), (torch.float32, "too large")])
def test_an_overflow_is_named_with_its_layer_and_the_way_out(dtype, way_out):
    model = tiny_models.build("llama").to(dtype)
    model.model.layers[0].mlp.up_proj.weight.data.fill_(torch.finfo(dtype).max / 2)
    with pytest.raises(FindingError, match=rf"model\.layers\.0\.mlp\.\w+ .*overflows, in \w+\. .*{way_out}"):
        LMHead.from_model(model).verify(model)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("name", tiny_models.NAMES)
def test_half_precision_is_no_unsupported_head(name, dtype):
    model = tiny_models.build(name).to(dtype)
    LMHead.from_model(model).verify(model)


def test_logits_that_rounding_destroys_are_a_matter_of_the_dtype(monkeypatch):
    model = tiny_models.build("phi")
    with torch.no_grad():
        model.model.final_layernorm.weight[0], model.model.final_layernorm.bias[0] = 0, 1
        model.lm_head.weight[:, 0], model.lm_head.bias[:] = 1000, -1000  # cancel
    layer = model.lm_head
    monkeypatch.setattr(layer, "forward", lambda x: nn.functional.linear(x, layer.weight) + layer.bias)
    LMHead.from_model(model).verify(model)
    coarse = model.bfloat16()
    with pytest.raises(FindingError, match=r"lost in rounding, known to .* in bfloat16: load it in float32"):
        LMHead.from_model(coarse).verify(coarse)


def test_dropout_is_no_unsupported_head_and_the_mode_is_kept():
    model = lora(tiny_models.build("llama"), target_modules=["q_proj"], lora_dropout=0.5).train()
    LMHead.from_model(model).verify(model)
    assert all(module.training for module in model.modules())


def test_noise_in_evaluation_mode_is_named():
    model = tiny_models.build("llama")
    model.model.layers[0].mlp.register_forward_hook(lambda module, args, output: torch.dropout(output, 0.5, True))
    with pytest.raises(FindingError, match=r"because model\.layers\.0\.mlp \(LlamaMLP\) is random there too"):
        LMHead.from_model(model).verify(model)


@pytest.mark.parametrize("name", tiny_models.NAMES)
def test_gradients_reach_the_parameters_of_a_real_model_as_through_its_own_logits(name):
    """Also with tied weights: the gradients of the head and of the embedding add up."""
    ours, theirs = tiny_models.build(name), tiny_models.build(name)
    targets = IDS[:, 1:].flatten()
    states = last_hidden_states(ours, IDS, torch.ones_like(IDS))[:, :-1].flatten(0, 1)
    token_logprobs(states, LMHead.from_model(ours), targets, 0.8, tile_elements=160).logprobs.sum().backward()
    table = oracle.log_softmax(theirs(input_ids=IDS).logits[:, :-1].flatten(0, 1), 0.8)
    table[torch.arange(len(targets)), targets].sum().backward()
    for (parameter_name, our), their in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert our.grad is not None, parameter_name
        assert torch.allclose(our.grad, their.grad, rtol=1e-3, atol=1e-4), parameter_name


def lora(model, **options):
    peft = pytest.importorskip("peft")
    return peft.get_peft_model(model, peft.LoraConfig(r=2, lora_alpha=8, init_lora_weights=False, **options)).eval()


def test_a_lora_model_uses_its_adapters_and_trains_them():
    plain = tiny_models.build("llama")
    before = plain(input_ids=IDS).logits
    model = lora(tiny_models.build("llama"), target_modules=["q_proj", "down_proj"])
    assert causal_lm(model) is model.get_base_model()
    LMHead.from_model(model).verify(model)
    own, ours = own_and_ours(model)
    torch.testing.assert_close(ours, own, rtol=1e-5, atol=1e-5)
    assert (own - before.flatten(0, 1)).abs().max() > 0.1  # the adapters have an effect
    states = last_hidden_states(model, IDS, torch.ones_like(IDS)).flatten(0, 1)
    token_logprobs(states, LMHead.from_model(model), IDS.flatten()).logprobs.sum().backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    assert gradients
    assert all("lora_" in name and gradient is not None for name, gradient in gradients.items())


def test_a_head_trained_in_addition_to_adapters_is_the_one_in_use():
    model = lora(tiny_models.build("llama"), target_modules=["q_proj"], modules_to_save=["lm_head"])
    with torch.no_grad():
        model.get_base_model().get_output_embeddings().weight.add_(1.0)
    LMHead.from_model(model).verify(model)
    own, ours = own_and_ours(model)
    torch.testing.assert_close(ours, own, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("init", [True, False])
def test_an_adapter_on_the_head_itself_is_refused(init):
    """Even while it is still zero: it would never get a gradient."""
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=2, target_modules=["q_proj", "lm_head"], init_lora_weights=init)
    model = peft.get_peft_model(tiny_models.build("llama"), config)
    with pytest.raises(InputError, match="an adapter on the output layer is not supported: take it out of"):
        LMHead.from_model(model)


@pytest.mark.parametrize("name", tiny_models.NAMES)
def test_padding_on_the_right_changes_no_state(name):
    model = tiny_models.build(name)
    mask = torch.ones_like(IDS)
    mask[1, 4:] = 0
    padded = last_hidden_states(model, IDS.masked_fill(mask == 0, 0), mask)
    alone = last_hidden_states(model, IDS[1:, :4], torch.ones_like(IDS[1:, :4]))
    torch.testing.assert_close(padded[1, :4], alone[0], rtol=1e-5, atol=1e-5)
