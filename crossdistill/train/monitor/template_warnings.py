"""What the templates of a pair do to the run's conversations, told once."""

import logging
from collections.abc import Sequence
from dataclasses import astuple, dataclass

from crossdistill.chat import Response
from crossdistill.chat.effects import Fate, TemplateEffects, mismatches, template_effects
from crossdistill.chat.history import has_answers
from crossdistill.chat.messages import Prompt
from crossdistill.chat.renderer import PromptRenderer
from crossdistill.chat.template import folds_system

_LOGGER = logging.getLogger("crossdistill")


@dataclass(frozen=True)
class HistoryCounts:
    """Conversations with earlier answers of the assistant, and how many of them a template changed on each side.

    student: prompts of the data set. teacher: of each turn, the answers that the student gave before it included.
    """

    student: int = 0
    teacher: int = 0
    student_changed: int = 0
    teacher_changed: int = 0

    @classmethod
    def shown(cls, prompts: Sequence[Prompt], student: "PromptRenderer") -> "HistoryCounts":
        """What the student is shown."""
        count, changed = _num_histories(prompts, student)
        return cls(student=count, student_changed=changed)

    @classmethod
    def read(cls, prompts: Sequence[Prompt], teacher: "PromptRenderer") -> "HistoryCounts":
        """What a teacher reads."""
        count, changed = _num_histories(prompts, teacher)
        return cls(teacher=count, teacher_changed=changed)

    def __add__(self, other: "HistoryCounts") -> "HistoryCounts":
        return HistoryCounts(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


def _num_histories(prompts: Sequence[Prompt], side: "PromptRenderer") -> tuple[int, int]:
    """Conversations with earlier answers, and those of them that the side's template changes."""
    found = [prompt for prompt in prompts if has_answers(prompt)]
    return len(found), sum(map(side.changes, found))


class TemplateWarnings:
    """Looks at conversations as they come and tells what a user should know, each sentence once.

    They are warnings of the logger ``crossdistill``; of several processes one speaks.

    Args:
        name: what the teacher is called. told: sentences that were told elsewhere, too.
    """

    def __init__(
        self,
        student: PromptRenderer,
        teacher: PromptRenderer,
        speaks: bool = True,
        name: str = "teacher",
        told: set[str] | None = None,
    ):
        self._sides = {"student": student, name: teacher}
        self._teacher = name
        self._effects: dict[str, TemplateEffects] = {}
        self._told = set() if told is None else told
        self._speaks = speaks

    def see(self, prompts: Sequence[Prompt]) -> None:
        """Prompts before they are rendered; texts have no template, so there is nothing to tell of them."""
        conversations = [prompt for prompt in prompts if not isinstance(prompt, str)]
        if not conversations:
            return
        if not self._effects:
            self._effects = {
                name: template_effects(side.tokenizer, side.template_kwargs, side.tools)
                for name, side in self._sides.items()
            }
            self._tell_of_templates()
        with_system = next((prompt for prompt in conversations if prompt[0]["role"] == "system"), None)
        if with_system is None:
            return
        for name, side in self._sides.items():
            if folds_system(side.tokenizer, with_system, side.template_kwargs, side.tools):
                self._tell(
                    f"the {name}'s chat template takes no system message: it is written into the first user message."
                )

    def see_histories(self, histories: HistoryCounts) -> None:
        """What became of earlier answers in a batch of rollouts."""
        for side, name, changed in (
            ("student", "student", histories.student_changed),
            ("teacher", self._teacher, histories.teacher_changed),
        ):
            if changed:
                self._tell(
                    f"the {name}'s chat template does not show earlier answers of the assistant as they were; "
                    f"history_changed/{side} counts such conversations. {self._why(name)}"
                )

    def see_responses(self, responses: Sequence[Response]) -> None:
        """Control tokens that the student wrote within them."""
        found = sorted({token_id for response in responses for token_id in response.special_ids.tolist()})
        names = [name for name in self._sides["student"].tokenizer.convert_ids_to_tokens(found) if name is not None]
        for name in names:
            self._tell(
                f"the student wrote its control token {name!r} within a response, which the teacher is not shown "
                "(special_token); if it is a word of the response, list it in text_tokens."
            )

    def _tell_of_templates(self) -> None:
        for sentence in mismatches(self._effects["student"], self._effects[self._teacher]):
            self._tell(sentence)
        for name, side in self._sides.items():
            if side.tools and self._effects[name].tools is not Fate.KEPT:
                self._tell(f"the {name}'s chat template does not show the tools, so it knows nothing of them.")
            if side.tools and self._effects[name].tool_results is not Fate.KEPT:
                self._tell(f"the {name}'s chat template does not show tool calls and their results whole.")

    def _why(self, name: str) -> str:
        """What the probes found that changes an answer."""
        effects = self._effects[name]
        habits = {
            "strips white space": effects.strips_leading or effects.strips_trailing,
            "drops or rewrites reasoning (<think>)": effects.past_reasoning is not Fate.KEPT,
            "leaves out reasoning_content": effects.reasoning_field is not Fate.KEPT,
        }
        found = ", ".join(habit for habit, applies in habits.items() if applies)
        return f"Its habits: {found}." if found else ""

    def _tell(self, sentence: str) -> None:
        if self._speaks and sentence not in self._told:
            self._told.add(sentence)
            _LOGGER.warning(sentence.strip())
