"""The last layer of a language model: from hidden states to logits.

Shapes: N positions, H hidden size, V vocabulary.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from crossdistill.errors import InputError
from crossdistill.findings import FindingError, Kind, Severity, When
from crossdistill.ops.backbone import causal_lm, last_hidden_states
from crossdistill.ops.mode import in_mode
from crossdistill.ops.rounding import rounding
from crossdistill.ops.sharded import full_tensor
from crossdistill.ops.trace import first_difference, first_not_finite, first_weight_not_finite

OTHER_HEAD = Kind(
    "unsupported_head",
    Severity.REFUSAL,
    When.LOADING,
    "the logits of {model} are not its hidden states times its output weights (they differ by {difference}): this "
    "architecture is not supported; use one whose head is linear with an optional bias, logit scale and soft cap.",
    "every log-probability would be wrong",
)
NO_MATRIX = Kind(
    "unsupported_head_layer",
    Severity.REFUSAL,
    When.LOADING,
    "the output layer of {model} is a {layer}, not one matrix: this architecture is not supported; use one whose head "
    "is linear with an optional bias, logit scale and soft cap.",
    "there is nothing to compute log-probabilities from",
)
OTHER_WIDTH = Kind(
    "unsupported_head_width",
    Severity.REFUSAL,
    When.LOADING,
    "the last hidden states of {model} have {states} features and its output layer takes {head}, so something is "
    "between them: this architecture is not supported; use one whose head is linear with an optional bias, logit scale "
    "and soft cap.",
    "there is nothing to compute log-probabilities from",
)
TOO_COARSE = Kind(
    "coarse_logits",
    Severity.REFUSAL,
    When.LOADING,
    "the logits of {model} are lost in rounding, known to {difference} in {dtype}: load it in float32.",
    "every log-probability would be noise",
)
RANDOM = Kind(
    "random_in_evaluation",
    Severity.REFUSAL,
    When.LOADING,
    "two passes over the same tokens differ in evaluation mode, because {layer} is random there too: make its noise "
    "depend on `training`, or use another model.",
    "log-probabilities would be those of another draw than the one that sampled",
)
WEIGHT_NOT_FINITE = Kind(
    "weight_not_finite",
    Severity.REFUSAL,
    When.LOADING,
    "the weight {weight} of {model} has NaN or infinite values in {dtype}: the file is damaged, or was saved after its "
    "training had overflowed, or its numbers are beyond this dtype. Fetch it again, or load it in its own dtype.",
    "every log-probability would be NaN",
)
LAYER_NOT_FINITE = Kind(
    "layer_not_finite",
    Severity.REFUSAL,
    When.LOADING,
    "the activations of {model} are not finite: {layer} is the first layer that overflows, in {dtype}. {way_out}.",
    "every log-probability would be NaN",
)
LOGITS_NOT_FINITE = Kind(
    "logits_not_finite",
    Severity.REFUSAL,
    When.LOADING,
    "the logits of {model} are not finite, although its layers are: its output layer overflows. Load it in float32.",
    "every log-probability would be NaN",
)
_WIDER: defaultdict[torch.dtype, str] = defaultdict(
    lambda: "Its weights are too large for any dtype: fetch it again, or use another model",
    {
        torch.float16: "Load it in bfloat16 or float32, whose range is wider",
        torch.bfloat16: "Its weights are damaged, or it was made for float32: fetch it again, or load it in float32",
    },
)


@dataclass(frozen=True)
class LMHead:
    """``logits = cap * tanh(scale * (hidden @ weight.T + bias) / cap)``, without the tanh if `softcap` is None.

    Attributes:
        weight: [V, H].
        bias: [V], or None.
        scale: the logit scale of Cohere's and Granite's models.
        softcap: the soft cap of Gemma's and xLSTM's models, or None.
        ids: int64 [K], the tokens whose logits it gives, each once, if not all V.

    Example:
        >>> head = LMHead(weight=torch.eye(3), scale=2.0)
        >>> head.vocab_size, head.logits(torch.tensor([[0.0, 1.0, 2.0]])).tolist()
        (3, [[0.0, 2.0, 4.0]])
    """

    weight: Tensor
    bias: Tensor | None = None
    scale: float = 1.0
    softcap: float | None = None
    ids: Tensor | None = None

    @classmethod
    def from_model(cls, model: Any) -> "LMHead":
        """The head of a Hugging Face causal language model, or of a PEFT model around one.

        Raises:
            InputError: the output layer itself has an adapter, so its weight is not the whole layer; or it is no
                matrix.
        """
        model = causal_lm(model)
        layer, config = model.get_output_embeddings(), model.config.get_text_config()
        if hasattr(layer, "base_layer"):
            raise InputError(
                "an adapter on the output layer is not supported: take it out of the adapter's target_modules, or list "
                "it in modules_to_save to train the whole layer."
            )
        weight = getattr(layer, "weight", None)
        if not isinstance(weight, Tensor) or weight.ndim > 2:
            raise NO_MATRIX.error(model=type(model).__name__, layer=type(layer).__name__)
        scale = getattr(config, "logit_scale", None) or 1.0
        if getattr(config, "logits_scaling", None):
            scale = 1.0 / config.logits_scaling
        bias = getattr(layer, "bias", None)
        return cls(
            full_tensor(weight),
            None if bias is None else full_tensor(bias),
            scale,
            getattr(config, "final_logit_softcapping", None) or getattr(config, "output_logit_soft_cap", None),
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
        """The number of its logits: V, or K."""
        return self.weight.shape[0] if self.ids is None else len(self.ids)

    def of_ids(self, ids: Tensor) -> "LMHead":
        """The head of these tokens alone, each once, in this order; nothing is copied.

        Args:
            ids: int64 [K], on the weight's device.

        Example:
            >>> LMHead(torch.eye(3)).of_ids(torch.tensor([2, 0])).logits(torch.tensor([[5.0, 6.0, 7.0]])).tolist()
            [[7.0, 5.0]]
        """
        return replace(self, ids=ids if self.ids is None else self.ids[ids])

    def logits(self, hidden: Tensor) -> Tensor:
        """[N, H] -> float32 [N, V] (float64 if the weight is). For few positions only: callers tile over N."""
        return self.finish(self.raw(hidden))

    def raw(self, hidden: Tensor) -> Tensor:
        """``hidden @ weight.T + bias``: [N, H] -> float32 [N, V] (float64 if the weight is)."""
        weight, bias = self.weight, self.bias
        if self.ids is not None:
            weight, bias = weight[self.ids], None if bias is None else bias[self.ids]
        return wide(torch.nn.functional.linear(hidden.to(weight.dtype), weight, bias))

    def finish(self, raw: Tensor) -> Tensor:
        """The logits for the output of :meth:`raw`: applies scale and soft cap."""
        scaled = raw if self.scale == 1 else raw * self.scale
        return scaled if self.softcap is None else self.softcap * torch.tanh(scaled / self.softcap)

    @torch.no_grad()
    def verify(self, model: Any) -> None:
        """Compare with the model's own logits on a few tokens; some models do more than this class models.

        Raises:
            FindingError: they differ, so log-probabilities computed from this head would be wrong; or they cannot be
                compared, because they are not finite, random in evaluation mode, or too coarse in their dtype.
        """
        named = type(causal_lm(model)).__name__
        ids = torch.arange(4, device=self.weight.device)[None] % self.vocab_size
        mask = torch.ones_like(ids)

        def own() -> Tensor:
            logits: Tensor = causal_lm(model)(input_ids=ids, attention_mask=mask, use_cache=False).logits[0]
            return logits

        with in_mode(model, training=False):
            hidden, logits = last_hidden_states(model, ids, mask)[0], own()
            if hidden.shape[-1] != self.weight.shape[1]:
                raise OTHER_WIDTH.error(model=named, states=hidden.shape[-1], head=self.weight.shape[1])
            ours = self.logits(hidden)
            if not bool(ours.isfinite().all()):
                raise not_finite(model, own)
            difference = (logits.float() - ours).abs().max().item()
            size = max(1.0, ours.abs().max().item())
            coarsest = max(logits.dtype, hidden.dtype, self.weight.dtype, key=rounding)
            if difference <= (1e-3 if rounding(coarsest) < 1e-6 else 0.1) * size:
                return
            random = first_difference(causal_lm(model), own, own)
        if random is not None:
            raise RANDOM.error(layer=random)
        values = {"model": named, "difference": f"{difference:.3g}"}
        if difference <= 4 * rounding(coarsest) * self._largest_norm(hidden):
            raise TOO_COARSE.error(**values, dtype=name_of(coarsest))
        raise OTHER_HEAD.error(**values)

    def _largest_norm(self, hidden: Tensor) -> float:
        """The largest norm of the products that a logit sums, to which its rounding error is proportional."""
        squares = wide(hidden).square() @ wide(self.weight).square().T
        return abs(self.scale) * squares.max().sqrt().item()


def not_finite(model: Any, forward: Callable[[], object]) -> FindingError:
    """The error for a model whose logits are NaN or infinite: it names the first weight or layer that is.

    Args:
        model: a causal language model.
        forward: a pass through it.
    """
    model = causal_lm(model)
    named = {"model": type(model).__name__}
    weight = first_weight_not_finite(model)
    if weight is not None:
        return WEIGHT_NOT_FINITE.error(**named, weight=weight[0], dtype=name_of(weight[1]))
    layer = first_not_finite(model, forward)
    if layer is None:
        return LOGITS_NOT_FINITE.error(**named)
    return LAYER_NOT_FINITE.error(**named, layer=layer[0], dtype=name_of(layer[1]), way_out=_WIDER[layer[1]])


def name_of(dtype: torch.dtype) -> str:
    """What a configuration calls a dtype.

    Example:
        >>> name_of(torch.bfloat16)
        'bfloat16'
    """
    return str(dtype).removeprefix("torch.")


def wide(values: Tensor) -> Tensor:
    """The values in float32 at least: sums over a vocabulary need more precision than bfloat16 has."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
