"""A teacher that is its student, or a copy of it, so that it has nothing to teach."""

import filecmp
from collections.abc import Collection
from pathlib import Path
from typing import Any

from crossdistill.chat.renderer import PromptRenderer
from crossdistill.errors import InputError
from crossdistill.findings import Kind, Severity, When

COPY = Kind(
    "teacher_is_a_copy",
    Severity.REFUSAL,
    When.BEFORE_WEIGHTS,
    "the teacher {teacher!r} holds the same weights as the student {student!r}, and reads the same prompts: a model "
    "cannot learn from itself; name another teacher.",
    "every advantage is 0, and nothing is learnt",
)


def check_pair(student: Any, teacher: Any) -> None:
    """Check that student and teacher are two different models.

    Args:
        student: a model object, a folder or a hub id.
        teacher: the same, or the URL of a server.

    Raises:
        InputError: they are the same.
    """
    if student is teacher and not isinstance(student, str):
        raise InputError("student and teacher are the same model object: name two models.")
    if isinstance(student, str) and isinstance(teacher, str):
        same = Path(student).resolve() == Path(teacher).resolve() if Path(student).exists() else student == teacher
        if same:
            raise InputError(
                f"student and teacher are both {student!r}: a model cannot learn from itself; name two models."
            )


def is_alone(teachers: Collection[Any], is_rewarded: bool) -> bool:
    """Whether one teacher is all that a run learns from.

    Beside another teacher or a reward, a student's frozen start keeps it near, or is the reference that is subtracted.

    Args:
        teachers: of the run, the reference among them.
        is_rewarded: the run has a reward.

    Example:
        >>> is_alone(["start"], is_rewarded=False), is_alone(["start"], is_rewarded=True)
        (True, False)
    """
    return len(teachers) == 1 and not is_rewarded


def check_teachers(student: Any, teachers: Collection[Any], is_rewarded: bool = False) -> None:
    """Check that a student that learns from one teacher alone does not learn from itself.

    Args:
        student: a model object, a folder or a hub id.
        teachers: of a run, the reference among them: the same, or URLs of servers.
        is_rewarded: the run has a reward.

    Raises:
        InputError: the student is its only teacher, or an object that is trained is a teacher.
    """
    for teacher in teachers:
        if is_alone(teachers, is_rewarded) or not isinstance(teacher, str):
            check_pair(student, teacher)


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
