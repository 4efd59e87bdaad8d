"""What a model is asked: messages, and their tokens."""

from collections.abc import Sequence
from typing import Any

from crossdistill.chat import render_prompt
from crossdistill.chat.messages import Message, Prompt
from crossdistill.chat.prompts import as_prompt
from crossdistill.errors import InputError
from crossdistill.eval.generation.base import Wanted
from crossdistill.eval.problem import Problem
from crossdistill.eval.sampling import Sampling


def messages_of(prompt: Prompt, system: str | None = None) -> list[Message]:
    """The conversation before a response; a text is one message of the user.

    Args:
        prompt: of a problem.
        system: a system message before it.

    Example:
        >>> messages_of("What is 2 + 2?", "Be brief.")
        [{'role': 'system', 'content': 'Be brief.'}, {'role': 'user', 'content': 'What is 2 + 2?'}]
    """
    read = as_prompt(prompt)
    messages = [{"role": "user", "content": read}] if isinstance(read, str) else read
    return messages if system is None else [{"role": "system", "content": system}, *messages]


def rendered(tokenizer: Any, problems: Sequence[Problem], sampling: Sampling) -> dict[str, list[int]]:
    """Token ids of the prompt of each problem, as the model's own chat template renders it.

    Args:
        tokenizer: a Hugging Face tokenizer with a chat template.
        problems: to render.
        sampling: names the system message and the keyword arguments of the template.

    Returns:
        Id of the problem -> ids.
    """
    kwargs = dict(sampling.template_kwargs)
    return {one.id: render_prompt(tokenizer, messages_of(one.prompt, sampling.system), kwargs) for one in problems}


def check_room(prompts: dict[str, list[int]], context: int | None) -> None:
    """Check that each prompt leaves room for a response.

    Args:
        prompts: as of :func:`rendered`.
        context: tokens that the model's context holds; None if it is not known.

    Raises:
        InputError: one does not; the message names the longest.

    Example:
        >>> check_room({"0": [1, 2]}, context=3)
    """
    longest = max(prompts, key=lambda name: len(prompts[name]), default=None)
    if context is not None and longest is not None and len(prompts[longest]) >= context:
        raise InputError(
            f"the prompt of problem {longest!r} has {len(prompts[longest])} tokens, and the model's context is "
            f"{context}: leave the problem out, or take a model with a longer context."
        )


def by_problem(wanted: Sequence[Wanted]) -> dict[str, Problem]:
    """The problems of samples, by id."""
    return {one.problem.id: one.problem for one in wanted}
