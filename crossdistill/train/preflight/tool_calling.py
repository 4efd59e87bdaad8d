"""Whether a run with tools can work, known before a model is loaded."""

import inspect
from typing import Any

from trl.chat_template_utils import (
    add_response_schema,
    get_training_chat_template,
    is_chat_template_prefix_preserving,
    supports_tool_calling,
)

from crossdistill.chat.effects import TOOL_CONVERSATION
from crossdistill.chat.refusal import TemplateRefusalError
from crossdistill.chat.renderer import PromptRenderer
from crossdistill.chat.template import render_text
from crossdistill.errors import InputError


def check_tools(student: PromptRenderer, teacher: PromptRenderer) -> None:
    """Check that both templates show a conversation with tools, and that TRL can read the student's calls.

    Args:
        student: with the tools.
        teacher: likewise.

    Raises:
        InputError: a tool or a template with which the run cannot work.
    """
    for tool in student.tools:
        if inspect.iscoroutinefunction(tool):
            raise InputError(f"the tool {tool.__name__!r} is asynchronous: give a function that returns its result.")
    _check_student(student.tokenizer)
    try:
        render_text(teacher.tokenizer, TOOL_CONVERSATION, teacher.template_kwargs, teacher.tools)
    except TemplateRefusalError as error:
        raise InputError(
            f"the teacher cannot read tool calls and their results: {error} It would know nothing of what the student "
            "did: give its tokenizer (teacher_processing_class) a chat_template that shows them, or choose another "
            "teacher."
        ) from None


def _check_student(tokenizer: Any) -> None:
    name = tokenizer.name_or_path
    if not supports_tool_calling(tokenizer):
        raise InputError(
            f"the chat template of the student {name!r} does not show tool calls and their results: give its tokenizer "
            "a chat_template that does, or train without tools."
        )
    if tokenizer.response_template is None:
        try:
            add_response_schema(tokenizer)
        except ValueError:
            raise InputError(
                f"TRL does not know how the student {name!r} writes a tool call: set response_template on its "
                "tokenizer (transformers, response parsing) and pass it as processing_class."
            ) from None
    if not is_chat_template_prefix_preserving(tokenizer):
        try:
            get_training_chat_template(tokenizer)
        except ValueError:
            raise InputError(
                f"the chat template of the student {name!r} renders earlier turns differently once a tool result "
                "follows, so the student would read text that it did not sample: give its tokenizer a chat_template "
                "that preserves prefixes."
            ) from None
