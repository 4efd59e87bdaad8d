"""Values that a user gave: tokenizers by name, and one sentence for what is of another kind."""

from pathlib import Path
from typing import Any

import tokenizers
from transformers import PreTrainedTokenizerBase, ProcessorMixin

from crossdistill.errors import InputError
from crossdistill.inspection.model_files import read_tokenizer


def given_tokenizer(tokenizer: Any, parameter: str, **options: Any) -> PreTrainedTokenizerBase:
    """A tokenizer that was given, perhaps by the name of its folder or on the hub.

    Args:
        tokenizer: a tokenizer of transformers, or its name.
        parameter: of the trainer, for messages.
        **options: of ``AutoTokenizer.from_pretrained``, for one that is named.

    Raises:
        InputError: something else, or a name that cannot be read.
    """
    if isinstance(tokenizer, str | Path):
        return read_tokenizer(str(tokenizer), **options)
    if isinstance(tokenizer, ProcessorMixin):
        raise wrong_kind(parameter, tokenizer, "its tokenizer, processor.tokenizer")
    if isinstance(tokenizer, tokenizers.Tokenizer):
        wrapped = "transformers.PreTrainedTokenizerFast(tokenizer_object=...)"
        raise wrong_kind(parameter, tokenizer, f"a tokenizer of transformers, which {wrapped} makes of it")
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        raise wrong_kind(parameter, tokenizer, "a tokenizer of transformers, or the folder or hub id that holds it")
    return tokenizer


def wrong_kind(name: str, value: Any, wanted: str) -> InputError:
    """The error for a value of another kind.

    Args:
        name: of the value.
        value: as it was given.
        wanted: what to give instead.

    Example:
        >>> print(wrong_kind("args", {"max_steps": 1}, "a CrossTokenizerConfig"))
        args is an object of type dict: give a CrossTokenizerConfig.
    """
    kind = f"the class {value.__name__}" if isinstance(value, type) else f"an object of type {type(value).__name__}"
    shown = repr(value) if value is None or isinstance(value, str | int | float) else kind
    return InputError(f"{name} is {shown}: give {wanted}.")
