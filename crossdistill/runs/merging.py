"""An adapter merged into its base model, and how far that changes what the model predicts."""

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from crossdistill.errors import InputError
from crossdistill.inspection.model_files import LIBRARY_ERRORS, reason_of
from crossdistill.runs.export_source import ExportSource
from crossdistill.train.loading import load_model
from crossdistill.train.preflight.weights import loading

_PROBED = 64
_OF_SINGLE_TOKENS = ("token_adapter", "trainable_tokens")  # PEFT ties these to the output layer itself


def merge(source: ExportSource, dtype: Any) -> tuple[Any, float]:
    """Merge an adapter into its base.

    Args:
        source: of the adapter.
        dtype: of the base, in which it is merged: a torch dtype, or "auto" for that of the base's files.

    Returns:
        The merged model, and the largest difference in nats between the log-probabilities that it and the adapter give
        to the most likely token of a place, over ids from the whole vocabulary.

    Raises:
        InputError: the weights cannot be read, do not fit together, or cannot be merged.
    """
    what = f"the adapter in {str(source.folder)!r}"
    model = load_model(f"the base model {source.base!r}", str(source.base), {"device_map": None, "dtype": dtype})
    _make_room(model, source)
    adapted = _adapted(model, source, what).eval()
    ids = torch.linspace(0, model.get_input_embeddings().weight.shape[0] - 1, _PROBED).long()[None]
    with warnings.catch_warnings(), torch.no_grad():
        warnings.filterwarnings("ignore", message=".*no longer tied")  # as intended
        before = _log_probabilities(adapted, ids)
        try:
            merged = adapted.merge_and_unload(safe_merge=True)
        except LIBRARY_ERRORS as error:
            raise InputError(f"{what} cannot be merged ({reason_of(error)}): export it without --merge.") from None
        best = before.argmax(-1, keepdim=True)
        difference = (before.gather(-1, best) - _log_probabilities(merged, ids).gather(-1, best)).abs().max()
    return merged, float(difference)


def _adapted(model: Any, source: ExportSource, what: str) -> Any:
    from peft import PeftModel

    with warnings.catch_warnings(), loading(what):
        warnings.filterwarnings("ignore", message=".*tie_word_embeddings")  # see _untie
        return PeftModel.from_pretrained(model, str(source.folder))


def _log_probabilities(model: Any, ids: Tensor) -> Tensor:
    logits: Tensor = model(ids.to(model.device)).logits
    return logits.float().log_softmax(-1)


def _make_room(model: Any, source: ExportSource) -> None:
    """Give the base as many token ids as the adapter has embeddings for, and untie layers of which it adapts one."""
    layers = model.get_input_embeddings(), model.get_output_embeddings()
    embeddings, head = (_name_of(model, layer) for layer in layers)
    shapes = source.adapter_shapes()
    rows = [shape[0] for name, shape in shapes.items() if name.endswith((f"{embeddings}.weight", f"{head}.weight"))]
    if rows and max(rows) != model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(max(rows), mean_resizing=False)
    is_adapted = any(
        f"{layer}." in name and not any(part in name for part in _OF_SINGLE_TOKENS)
        for name in shapes
        for layer in (embeddings, head)
    )
    if is_adapted and not source.keeps_tied:
        _untie(model)


def _name_of(model: nn.Module, wanted: nn.Module) -> str:
    return next(name for name, module in model.named_modules() if module is wanted)


def _untie(model: Any) -> None:
    """Part the output layer from the embeddings: what is merged into one of them must not change the other."""
    embeddings, head = model.get_input_embeddings(), model.get_output_embeddings()
    if head.weight is embeddings.weight:
        head.weight = nn.Parameter(embeddings.weight.detach().clone(), requires_grad=False)
        model.config.get_text_config().tie_word_embeddings = False
        model.config.tie_word_embeddings = False
        model.all_tied_weights_keys = {}
