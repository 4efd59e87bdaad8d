"""The configurations of a run's models."""

from typing import Any

from crossdistill.errors import InputError
from crossdistill.inspection.model_files import config_of


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
