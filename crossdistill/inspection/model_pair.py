"""Both models of a pair, read without their weights."""

from pathlib import Path
from typing import Any

from crossdistill.chat.determinism import make_deterministic
from crossdistill.chat.ids import check_ids
from crossdistill.chat.renderer import PromptRenderer
from crossdistill.errors import InputError
from crossdistill.findings import FindingLog
from crossdistill.inspection.model_files import config_of, declared_ids, declared_stops, read_tokenizer
from crossdistill.inspection.model_info import ModelInfo
from crossdistill.inspection.same_model import check_copy, check_pair
from crossdistill.tokens import ByteVocab


def read_pair(
    student: str,
    teacher: str,
    student_kwargs: dict[str, Any] | None = None,
    teacher_kwargs: dict[str, Any] | None = None,
) -> tuple[ModelInfo, ModelInfo]:
    """Both models of a pair, read and verified as by a training run.

    Args:
        student: a folder or hub id.
        teacher: a folder or hub id.
        student_kwargs: keyword arguments of the student's chat template.
        teacher_kwargs: keyword arguments of the teacher's chat template.

    Raises:
        InputError: a run would refuse the pair.
    """
    check_pair(student, teacher)
    sides = read_model_info(student, "student", student_kwargs), read_model_info(teacher, "teacher", teacher_kwargs)
    check_copy(student, teacher, *(PromptRenderer(one.tokenizer, one.template_kwargs or {}, []) for one in sides))
    return sides


def read_model_info(name: str, role: str, template_kwargs: dict[str, Any] | None = None) -> ModelInfo:
    """A model without its weights. A folder with a tokenizer alone counts as a model with the tokenizer's ids.

    Args:
        name: a folder or hub id.
        role: "student" or "teacher", for messages.
        template_kwargs: keyword arguments of its chat template.

    Raises:
        InputError: a file cannot be read, or the tokenizer's bytes cannot be verified.
    """
    tokenizer, config = read_tokenizer(name), None if _is_tokenizer_alone(name) else config_of(name)
    log = FindingLog(emit=lambda _: None)  # a report says them
    log.add_all(make_deterministic(tokenizer, role))
    try:
        vocab = ByteVocab.from_tokenizer(tokenizer, size=getattr(config, "vocab_size", None))
    except InputError as error:
        raise InputError(f"the {role} {name!r} cannot be used: {error}") from None
    context, stops = getattr(config, "max_position_embeddings", None), declared_stops(name, len(vocab))
    declared = {} if config is None else declared_ids(name)
    log.add_all(check_ids(PromptRenderer(tokenizer, template_kwargs or {}, []), len(vocab), role, declared))
    return ModelInfo(name, tokenizer, vocab, context, stops, template_kwargs, tuple(log.findings))


def _is_tokenizer_alone(name: str) -> bool:
    folder = Path(name)
    return folder.is_dir() and not any((folder / file).exists() for file in ("config.json", "adapter_config.json"))
