"""Checks of rows, one at a time: what a prompt spells, and whether each model that reads it can render it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from crossdistill.chat.ids import tokens_beyond
from crossdistill.chat.markers import Markers, marker_findings, texts_of
from crossdistill.chat.messages import Prompt
from crossdistill.chat.own_template import continues_texts, text_findings
from crossdistill.chat.prompts import prompt_name
from crossdistill.chat.renderer import PromptRenderer
from crossdistill.chat.roles import role_findings
from crossdistill.chat.shown import unshown_findings
from crossdistill.chat.stop import token_name
from crossdistill.distill.routing import Routing
from crossdistill.errors import InputError
from crossdistill.findings import Finding, FindingError, FindingLog, Kind, Severity, When
from crossdistill.train.completions import Completions
from crossdistill.train.preflight.data import checked_row, rows_to_render, spelled_rows

ID_BEYOND_MODEL = Kind(
    "id_beyond_model",
    Severity.REFUSAL,
    When.BEFORE_WEIGHTS,
    "{name} is rendered with the token {token!r}, whose id {id} is beyond the {size} embeddings of the {side}: leave "
    "the row out, or use the tokenizer that the model was trained with.",
    "the run ends at this row, on a GPU with an assertion of the device",
)


@dataclass(frozen=True)
class Reader:
    """A model as a reader of prompts.

    Attributes:
        label: what messages call it, such as "student".
        renderer: renders its prompts.
        context: tokens of prompt and response together; None if there is no limit.
        num_ids: token ids that it has embeddings for; None if that is unknown.
        text_tokens: special tokens that are words.
    """

    label: str
    renderer: PromptRenderer
    context: int | None = None
    num_ids: int | None = None
    text_tokens: tuple[str, ...] = ()

    @cached_property
    def markers(self) -> Markers:
        """How its template marks turns."""
        return Markers.of(self.label, self.renderer, self.text_tokens)

    @cached_property
    def tokens_beyond(self) -> dict[str, int]:
        """Tokens without embeddings, with their ids."""
        return tokens_beyond(self.renderer.tokenizer, self.num_ids)

    def check_text(self, prompt: Prompt, name: str) -> None:
        """Check that a prompt spells no token that the model has no embeddings for.

        Args:
            prompt: a text or messages.
            name: what messages call the prompt.

        Raises:
            FindingError: it spells one.
        """
        for token in self.tokens_beyond:
            if any(token in text for text in texts_of(prompt)):
                raise self._beyond(name, self.tokens_beyond[token])

    def check(self, prompt: Prompt, name: str, budget: int) -> None:
        """Check that a prompt can be rendered within the context, in ids that the model has.

        Args:
            prompt: a text or messages.
            name: what messages call the prompt.
            budget: tokens of a response.

        Raises:
            InputError: it cannot, or it is a text while tools are called.
        """
        if self.renderer.tools and isinstance(prompt, str):
            raise InputError(f"{name} is a text, and tools need messages: give a list of messages, or no tools.")
        ids = self._rendered(prompt, name)
        if self.context is not None and len(ids) + budget > self.context:
            raise InputError(
                f"{name} has {len(ids)} tokens, which with a response of {budget} tokens exceeds the {self.label}'s "
                f"context of {self.context} tokens: lower the budget or drop the long prompts."
            )
        if self.num_ids is not None and max(ids) >= self.num_ids:
            raise self._beyond(name, max(ids))

    def _beyond(self, name: str, token_id: int) -> FindingError:
        token = token_name(self.renderer.tokenizer, token_id)
        return ID_BEYOND_MODEL.error(name=name, token=token, id=token_id, size=self.num_ids, side=self.label)

    def _rendered(self, prompt: Prompt, name: str) -> list[int]:
        try:
            return self.renderer.render(prompt)
        except FindingError as error:
            raise FindingError(Finding(error.finding.kind, f"{name}: {error}")) from None
        except InputError as error:
            raise type(error)(f"{name}: {error}") from None


@dataclass
class RowCheck:
    """Checks the rows of a run.

    Attributes:
        student: reads every prompt.
        teachers: by name; each reads the prompts that it is asked about.
        budget: tokens of a response.
        routing: says which these are; None if each teacher reads all of them.
        log: receives the warnings, each of them for the first row that it applies to.
    """

    student: Reader
    teachers: Mapping[str, Reader] = field(default_factory=dict)
    budget: int = 0
    routing: Routing | None = None
    log: FindingLog = field(default_factory=FindingLog)
    _told: set[tuple[str, str]] = field(default_factory=set)

    @cached_property
    def completions(self) -> Completions:
        """Reads given responses, and finds what is odd about them."""
        others = [teacher.renderer.tokenizer for teacher in self.teachers.values()]
        return Completions(self.student.renderer.tokenizer, others, self.student.text_tokens)

    def check(self, number: int, row: Any, needs_completion: bool = False) -> None:
        """Check one row in every respect, as a stream gives them.

        Args:
            number: of the row.
            row: of a data set, with its prompt in any form.
            needs_completion: whether it must hold a response.

        Raises:
            InputError: a run cannot use it; the message names `number`.
        """
        name, row = prompt_name(number), checked_row(number, row)
        if needs_completion:
            self.completions.read(row.get("completion"), number)
            self.log.add_all(self.completions.findings())
        self.check_text(name, row)
        self.check_rendering(name, row)

    def check_all(self, datasets: Iterable[Any]) -> list[Mapping[str, Any]]:
        """Check what every prompt spells, and render the ones that show whether all can be rendered.

        Args:
            datasets: as :func:`crossdistill.train.preflight.data.check_prompts` takes them.

        Returns:
            The rows whose prompts were rendered.

        Raises:
            InputError: a model cannot read one.
        """
        datasets, texts = list(datasets), []
        for number, spelled in spelled_rows(datasets):
            self.check_text(prompt_name(number), spelled)
            if isinstance(spelled["prompt"], str) and not self.student.markers.rendered_tags(spelled["prompt"]):
                texts.append(number)
        if not continues_texts(self.student.renderer.tokenizer):
            self.log.add_all(text_findings(texts))
        rows = rows_to_render(datasets)
        for number, row in rows:
            self.check_rendering(prompt_name(number), row)
        return [row for _, row in rows]

    def check_text(self, name: str, row: Mapping[str, Any]) -> None:
        """Check what the prompt spells; fast enough for every row.

        Args:
            name: what messages call the prompt.
            row: with its prompt as :func:`crossdistill.chat.prompts.as_prompt` gives it.

        Raises:
            FindingError: it was rendered before, or spells a token beyond a model.
        """
        teachers = list(self._teachers_of(row))
        for reader in (self.student, *teachers):
            reader.check_text(row["prompt"], name)
        for reader in teachers or [self.student]:
            self._add(marker_findings(name, row["prompt"], self.student.markers, reader.markers), name)

    def check_rendering(self, name: str, row: Mapping[str, Any]) -> None:
        """Render the prompt for each model that reads it, and check the result.

        Args:
            name, row: as for :meth:`check_text`.

        Raises:
            InputError: a model cannot read it.
        """
        for reader in (self.student, *self._teachers_of(row)):
            self._add(role_findings(row["prompt"], name, reader.label, reader.renderer.chat_template), name)
            reader.check(row["prompt"], name, self.budget)
            self._add(unshown_findings(row["prompt"], name, reader.label, reader.renderer), name)

    def _teachers_of(self, row: Mapping[str, Any]) -> Iterator[Reader]:
        names = self.teachers if self.routing is None else self.routing.of(row)
        return (self.teachers[name] for name in names)

    def _add(self, findings: Iterable[Finding], name: str) -> None:
        """Take up what ends the run, or was not found in an earlier row."""
        for finding in findings:
            key = finding.kind.name, finding.message.removeprefix(name)
            if finding.kind.severity is Severity.REFUSAL or key not in self._told:
                self._told.add(key)
                self.log.add(finding)
