"""Models and keyword arguments of templates that are named on the command line."""

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
        help="Keyword arguments of the student's chat template, like train.chat_template_kwargs of a run.",
    ),
]
TeacherTemplateKwargs = Annotated[
    str | None,
    typer.Option(
        "--teacher-template-kwargs",
        metavar="JSON",
        help="Keyword arguments of the teacher's chat template, like train.teacher_chat_template_kwargs of a run.",
    ),
]


def check_folders(*models: str) -> None:
    """Check that models exist if their names can only be folders, because they are not valid hub ids.

    Raises:
        InputError: one does not.
    """
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    from crossdistill.inspection.missing_model import near_folder

    for model in models:
        if model and Path(model).exists():
            continue
        try:
            validate_repo_id(model)
        except HFValidationError:
            near = near_folder(model)
            hint = "" if near is None else f"did you mean {near!r}? Otherwise "
            raise InputError(
                f"the folder {model!r} does not exist: {hint}give a model's folder, or a hub id such as Qwen/Qwen3-8B."
            ) from None


def template_kwargs(given: str | None, option: str) -> dict[str, Any]:
    """Parse keyword arguments of a template.

    Args:
        given: a JSON object; None if the option is left out.
        option: its name, for messages.

    Raises:
        InputError: it is not a JSON object, or names an argument that is reserved.
    """
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
