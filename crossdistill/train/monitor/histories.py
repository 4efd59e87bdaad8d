"""Earlier answers of the assistant in a run's conversations, and how many of them a chat template changes."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace

from crossdistill.chat.history import has_answers
from crossdistill.chat.messages import Prompt
from crossdistill.chat.renderer import PromptRenderer
from crossdistill.distill import ScoredBatch


@dataclass(frozen=True)
class HistoryCounts:
    """Conversations with earlier answers of the assistant.

    Attributes:
        student: prompts of the data that have some.
        teacher: turns before which there are some; those of the student's own earlier turns count.
        student_changed, teacher_changed: those of them that the side's template does not show as they were.
    """

    student: int = 0
    teacher: int = 0
    student_changed: int = 0
    teacher_changed: int = 0

    def __add__(self, other: "HistoryCounts") -> "HistoryCounts":
        return HistoryCounts(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


def history_counts(
    batch: ScoredBatch, student: PromptRenderer, teachers: Mapping[str, PromptRenderer]
) -> dict[str, HistoryCounts]:
    """The counts of a batch as the student and each teacher read it, by the teacher's name.

    Args:
        batch: scored rollouts.
        student, teachers: how their prompts are rendered; every conversation with history is rendered once more.
    """
    shown, shown_changed = _counts(batch.rollout.prompts, student)
    counts = {}
    for name, renderer in teachers.items():
        scored = (one for item in batch.responses for one in (item, *item.others))
        prompts = [one.prompt for one in scored if one.teacher_name == name]
        count, changed = _counts(prompts, renderer)
        counts[name] = HistoryCounts(shown, count, shown_changed, changed)
    return counts


def all_teachers(counts: Mapping[str, HistoryCounts]) -> HistoryCounts:
    """The counts of all teachers together; the student's are the same in each."""
    first, *others = counts.values()
    for other in others:
        first += replace(other, student=0, student_changed=0)
    return first


def _counts(prompts: Sequence[Prompt], renderer: PromptRenderer) -> tuple[int, int]:
    """Conversations with earlier answers, and those of them that the template changes."""
    found = [prompt for prompt in prompts if has_answers(prompt)]
    return len(found), sum(map(renderer.changes, found))
