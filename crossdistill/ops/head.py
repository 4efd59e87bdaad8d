"""The last layer of a language model: from hidden states to logits.

Shapes: N positions, H hidden size, V vocabulary.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from crossdistill.errors import InputError
from crossdistill.ops.backbone import causal_lm, last_hidden_states


@dataclass(frozen=True)
class LMHead:
    """``logits = cap * tanh(scale * (hidden @ weight.T + bias) / cap)``, without the tanh if `softcap` is None.

    Attributes:
        weight: [V, H].
        bias: [V], or None.
        scale: the logit scale of Cohere's and Granite's models.
        softcap: the soft cap of Gemma's models, or None.

    Example:
        >>> head = LMHead(weight=torch.eye(3), scale=2.0)
        >>> head.vocab_size, head.logits(torch.tensor([[0.0, 1.0, 2.0]])).tolist()
        (3, [[0.0, 2.0, 4.0]])
    """

    weight: Tensor
    bias: Tensor | None = None
    scale: float = 1.0
    softcap: float | None = None

    @classmethod
    def from_model(cls, model: Any) -> "LMHead":
        """The head of a Hugging Face causal language model, or of a PEFT model around one.

        Raises:
            InputError: the output layer itself has an adapter, so its weight is not the whole layer.
        """
        model = causal_lm(model)
        layer, config = model.get_output_embeddings(), model.config.get_text_config()
        if hasattr(layer, "base_layer"):
            raise InputError(
                "an adapter on the output layer is not supported: take it out of the adapter's target_modules, or list "
                "it in modules_to_save to train the whole layer."
            )
        scale = getattr(config, "logit_scale", None) or 1.0
        if getattr(config, "logits_scaling", None):
            scale = 1.0 / config.logits_scaling
        bias = getattr(layer, "bias", None)
        return cls(
            full_tensor(layer.weight),
            None if bias is None else full_tensor(bias),
            scale,
            getattr(config, "final_logit_softcapping", None),
        )

    @classmethod
    def of(cls, layer: "LMHead | nn.Module") -> "LMHead":
        """A linear layer that is all of a head; a head as it is."""
        if isinstance(layer, LMHead):
            return layer
        bias = getattr(layer, "bias", None)
        return cls(full_tensor(layer.get_parameter("weight")), None if bias is None else full_tensor(bias))

    @property
    def vocab_size(self) -> int:
        """V."""
        return self.weight.shape[0]

    def logits(self, hidden: Tensor) -> Tensor:
        """[N, H] -> float32 [N, V] (float64 if the weight is). For few positions only: callers tile over N."""
        return self.finish(self.raw(hidden))

    def raw(self, hidden: Tensor) -> Tensor:
        """``hidden @ weight.T + bias``: [N, H] -> float32 [N, V] (float64 if the weight is)."""
        return wide(torch.nn.functional.linear(hidden.to(self.weight.dtype), self.weight, self.bias))

    def finish(self, raw: Tensor) -> Tensor:
        """The logits for the output of :meth:`raw`: applies scale and soft cap."""
        scaled = raw if self.scale == 1 else raw * self.scale
        return scaled if self.softcap is None else self.softcap * torch.tanh(scaled / self.softcap)

    @torch.no_grad()
    def verify(self, model: Any) -> None:
        """Compare with the model's own logits on a few tokens; some models do more than this class models.

        Raises:
            InputError: they differ, so log-probabilities computed from this head would be wrong.
        """
        ids = torch.arange(4, device=self.weight.device)[None] % self.vocab_size
        mask = torch.ones_like(ids)
        own = causal_lm(model)(input_ids=ids, attention_mask=mask, use_cache=False).logits[0].float()
        ours = self.logits(last_hidden_states(model, ids, mask)[0])
        tolerance = 1e-3 if self.weight.dtype == torch.float32 else 0.1
        difference = (own - ours).abs().max().item()
        if not difference <= tolerance * max(1.0, ours.abs().max().item()):
            raise InputError(
                f"the logits of {type(causal_lm(model)).__name__} are not its hidden states times its output weights "
                f"(they differ by {difference:.3g}): this architecture is not supported; use one whose head is linear "
                "with an optional bias, logit scale and soft cap."
            )


def wide(values: Tensor) -> Tensor:
    """The values in float32 at least: sums over a vocabulary need more precision than bfloat16 has."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def add_outer(total: Tensor, grad_raw: Tensor, hidden: Tensor, dtype: torch.dtype) -> None:
    """``total += grad_raw.T @ hidden``: [N, V] and [N, H] into [V, H], with the product in the weight's `dtype`.

    Autograd does the same for a linear layer; a wider product is many times slower on a GPU.
    """
    if dtype in (torch.float32, torch.float64):
        total.addmm_(grad_raw.T.to(total.dtype), hidden.to(total.dtype))
    else:
        total += grad_raw.to(dtype).T @ hidden.to(dtype)


def full_tensor(value: Tensor) -> Tensor:
    """The whole parameter if FSDP2 sharded it, else the parameter itself; differentiable.

    Example:
        >>> full_tensor(torch.ones(2)).tolist()
        [1.0, 1.0]
    """
    full: Tensor = value.full_tensor() if hasattr(value, "full_tensor") else value
    return full
