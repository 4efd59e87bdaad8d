"""The class of a model, by its configuration, and whether it can be loaded here: no weights are read."""

import copy
from typing import Any

import transformers
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    PreTrainedConfig,
)
from transformers.quantizers.auto import get_hf_quantizer

from crossdistill.findings import Kind, Severity, When
from crossdistill.inspection.model_files import LIBRARY_ERRORS, reason_of

NOT_CAUSAL = Kind(
    "not_a_causal_language_model",
    Severity.REFUSAL,
    When.BEFORE_WEIGHTS,
    "{what} is a {architecture}, which is no decoder that writes text: give a causal language model.",
    "its log-probabilities are not those of text",
)
QUANTISED = Kind(
    "quantisation_without_its_library",
    Severity.REFUSAL,
    When.BEFORE_WEIGHTS,
    "{what} is quantised, and cannot be loaded so here ({reason}): install what is missing, or give weights that are "
    "not quantised.",
    "the model cannot be loaded",
)


def architecture_of(what: str, config: PreTrainedConfig) -> Any:
    """The class that loads a model, the same on both sides: the one that its configuration names.

    That of a multimodal model is its own, not one of its text part. A model without a head (``LlamaModel``) takes the
    causal language model of its kind: if the head is the input layer, its weights are whole.

    Args:
        what: whose it is, such as "the student 'my-model'".
        config: the whole configuration.

    Raises:
        FindingError: the model is no causal language model.
    """
    name = next(iter(config.architectures or ()), "")
    named = getattr(transformers, name, None) if name else None
    if config.is_encoder_decoder or (named is not None and not (named.can_generate() or name.endswith("Model"))):
        raise NOT_CAUSAL.error(what=what, architecture=name or type(config).__name__)
    if named is not None and named.can_generate():
        return named
    by_remote_code = getattr(config, "auto_map", None) or {}
    kinds = (AutoModelForImageTextToText, AutoModelForCausalLM)
    auto = next((kind for kind in kinds if kind.__name__ in by_remote_code), AutoModelForCausalLM)
    return auto if by_remote_code else MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), auto)


def is_quantised(what: str, config: PreTrainedConfig, options: dict[str, Any]) -> bool:
    """Whether a model is quantised, by its configuration or by the run's.

    Args:
        what: whose it is, such as "the student 'my-model'".
        config: the whole configuration.
        options: of ``from_pretrained``.

    Raises:
        FindingError: a library, or the device, that the quantisation needs is missing; or its method is unknown.
    """
    asked, device_map = options.get("quantization_config"), options.get("device_map")
    declared = getattr(config, "quantization_config", None) or getattr(
        config.get_text_config(), "quantization_config", None
    )
    if asked is None and not declared:
        return False
    try:
        quantizer, _, _ = get_hf_quantizer(copy.deepcopy(config), asked, device_map, True, {})
    except LIBRARY_ERRORS as error:
        raise QUANTISED.error(what=what, reason=reason_of(error)) from None
    if quantizer is None:
        method = declared.get("quant_method") if isinstance(declared, dict) else declared
        raise QUANTISED.error(what=what, reason=f"transformers does not know the method {method!r}")
    return True
