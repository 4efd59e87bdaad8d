"""Warnings about what the chat templates of student and teachers do to a run's conversations."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from crossdistill.chat import Response
from crossdistill.chat.effects import Fate, TemplateEffects, mismatches, template_effects
from crossdistill.chat.messages import Prompt
from crossdistill.chat.renderer import PromptRenderer
from crossdistill.chat.template import folds_system
from crossdistill.distill import Routing
from crossdistill.train.monitor.base import Monitor, Observation
from crossdistill.train.monitor.histories import HistoryCounts

_LOGGER = logging.getLogger("crossdistill")


@dataclass
class Warnings:
    """Emits each sentence once, as a warning of the logger ``crossdistill``; one of several processes emits."""

    is_main_process: bool = True
    emitted: set[str] = field(default_factory=set)

    def emit(self, sentence: str) -> None:
        if self.is_main_process and sentence not in self.emitted:
            self.emitted.add(sentence)
            _LOGGER.warning(sentence.strip())


class PairWarnings:
    """Warnings about the templates of the student and one teacher.

    Args:
        student, teacher: how their prompts are rendered.
        warnings: emits them.
        name: what the teacher is called.
    """

    def __init__(
        self,
        student: PromptRenderer,
        teacher: PromptRenderer,
        warnings: Warnings | None = None,
        name: str = "teacher",
    ):
        self._renderers = {"student": student, name: teacher}
        self._teacher = name
        self._effects: dict[str, TemplateEffects] = {}
        self._warnings = warnings or Warnings()

    def see_prompts(self, prompts: Sequence[Prompt]) -> None:
        """Prompts before they are rendered. Texts have no template, so nothing is said of them."""
        conversations = [prompt for prompt in prompts if not isinstance(prompt, str)]
        if not conversations:
            return
        if not self._effects:
            self._effects = {
                name: template_effects(one.tokenizer, one.template_kwargs, one.tools)
                for name, one in self._renderers.items()
            }
            self._warn_of_templates()
        with_system = next((prompt for prompt in conversations if prompt[0]["role"] == "system"), None)
        if with_system is None:
            return
        for name, one in self._renderers.items():
            if folds_system(one.tokenizer, with_system, one.template_kwargs, one.tools):
                self._warnings.emit(
                    f"the {name}'s chat template takes no system message: it is written into the first user message."
                )

    def see_histories(self, histories: HistoryCounts) -> None:
        """What became of earlier answers in a batch of rollouts."""
        for side, name, changed in (
            ("student", "student", histories.student_changed),
            ("teacher", self._teacher, histories.teacher_changed),
        ):
            if changed:
                self._warnings.emit(
                    f"the {name}'s chat template does not show earlier answers of the assistant as they were; "
                    f"history_changed/{side} counts such conversations. {self._why(name)}"
                )

    def see_responses(self, responses: Sequence[Response]) -> None:
        """Control tokens that the student sampled within its responses."""
        found = sorted({token_id for response in responses for token_id in response.special_ids.tolist()})
        names = self._renderers["student"].tokenizer.convert_ids_to_tokens(found)
        for name in names:
            if name is not None:
                self._warnings.emit(
                    f"the student wrote its control token {name!r} within a response, which the teacher is not shown "
                    "(special_token); if it is a word of the response, list it in text_tokens."
                )

    def _warn_of_templates(self) -> None:
        for sentence in mismatches(self._effects["student"], self._effects[self._teacher]):
            self._warnings.emit(sentence)
        for name, one in self._renderers.items():
            if one.tools and self._effects[name].tools is not Fate.KEPT:
                self._warnings.emit(f"the {name}'s chat template does not show the tools, so it knows nothing of them.")
            if one.tools and self._effects[name].tool_results is not Fate.KEPT:
                self._warnings.emit(f"the {name}'s chat template does not show tool calls and their results whole.")

    def _why(self, name: str) -> str:
        """The habits of the template that change an answer, as the probes found them."""
        effects = self._effects[name]
        habits = {
            "strips white space": effects.strips_leading or effects.strips_trailing,
            "drops or rewrites reasoning (<think>)": effects.past_reasoning is not Fate.KEPT,
            "leaves out reasoning_content": effects.reasoning_field is not Fate.KEPT,
        }
        found = ", ".join(habit for habit, applies in habits.items() if applies)
        return f"Its habits: {found}." if found else ""


class TemplateWarnings(Monitor):
    """The warnings of the student and each of its teachers.

    Args:
        pairs: by the teachers' names.
        routing: which teacher scores which prompt.
    """

    def __init__(self, pairs: Mapping[str, PairWarnings], routing: Routing):
        self._pairs = dict(pairs)
        self._routing = routing

    def see_prompts(self, rows: Sequence[Mapping[str, Any]]) -> None:
        weights = [self._routing.of(row) for row in rows]
        for name, pair in self._pairs.items():
            pair.see_prompts([row["prompt"] for row, own in zip(rows, weights, strict=True) if name in own])

    def see(self, seen: Observation) -> None:
        for name, pair in self._pairs.items():
            pair.see_histories(seen.histories[name])
            pair.see_responses([item.response for item in seen.batch.responses if item.teacher_name == name])
