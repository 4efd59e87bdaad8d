"""A teacher that is a copy of its student, so that it has nothing to teach."""

import filecmp
from pathlib import Path
from typing import Any

from crossdistill.chat.renderer import PromptRenderer
from crossdistill.findings import Kind, Severity, When

COPY = Kind(
    "teacher_is_a_copy",
    Severity.REFUSAL,
    When.BEFORE_WEIGHTS,
    "the teacher {teacher!r} holds the same weights as the student {student!r}, and reads the same prompts: a model "
    "cannot learn from itself; name another teacher.",
    "every advantage is 0, and nothing is learnt",
)


def check_copy(student: Any, teacher: Any, ours: PromptRenderer, theirs: PromptRenderer) -> None:
    """Check that a teacher's files are not those of its student under another name.

    A copy that is shown other prompts, by another template or other keyword arguments, may teach what they tell it.

    Args:
        student, teacher: folders; anything else passes.
        ours, theirs: how their prompts are rendered.

    Raises:
        FindingError: they are.
    """
    if not isinstance(student, str) or not isinstance(teacher, str):
        return
    if _render_alike(ours, theirs) and have_equal_weights(Path(student), Path(teacher)):
        raise COPY.error(student=student, teacher=teacher)


def have_equal_weights(one: Path, other: Path) -> bool:
    """Whether two folders hold files of weights of the same names and content; read up to the first difference.

    Example:
        >>> from crossdistill.demo.run import asset
        >>> have_equal_weights(Path(asset("student")), Path(asset("teacher")))
        False
    """
    names = sorted(path.name for path in one.glob("*.safetensors"))
    if not names or names != sorted(path.name for path in other.glob("*.safetensors")):
        return False
    return all(filecmp.cmp(one / name, other / name, shallow=False) for name in names)


def _render_alike(ours: PromptRenderer, theirs: PromptRenderer) -> bool:
    templates = ours.chat_template == theirs.chat_template and ours.template_kwargs == theirs.template_kwargs
    return bool(templates and ours.tokenizer.get_vocab() == theirs.tokenizer.get_vocab())
