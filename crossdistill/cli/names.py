"""What the user named: models that may exist, and the keyword arguments of their templates."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from crossdistill.errors import InputError

StudentTemplateKwargs = Annotated[
    str | None,
    typer.Option(
        "--student-template-kwargs",
        metavar="JSON",
        help="Keyword arguments of the student's chat template, as train.chat_template_kwargs of a run.",
    ),
]
TeacherTemplateKwargs = Annotated[
    str | None,
    typer.Option(
        "--teacher-template-kwargs",
        metavar="JSON",
        help="Keyword arguments of the teacher's chat template, as train.teacher_chat_template_kwargs of a run.",
    ),
]


def check_there(*models: str) -> None:
    """What can only be a folder, because no hub id looks so, must exist. Raises InputError."""
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    for model in models:
        if model and Path(model).exists():
            continue
        try:
            validate_repo_id(model)
        except HFValidationError:
            raise InputError(
                f"the folder {model!r} does not exist: give a model's folder, or a hub id such as Qwen/Qwen3-8B."
            ) from None


def template_kwargs(given: str | None, option: str) -> dict[str, Any]:
    """The keyword arguments given by `option`, none where it is left out. Raises InputError."""
    from crossdistill.chat.template import check_template_kwargs

    if given is None:
        return {}
    way_out = 'give a JSON object, such as {"enable_thinking": false}'
    try:
        kwargs = json.loads(given)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{option} is not JSON ({error}): {way_out}.") from None
    if not isinstance(kwargs, dict):
        raise InputError(f"{option} is a {type(kwargs).__name__}: {way_out}.")
    check_template_kwargs(kwargs)
    return kwargs
