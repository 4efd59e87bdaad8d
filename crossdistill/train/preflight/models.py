"""The models of a run: contexts, weights and tokenizers are checked before the models are loaded, then loaded."""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase

from crossdistill.errors import InputError
from crossdistill.inspection.model_files import config_of, read_tokenizer, reading, vocab_size
from crossdistill.teachers import LocalTeacher, Teacher
from crossdistill.teachers.base import given_teacher
from crossdistill.tokens import ByteVocab

_WEIGHTS = (".safetensors", ".bin", ".gguf")


def hub_options(args: Any, side: str) -> dict[str, Any]:
    """Revision and trust in remote code with which a tokenizer and a configuration are read.

    Args:
        args: the trainer's configuration.
        side: "student" or "teacher".
    """
    init = (args.model_init_kwargs if side == "student" else args.teacher_model_init_kwargs) or {}
    declared = None if side == "student" else args.teacher_model_revision
    return {
        "revision": init.get("revision", declared),
        "trust_remote_code": init.get("trust_remote_code", args.trust_remote_code),
    }


# ---- checks ---------------------------------------------------------------------------------------------------------


def context_of(model: Any, **hub: Any) -> int | None:
    """Tokens of prompt and response together that a model reads; None if its configuration names no limit.

    Args:
        model: a folder, a hub id or a model.
        **hub: as :func:`hub_options` returns them.
    """
    return getattr(config_of(model, **hub), "max_position_embeddings", None)


def check_budget(context: int | None, budget: int | None, side: str, name: str = "max_completion_length") -> None:
    """Check that the response budget leaves room in a model's context.

    Args:
        context: tokens of prompt and response together; None if there is no limit.
        budget: tokens of a response.
        side: what messages call the model, such as "student".
        name: the option that sets the budget.

    Raises:
        InputError: it leaves none.
    """
    if context is not None and budget is not None and budget >= context:
        raise InputError(
            f"{name} = {budget} tokens does not fit the {side}'s context of {context} tokens: lower it, "
            f"or use a {side} with a longer context."
        )


def check_weights(model: Any) -> None:
    """Check that a folder holds whole weights, before anything is loaded; hub ids and objects pass.

    Raises:
        InputError: no weights, or a file that was cut short.
    """
    if not isinstance(model, str) or not Path(model).is_dir():
        return
    weights = [path for path in Path(model).iterdir() if path.suffix in _WEIGHTS]
    if not weights:
        raise InputError(f"the folder {model!r} holds no weights ({', '.join(_WEIGHTS)}): give a whole model.")
    for path in weights:
        if path.suffix == ".safetensors":
            _check_header(path)


def _check_header(path: Path) -> None:
    """The header gives the file's length, so a file that was cut short (by a full disk, say) contradicts it."""
    try:
        with safe_open(path, framework="pt"):
            return
    except SafetensorError as error:
        raise InputError(f"the weights {path} are damaged ({error}): fetch or save them again.") from None


# ---- loading --------------------------------------------------------------------------------------------------------


def load_tokenizer(model: Any, side: str, tokenizer: Any = None, **options: Any) -> PreTrainedTokenizerBase:
    """The tokenizer of a model: the given one, or that of its folder or hub id.

    If the weights are not loaded yet, its bytes are verified against the vocabulary size in the model's configuration.

    Args:
        model: a folder, a hub id or a model.
        side: what messages call the model: "student", or a teacher's label.
        tokenizer: the given one, if any.
        **options: of ``AutoTokenizer.from_pretrained``.

    Raises:
        InputError: there is no tokenizer, or it cannot be verified.
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


def load_teacher(
    teacher: Any, tokenizer: Any, args: Any, device: torch.device, template_kwargs: dict[str, Any] | None = None
) -> Teacher:
    """A given Teacher as it is; a folder, a hub id or a model as a local teacher on `device`.

    Args:
        teacher: see :func:`given_teacher`; not a URL.
        tokenizer: the model's.
        args: the trainer's configuration.
        device: where the model computes, unless ``teacher_model_init_kwargs`` has a device_map.
        template_kwargs: keyword arguments of the model's chat template, for the responses that it writes.
    """
    given = given_teacher(teacher)
    if given is not None:
        return given
    model = load_weights(teacher, args, device)
    text_tokens = args.text_tokens or ()
    return LocalTeacher(
        model, tokenizer, args.teacher_batch_tokens, text_tokens=text_tokens, template_kwargs=template_kwargs
    )


def load_weights(teacher: Any, args: Any, device: torch.device) -> Any:
    """The teacher model on `device`, from a folder, a hub id or a model that is loaded.

    The dtype is the checkpoint's own unless ``teacher_model_init_kwargs`` names one.

    Raises:
        InputError: weights that cannot be read, or an unknown dtype.
    """
    if not isinstance(teacher, str):
        return teacher.to(device)
    options = dict(args.teacher_model_init_kwargs or {})
    dtype = options.pop("dtype", "auto")
    if dtype != "auto" and not isinstance(getattr(torch, dtype, None), torch.dtype):
        raise InputError(f"teacher_model_init_kwargs names the dtype {dtype!r}: give auto, float32 or bfloat16.")
    options["dtype"] = dtype if dtype == "auto" else getattr(torch, dtype)
    options.update(hub_options(args, "teacher"))
    with reading("the weights", teacher):
        model = AutoModelForCausalLM.from_pretrained(teacher, **options)
    return model if "device_map" in options else model.to(device)
