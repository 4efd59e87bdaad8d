"""Loading the teacher's weights and tokenizer."""

from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from crossdistill.errors import InputError
from crossdistill.tokens import ByteVocab
from crossdistill.train.checks import vocab_size


def load_teacher(teacher: Any, tokenizer: Any, args: Any, device: torch.device) -> tuple[Any, Any]:
    """The teacher model on `device` and its tokenizer, from a folder, a hub id or a model that is loaded.

    The tokenizer is verified before the weights are read. The dtype is the checkpoint's own unless
    ``teacher_model_init_kwargs`` names one.
    """
    if not isinstance(teacher, str):
        if tokenizer is None:
            raise InputError("the teacher needs its tokenizer: pass teacher_processing_class along with the model.")
        return teacher.to(device), tokenizer
    options = dict(args.teacher_model_init_kwargs or {})
    revision = options.get("revision", args.teacher_model_revision)
    if tokenizer is None:
        tokenizer = AutoTokenizer.from_pretrained(teacher, revision=revision)
    ByteVocab.from_tokenizer(tokenizer, size=vocab_size(teacher))
    dtype = options.pop("dtype", "auto")
    options["dtype"] = dtype if dtype == "auto" else getattr(torch, dtype)
    options["revision"] = revision
    model = AutoModelForCausalLM.from_pretrained(teacher, **options)
    return (model if "device_map" in options else model.to(device)), tokenizer
