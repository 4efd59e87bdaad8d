"""What a layer keeps for its backward pass, counted on a model without weights.

A forward pass with fake tensors (of sizes, dtypes and nothing else) shows what autograd saves, with the kernels that
run on a CPU: torch's fused attention saves queries, keys, values and outputs, as flash attention does. What depends on
the tokens is told from what does not by two lengths, and a layer from what is around the layers by one and two layers.
"""

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import Module, Parameter
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from crossdistill.inspection.model_files import LIBRARY_ERRORS
from crossdistill.ops.backbone import backbone_of

_TOKENS = 128


class Activations(NamedTuple):
    """Bytes a token that are kept for the backward pass.

    Attributes:
        layer: by each layer.
        around: by the embeddings and the last norm.
        residual: by each layer if it is recomputed: its input alone.
    """

    layer: float
    around: float
    residual: float

    def bytes_of(self, num_layers: int, num_tokens: int, is_checkpointed: bool) -> float:
        """Of a pass.

        Args:
            num_layers: of the model.
            num_tokens: of the micro-batch.
            is_checkpointed: whether layers are recomputed one by one.
        """
        layers = self.layer + num_layers * self.residual if is_checkpointed else num_layers * self.layer
        return num_tokens * (layers + self.around)


def activations(
    config: PreTrainedConfig,
    weights: torch.dtype,
    computes_in: torch.dtype,
    adapted: Callable[[PreTrainedModel], Module] = lambda model: model,
) -> Activations | None:
    """Count what autograd keeps.

    Args:
        config: of a causal language model, its text part alone.
        weights: their dtype.
        computes_in: the dtype of matrix products; another one than that of the weights means autocast.
        adapted: adds what is trained in place of the weights, if that is an adapter.

    Returns:
        None if the architecture cannot be run without numbers, as some mixtures of experts.

    Example:
        >>> from transformers import LlamaConfig
        >>> sizes = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "num_hidden_layers": 8}
        >>> found = activations(LlamaConfig(vocab_size=100, **sizes), torch.float32, torch.float32)
        >>> found.residual
        256.0
    """
    try:
        kept = [
            [_kept(_with_layers(config, layers), count * _TOKENS, weights, computes_in, adapted) for count in (1, 2)]
            for layers in (1, 2)
        ]
    except LIBRARY_ERRORS:
        return None
    one, two = ((longer - shorter) / _TOKENS for shorter, longer in kept)
    return Activations(two - one, max(0.0, 2 * one - two), float(config.hidden_size * weights.itemsize))


def _kept(
    config: PreTrainedConfig,
    tokens: int,
    weights: torch.dtype,
    computes_in: torch.dtype,
    adapted: Callable[[PreTrainedModel], Module],
) -> int:
    """Bytes of the storages that autograd saves, weights aside."""
    kept: dict[int, tuple[Any, int]] = {}

    def save(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage, storage.nbytes()  # a storage that is held keeps its address
        return tensor

    with torch.device("meta"):
        model = adapted(AutoModelForCausalLM.from_config(config, dtype=weights)).train()
    with FakeTensorMode():
        _replace_tensors(model)
        own = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
        with (
            torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor),
            torch.autocast("cpu", computes_in, enabled=computes_in != weights),
        ):
            output = backbone_of(model)(input_ids=torch.zeros(1, tokens, dtype=torch.long), use_cache=False)
        del output
    return sum(size for _, size in kept.values())


def _replace_tensors(model: Module) -> None:
    """Put tensors on the CPU in the place of those on the meta device: PEFT cannot adapt a model of fake tensors."""
    made: dict[Tensor, Tensor] = {}
    for module in model.modules():
        of_both_kinds: tuple[dict[str, Any], ...] = (module._parameters, module._buffers)
        for tensors in of_both_kinds:
            for name, old in tensors.items():
                if old is not None and old not in made:
                    empty = torch.empty(old.shape, dtype=old.dtype)
                    made[old] = Parameter(empty, old.requires_grad) if isinstance(old, Parameter) else empty
                tensors[name] = None if old is None else made[old]


def _with_layers(config: PreTrainedConfig, num_layers: int) -> PreTrainedConfig:
    """The same model with the last layers left out."""
    fewer = copy.deepcopy(config)
    fewer.num_hidden_layers = num_layers
    if getattr(fewer, "layer_types", None):
        fewer.layer_types = fewer.layer_types[:num_layers]
    return fewer
