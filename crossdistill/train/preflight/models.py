"""What cannot work is refused before a model is loaded, where that is possible."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase

from crossdistill.errors import InputError
from crossdistill.inspection.model_files import config_of, read_tokenizer, reading, vocab_size
from crossdistill.objectives import Objective
from crossdistill.signal import Signal
from crossdistill.teachers import LocalTeacher, Teacher
from crossdistill.tokens import ByteVocab
from crossdistill.train.off_policy import check_responses
from crossdistill.train.preflight.data import check_prompts

_WEIGHTS = (".safetensors", ".bin", ".gguf")


@contextmanager
def setting_up() -> Iterator[None]:
    """What TRL or PEFT find wrong with the settings while a trainer is made (target modules, say) is bad input."""
    try:
        yield
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"the run cannot be set up: {' '.join(str(error).split())}") from error


def check_data(args: Any, train_dataset: Any, eval_dataset: Any) -> None:
    """What the data alone tell."""
    check_prompts(train_dataset, "the training data")
    check_prompts(eval_dataset, "the evaluation data")
    check_batches(train_dataset, args)
    check_responses(train_dataset, args.on_policy_share, args.off_policy)


def hub_options(args: Any, side: str) -> dict[str, Any]:
    """Revision and trust in remote code with which a side's tokenizer and configuration are read."""
    init = (args.model_init_kwargs if side == "student" else args.teacher_model_init_kwargs) or {}
    declared = None if side == "student" else args.teacher_model_revision
    return {
        "revision": init.get("revision", declared),
        "trust_remote_code": init.get("trust_remote_code", args.trust_remote_code),
    }


def check_batches(dataset: Any, args: Any) -> None:
    """The training data must fill one step; a stream is read forwards only, so each of its batches serves one step."""
    if dataset is None:
        return
    if not hasattr(dataset, "__len__"):
        if args.num_iterations > 1:
            raise InputError(
                f"num_iterations = {args.num_iterations} cannot be had on streamed training data: set it to 1, or load "
                "the data whole."
            )
        return
    needed = args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size
    if len(dataset) < needed:
        raise InputError(
            f"the training data has {len(dataset)} prompts and a step takes {needed}: give more prompts, or lower "
            "per_device_train_batch_size or gradient_accumulation_steps."
        )


def check_budget(model: Any, budget: int | None, side: str, name: str = "max_completion_length", **hub: Any) -> None:
    """The response budget must leave room in the model's context."""
    context = context_of(model, **hub)
    if context is not None and budget is not None and budget >= context:
        raise InputError(
            f"{name} = {budget} tokens does not fit the {side}'s context of {context} tokens: lower it, "
            f"or use a {side} with a longer context."
        )


def context_of(model: Any, **hub: Any) -> int | None:
    """Tokens that a model or a Teacher reads; None where it does not say."""
    if not hasattr(model, "config") and not isinstance(model, str):
        return getattr(model, "max_length", None)
    return getattr(config_of(model, **hub), "max_position_embeddings", None)


def check_weights(model: Any) -> None:
    """A folder must hold whole weights, which is known before anything is loaded."""
    if not isinstance(model, str) or not Path(model).is_dir():
        return
    weights = [path for path in Path(model).iterdir() if path.suffix in _WEIGHTS]
    if not weights:
        raise InputError(f"the folder {model!r} holds no weights ({', '.join(_WEIGHTS)}): give a whole model.")
    for path in weights:
        if path.suffix == ".safetensors":
            _check_header(path)


def _check_header(path: Path) -> None:
    """A file that was cut short, by a full disk say, is known by its header, which says how long it should be."""
    try:
        with safe_open(path, framework="pt"):
            return
    except SafetensorError as error:
        raise InputError(f"the weights {path} are damaged ({error}): fetch or save them again.") from None


def check_finite(logprobs: Iterable[np.ndarray], step: int) -> None:
    """A student whose weights or activations have overflowed cannot be trained on: every gradient would be NaN."""
    if not all(np.isfinite(row).all() for row in logprobs):
        raise InputError(
            f"the student's log-probabilities are not finite after step {step}: its weights or logits have overflowed. "
            "Go back to an earlier checkpoint with a lower learning_rate or max_grad_norm, or train in bfloat16 or "
            "float32 instead of float16."
        )


def check_temperature(objective: Objective, teacher: Teacher, temperature: float) -> None:
    """A teacher elsewhere gives log-probabilities of temperature 1."""
    if teacher.is_remote and objective.at_sampling_temperature and temperature != 1:
        raise InputError(
            f"objective {objective.name!r} compares both models at the sampling temperature, {temperature:g}, and a "
            "served teacher gives log-probabilities at temperature 1: set temperature = 1, or take a local teacher."
        )


def check_signal(objective: Objective, teacher: Teacher) -> None:
    """The teacher must be able to give what the objective needs."""
    if not teacher.signal.covers(objective.signal):
        raise InputError(
            f"objective {objective.name!r} needs {objective.signal.value} probabilities and this teacher gives only "
            f"{teacher.signal.value} ones: choose an objective for {teacher.signal.value} signals, or a local teacher."
        )
    if objective.signal is Signal.TOPK and teacher.max_top_k is not None and objective.top_k > teacher.max_top_k:
        raise InputError(
            f"objective {objective.name!r} needs the {objective.top_k} most probable tokens and this teacher names "
            f"{teacher.max_top_k}: lower the objective's top_k, or raise the limit of the teacher's server."
        )


def load_tokenizer(model: Any, side: str, tokenizer: Any = None, **options: Any) -> PreTrainedTokenizerBase:
    """The tokenizer that belongs to `model`: the given one, or that of its folder or hub id.

    Where the weights are not read yet, its bytes are verified against the vocabulary in the model's configuration.
    Raises InputError where there is no tokenizer or it cannot be verified.
    """
    if tokenizer is None and isinstance(model, str):
        tokenizer = read_tokenizer(model, **options)
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        parameter = "processing_class" if side == "student" else "teacher_processing_class"
        raise InputError(f"the {side} needs its tokenizer: pass {parameter} along with a model that is loaded.")
    if isinstance(model, str):
        try:
            hub = {name: options[name] for name in ("revision", "trust_remote_code") if name in options}
            ByteVocab.from_tokenizer(tokenizer, size=vocab_size(model, **hub))
        except InputError as error:
            raise InputError(f"the {side} {model!r} cannot be used: {error}") from None
    return tokenizer


def load_teacher(teacher: Any, tokenizer: Any, args: Any, device: torch.device) -> Teacher:
    """A Teacher as it is; else a local one on `device`, of a folder, a hub id or a model that is loaded."""
    if not isinstance(teacher, str | torch.nn.Module):
        given: Teacher = teacher
        return given
    model = load_weights(teacher, args, device)
    return LocalTeacher(model, tokenizer, args.teacher_batch_tokens, text_tokens=args.text_tokens or ())


def load_weights(teacher: Any, args: Any, device: torch.device) -> Any:
    """The teacher model on `device`, from a folder, a hub id or a model that is loaded.

    The dtype is the checkpoint's own unless ``teacher_model_init_kwargs`` names one.
    """
    if not isinstance(teacher, str):
        return teacher.to(device)
    options = dict(args.teacher_model_init_kwargs or {})
    dtype = options.pop("dtype", "auto")
    if dtype != "auto" and not isinstance(getattr(torch, dtype, None), torch.dtype):
        raise InputError(f"teacher_model_init_kwargs names the dtype {dtype!r}: give auto, float32 or bfloat16.")
    options["dtype"] = dtype if dtype == "auto" else getattr(torch, dtype)
    options["revision"] = teacher_revision(args)
    options.setdefault("trust_remote_code", args.trust_remote_code)
    with reading("the weights", teacher):
        model = AutoModelForCausalLM.from_pretrained(teacher, **options)
    return model if "device_map" in options else model.to(device)


def teacher_revision(args: Any) -> str | None:
    """Of the teacher on the hub."""
    return (args.teacher_model_init_kwargs or {}).get("revision", args.teacher_model_revision)
