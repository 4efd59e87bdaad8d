"""Loading tokenizers, verified before any weights are read, and the teacher's weights."""

from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from crossdistill.errors import InputError
from crossdistill.teachers import LocalTeacher, Teacher
from crossdistill.tokens import ByteVocab
from crossdistill.train.preflight.models import reading, vocab_size


def read_tokenizer(name: str, **options: Any) -> PreTrainedTokenizerBase:
    """The tokenizer in a folder or on the hub, as it is; InputError where there is none."""
    with reading("the tokenizer", name):
        return AutoTokenizer.from_pretrained(name, **options)


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
