"""Warnings about what the chat templates of student and teachers do to a run's conversations."""

from collections.abc import Mapping, Sequence
from typing import Any

from crossdistill.chat import Response, mismatch_findings, template_findings
from crossdistill.chat.effects import Fate, TemplateEffects, template_effects
from crossdistill.chat.findings import Uses
from crossdistill.chat.messages import Prompt
from crossdistill.chat.renderer import PromptRenderer
from crossdistill.distill import Routing
from crossdistill.findings import FindingLog, Kind, Severity, When
from crossdistill.train.monitor.base import Monitor, Observation
from crossdistill.train.monitor.histories import HistoryCounts

HISTORY_CHANGED = Kind(
    "history_changed",
    Severity.WARNING,
    When.DURING,
    "the {name}'s chat template does not show earlier answers of the assistant as they were; history_changed/{side} "
    "counts such conversations.{habits}",
    "the model reads another conversation than the one that took place",
)
CONTROL_TOKEN_SAMPLED = Kind(
    "control_token_sampled",
    Severity.WARNING,
    When.DURING,
    "the student wrote its control token {token!r} within a response, which the teacher is not shown (special_token); "
    "if it is a word of the response, list it in text_tokens.",
    "the token gets no signal, and the teacher judges the rest without it",
)


class PairWarnings:
    """Warnings about the templates of the student and one teacher.

    Args:
        student, teacher: how their prompts are rendered.
        log: receives the findings.
        name: what the teacher is called.
        stops: whether the ends of turns are taught.
    """

    def __init__(
        self,
        student: PromptRenderer,
        teacher: PromptRenderer,
        log: FindingLog | None = None,
        name: str = "teacher",
        stops: bool = True,
    ):
        self._student, self._teacher, self._name = student, teacher, name
        self._effects: dict[str, TemplateEffects] = {}
        self._log = log or FindingLog()
        self._stops = stops

    def see_prompts(self, prompts: Sequence[Prompt]) -> None:
        """Prompts before they are rendered. Texts have no template, so nothing is said of them."""
        uses = Uses.of(prompts, tools=bool(self._student.tools), stops=self._stops)
        if not uses.messages:
            return
        for name, effects in self._probed().items():
            self._log.add_all(template_findings(effects, name, uses))
        self._log.add_all(mismatch_findings(self._effects["student"], self._effects[self._name], self._name))

    def see_histories(self, histories: HistoryCounts) -> None:
        """What became of earlier answers in a batch of rollouts."""
        if histories.student_changed:
            self._log.add(HISTORY_CHANGED(name="student", side="student", habits=self._habits("student")))
        if histories.teacher_changed:
            self._log.add(HISTORY_CHANGED(name=self._name, side="teacher", habits=self._habits(self._name)))

    def see_responses(self, responses: Sequence[Response]) -> None:
        """Control tokens that the student sampled within its responses."""
        found = sorted({token_id for response in responses for token_id in response.special_ids.tolist()})
        names = self._student.tokenizer.convert_ids_to_tokens(found)
        self._log.add_all(CONTROL_TOKEN_SAMPLED(token=name) for name in names if name is not None)

    def _probed(self) -> dict[str, TemplateEffects]:
        """The effects of both templates, probed when they are first needed."""
        if not self._effects:
            sides = {"student": self._student, self._name: self._teacher}
            self._effects = {
                name: template_effects(one.tokenizer, one.template_kwargs, one.tools) for name, one in sides.items()
            }
        return self._effects

    def _habits(self, name: str) -> str:
        """The habits of the template that change an answer, as the probes found them."""
        effects = self._probed()[name]
        habits = {
            "strips white space": effects.strips_leading or effects.strips_trailing,
            "drops or rewrites reasoning (<think>)": effects.past_reasoning is not Fate.KEPT,
            "leaves out reasoning_content": effects.reasoning_field is not Fate.KEPT,
        }
        found = ", ".join(habit for habit, applies in habits.items() if applies)
        return f" Its habits: {found}." if found else ""


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
