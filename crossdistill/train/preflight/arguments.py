"""The trainer's arguments, each of a kind that it can use: told in one sentence, before anything is read."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, PeftModel
from torch import nn
from transformers import TrainerCallback

from crossdistill.errors import InputError
from crossdistill.findings import Kind, Severity, When
from crossdistill.teachers import Teacher
from crossdistill.train.config import CrossTokenizerConfig
from crossdistill.train.preflight.given import wrong_kind

COMPILED = Kind(
    "compiled_student",
    Severity.REFUSAL,
    When.BEFORE_WEIGHTS,
    "the student, or a part of it, was wrapped by torch.compile, so its weights would be saved under other names "
    "(_orig_mod): give the model as it was before.",
    "what is saved cannot be loaded again",
)


def check_arguments(
    model: Any, teacher: Any, args: Any, callbacks: Any, optimizers: Any, peft_config: Any, tools: Any
) -> None:
    """Check the arguments of the trainer, data and tokenizers apart.

    Args:
        model, teacher, args, callbacks, optimizers, peft_config, tools: as they were given.

    Raises:
        InputError: one of another kind.
    """
    _check_config(args)
    _check_model("model", model)
    _check_compiled(model)
    # teachers of other kinds are told apart where they are made
    for name, one in teacher.items() if isinstance(teacher, Mapping) else [("teacher", teacher)]:
        if one is None or (isinstance(one, str | nn.Module) and not isinstance(one, Teacher)):
            _check_model("teacher" if name == "teacher" else f"teacher {name!r}", one)
    _check_each("callbacks", callbacks, "TrainerCallbacks", _is_callback)
    _check_each("tools", tools, "functions", callable)
    _check_optimizers(optimizers)
    if peft_config is not None and not isinstance(peft_config, PeftConfig):
        raise wrong_kind("peft_config", peft_config, "a configuration of PEFT, such as peft.LoraConfig(...)")
    if peft_config is not None and isinstance(model, PeftModel):
        raise InputError(
            "the student has an adapter already: leave peft_config out, or give the model without adapter."
        )


def _check_config(args: Any) -> None:
    if not isinstance(args, CrossTokenizerConfig):
        hint = ", which takes the fields of TRL's" if hasattr(args, "output_dir") else ""
        raise wrong_kind("args", args, f"a CrossTokenizerConfig{hint}")
    if args.resume_from_checkpoint:
        way_out = "pass it to train(), or --resume on the command line"
        raise InputError(f"resume_from_checkpoint in the configuration has no effect: {way_out}.")


def _check_model(name: str, model: Any) -> None:
    is_named = isinstance(model, str | Path) and str(model)
    is_model = isinstance(model, nn.Module) and hasattr(getattr(model, "config", None), "get_text_config")
    if not is_named and not is_model:
        url = ", the URL of a server, or a crossdistill.teachers.Teacher" if name.startswith("teacher") else ""
        raise wrong_kind(name, model, f"a folder, a hub id, or a causal language model of transformers{url}")


def _check_compiled(model: Any) -> None:
    """A student that torch.compile wraps would be saved under the names of the wrapper."""
    if isinstance(model, nn.Module) and any("_orig_mod" in name.split(".") for name, _ in model.named_modules()):
        raise COMPILED.error()


def _check_each(name: str, values: Any, wanted: str, is_one: Callable[[Any], bool]) -> None:
    if values is None:
        return
    if isinstance(values, str | Mapping) or not isinstance(values, Iterable):
        raise wrong_kind(name, values, f"a list of {wanted}")
    for value in values:
        if not is_one(value):
            raise wrong_kind(f"one of {name}", value, wanted)


def _is_callback(value: Any) -> bool:
    return isinstance(value, TrainerCallback) or (isinstance(value, type) and issubclass(value, TrainerCallback))


def _check_optimizers(optimizers: Any) -> None:
    wanted = (torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler)
    if not isinstance(optimizers, tuple | list) or len(optimizers) != 2:
        raise wrong_kind("optimizers", optimizers, "an optimizer and a scheduler, (optimizer, None) for one alone")
    for value, kind in zip(optimizers, wanted, strict=True):
        if value is not None and not isinstance(value, kind):
            raise wrong_kind("one of optimizers", value, f"an instance of {kind.__name__}, or None")
