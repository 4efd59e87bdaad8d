"""What is checked of models before one of them answers: no weights are read."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from crossdistill.arena.file import ArenaFile
from crossdistill.errors import InputError
from crossdistill.inspection.missing_model import may_be_on_the_hub
from crossdistill.inspection.model_files import read_tokenizer, vocab_size
from crossdistill.inspection.model_name import is_url
from crossdistill.inspection.same_model import check_pair
from crossdistill.runs.config import TeacherTable
from crossdistill.runs.forecast import without_weights
from crossdistill.runs.train import lora_config
from crossdistill.tokens import ByteVocab
from crossdistill.train.preflight.setup import setting_up
from crossdistill.train.preflight.tokenizers import load_tokenizer
from crossdistill.train.preflight.weights import check_weights


@contextmanager
def of(place: str) -> Iterator[None]:
    """Say which key of the file an error is about.

    Args:
        place: its table and name.
    """
    try:
        yield
    except InputError as error:
        raise InputError(f"{place}: {error}") from None


def check_models(arena: ArenaFile) -> None:
    """Check the models of all pairs and methods. What may be a hub id is read when it is needed.

    Args:
        arena: the file.

    Raises:
        InputError: a folder that cannot be loaded, a server without its tokenizer or in place of a student, a pair of
            one model, a teacher of another tokenizer as same_tokenizer_teacher, or an adapter that no student takes.
    """
    for name, pair in arena.pairs.items():
        place = f"[pairs.{name}]"
        if is_url(pair.student):
            raise InputError(f"{place} student {pair.student} is a server, which cannot be trained: name a folder.")
        with of(f"{place} student"):
            _check_folder(pair.student)
        with of(f"{place} teacher"):
            check_pair(pair.student, pair.teacher)
            _check_teacher(TeacherTable(model=pair.teacher, tokenizer=pair.teacher_tokenizer), "teacher_tokenizer")
        if pair.same_tokenizer_teacher is not None:
            with of(f"{place} same_tokenizer_teacher"):
                _check_same_tokenizer(pair.student, pair.same_tokenizer_teacher)
    for name, method in arena.methods.items():
        for teacher, table in (method.teachers or {}).items():
            with of(f"[methods.{name}.teachers.{teacher}]"):
                _check_teacher(table, "tokenizer")
    if arena.lora is not None:
        for student in dict.fromkeys(pair.student for pair in arena.pairs.values()):
            _check_adapter(student, arena.lora)


def _check_teacher(table: TeacherTable, key: str) -> None:
    if table.tokenizer is not None:
        _check_tokenizer(table.tokenizer)
    if not is_url(table.model):
        _check_folder(table.model)
    elif table.tokenizer is None:
        raise InputError(f"{table.model} is a server: name the folder or hub id of its tokenizer, {key}.")


@cache
def _check_folder(name: str) -> None:
    if _is_local(name):
        check_weights("model", name, {})
        load_tokenizer(name, "model")


@cache
def _check_tokenizer(name: str) -> None:
    if _is_local(name):
        read_tokenizer(name)


def _is_local(name: str) -> bool:
    """Whether a name is no hub id."""
    if Path(name).is_file():
        raise InputError(f"{name} is a file: name a model's folder or its hub id.")
    return Path(name).is_dir() or not may_be_on_the_hub(name)


def _check_same_tokenizer(student: str, teacher: str) -> None:
    check_pair(student, teacher)
    if is_url(teacher):  # its tokenizer is checked as the run begins
        return
    _check_folder(teacher)
    ours, theirs = _pieces(student), _pieces(teacher)
    other = next((number for number, (one, its) in enumerate(zip(ours, theirs, strict=False)) if one != its), None)
    if other is not None:
        raise InputError(
            f"{teacher} has another tokenizer than the student: id {other} is {ours[other]!r} to the student and "
            f"{theirs[other]!r} to it; name a teacher of the student's family, or leave it out."
        )


@cache
def _pieces(model: str) -> Sequence[bytes]:
    """The bytes of each id of a model's tokenizer."""
    return ByteVocab.from_tokenizer(load_tokenizer(model, "model"), vocab_size(model)).pieces


def _check_adapter(student: str, settings: dict[str, Any]) -> None:
    """Check that a student has the modules that the adapter goes into."""
    from peft import get_peft_model

    if _is_local(student):
        config = lora_config({**settings, "init_lora_weights": False})  # there are no weights to begin with
        with of(f"[lora] does not fit the student {student}"), setting_up():
            get_peft_model(without_weights("student", student), config)
