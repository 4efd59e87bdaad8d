"""The generation defaults of a checkpoint (``generation_config.json``), set aside while a run generates."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_TOKEN_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")


@contextmanager
def defaults_set_aside(model: Any) -> Iterator[None]:
    """While it is open, ``generate`` obeys what its caller names and nothing that the checkpoint brings along.

    ``generate`` fills every setting that is left open from the model's own defaults: penalties, bans, beams. Only the
    token ids among them stay. The defaults are back afterwards, so that a saved model keeps them.

    Args:
        model: a Hugging Face model, perhaps with adapters.

    Example:
        >>> from transformers import LlamaConfig, LlamaForCausalLM
        >>> sizes = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 1, "num_hidden_layers": 1}
        >>> model = LlamaForCausalLM(LlamaConfig(vocab_size=8, **sizes))
        >>> model.generation_config.no_repeat_ngram_size = 2
        >>> with defaults_set_aside(model):
        ...     print(model.generation_config.no_repeat_ngram_size)
        None
        >>> model.generation_config.no_repeat_ngram_size
        2
    """
    # adapters pass the defaults of the wrapped model on, and a composite model's parts have their own
    own = [(module, config) for module in model.modules() if (config := vars(module).get("generation_config"))]
    try:
        for module, config in own:
            module.generation_config = _token_ids_of(config)
        yield
    finally:
        for module, config in own:
            module.generation_config = config


@contextmanager
def defaults_kept(model: Any, folder: Path) -> Iterator[None]:
    """Let a model be saved inside with its generation defaults as they are.

    transformers loads defaults that contradict each other, such as a temperature without sampling, and refuses to save
    them once another field of them was changed, which every trainer does (the padding token).

    Args:
        model: a Hugging Face model.
        folder: that it is saved to.
    """
    own = getattr(model, "generation_config", None)
    with defaults_set_aside(model):
        yield
    path = folder / "generation_config.json"
    if own is not None and path.exists():  # an adapter has none
        own.to_json_file(path)


def _token_ids_of(config: Any) -> Any:
    from transformers import GenerationConfig

    return GenerationConfig(**{name: getattr(config, name, None) for name in _TOKEN_IDS})
