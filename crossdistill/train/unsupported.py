"""Settings of TRL and transformers that a run cannot honour: they are refused if set, so that it does what it says."""

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

from crossdistill.errors import InputError

_HALF = (
    "an evaluation before training would leave the student's own weights in half precision: leave it out, bf16 = true "
    "evaluates in bfloat16 as well"
)
_COMPILED = (
    "nothing would be compiled, because the loss is computed inside the student's forward pass, in its place: leave it "
    "out"
)
_TOKENISED = "examples are tokenised as rollouts are"

UNSUPPORTED = {
    "beta": "it belongs to the divergence of TRL's own trainer: choose an objective and its options",
    "bf16_full_eval": _HALF,
    "data_seed": "the order of the prompts follows seed: set seed",
    "fp16_full_eval": _HALF,
    "label_smoothing_factor": "a teacher's signal has no labels to smooth: leave it out",
    "pad_to_multiple_of": "a batch is padded to its longest row: leave it out",
    "teacher_model_name_or_path": "the teacher is an argument of the trainer, or a run file's `teacher`: name it there",
    "torch_compile": _COMPILED,
    "torch_compile_backend": _COMPILED,
    "torch_compile_mode": _COMPILED,
    "train_sampling_strategy": "prompts come in random order, or in that of the data if shuffle_dataset = false",
}
"""Fields of ``CrossTokenizerConfig`` -> why they are refused, and what to do."""

UNSUPPORTED_IN_SFT = {
    "chat_template_path": f"{_TOKENISED}, with the student's own template: change that of its folder",
    "dataset_kwargs": f"{_TOKENISED}: leave it out",
    "dataset_text_field": f"{_TOKENISED}: name the column of texts by text_column",
    "eos_token": f"{_TOKENISED}, with the student's own end of a turn: change its tokenizer",
    "eval_packing": "each held-out row is evaluated by itself: leave it out",
    "truncation_mode": "no example is cut, because a cut one would teach the student never to stop: leave it out",
}
"""Fields of ``trl.SFTConfig`` -> the same."""

_OF_TOKENIZERS_TOO = {"revision", "trust_remote_code"}  # with which a tokenizer that is named is read
_SAME_AS_DEFAULT = {"eval_packing": False, "pad_to_multiple_of": None}


def check_unsupported(args: Any, unsupported: Mapping[str, str]) -> None:
    """Check that settings that cannot be honoured are left as they are.

    Args:
        args: a configuration.
        unsupported: names of its fields -> why they are refused, and what to do.

    Raises:
        InputError: one is set.

    Example:
        >>> from crossdistill.train import CrossTokenizerConfig
        >>> check_unsupported(CrossTokenizerConfig("out", bf16=False), UNSUPPORTED)
    """
    for field in fields(args):
        if field.name in unsupported and _is_set(field, getattr(args, field.name)):
            raise InputError(f"{field.name} cannot be set here: {unsupported[field.name]}.")


def check_loading(name: str, options: Any, models: Iterable[Any]) -> None:
    """Check that options of loading come with a model that is yet to be loaded.

    Args:
        name: of the setting.
        options: keyword arguments of ``from_pretrained``; None if there are none.
        models: that they apply to.

    Raises:
        InputError: all of these are loaded already.

    Example:
        >>> check_loading("model_init_kwargs", {"dtype": "bfloat16"}, ["org/model"])
    """
    ignored = sorted(set(options or ()) - _OF_TOKENIZERS_TOO)
    if ignored and not any(isinstance(model, str | Path) for model in models):
        raise InputError(
            f"{name} sets {', '.join(ignored)} of a model that is loaded already: load it so, or give its folder "
            "or hub id in place of the model."
        )


def _is_set(field: Field[Any], value: Any) -> bool:
    default = field.default if field.default_factory is MISSING else field.default_factory()
    return bool(value != default and value != _SAME_AS_DEFAULT.get(field.name, default))
