"""Examples of SFT: what the student reads of each row, and which of these tokens it learns."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from datasets import Features, List, Value
from trl.chat_template_utils import get_training_chat_template, has_generation_markers
from trl.data_utils import common_prefix_length

from crossdistill.chat import render_prompt
from crossdistill.chat.messages import Message, without_nulls
from crossdistill.chat.prompts import as_prompt, prompt_name
from crossdistill.chat.stop import taught_stop
from crossdistill.chat.template import render_conversation
from crossdistill.errors import InputError
from crossdistill.findings import Finding, FindingError, Kind, Severity, When
from crossdistill.runs.sft_rows import Reason, SFTRows, left_out_findings
from crossdistill.tokens import ByteVocab
from crossdistill.train.completions import Completions, completion_text, text_of_message
from crossdistill.train.data_format import DataFormat, conversation

IGNORED = -100
"""Label that torch's cross-entropy ignores."""
PROMPT_CHANGES = Kind(
    "prompt_changes_with_answer",
    Severity.WARNING,
    When.BEFORE_WEIGHTS,
    "the student's chat template renders {count} of {total} prompts otherwise if their answer follows (the first in "
    "row {row}): the answer is learnt after that other prompt, from where the two differ.",
    "the student learns to answer another prompt than it is asked",
)


@dataclass(frozen=True)
class Learning:
    """What of an example is learnt.

    Attributes:
        completion_only: of a prompt with a completion, only the completion (the default), or all tokens.
        assistant_only: of a conversation, what the assistant says, or all tokens (the default).
    """

    completion_only: bool = True
    assistant_only: bool = False

    def check(self, rows: SFTRows) -> None:
        """Check that it suits the format of the data.

        Raises:
            InputError: it has no meaning there.
        """
        if self.assistant_only and rows.data_format is DataFormat.TEXT:
            raise InputError(f"assistant_only_loss has no meaning for {rows.what}, which holds texts: leave it out.")

    def in_words(self, data_format: DataFormat) -> str:
        """What is learnt, for the report.

        Example:
            >>> Learning().in_words(DataFormat.PROMPT_COMPLETION)
            'the completions'
        """
        if data_format is DataFormat.MESSAGES and self.assistant_only:
            return "what the assistant says"
        if data_format is DataFormat.PROMPT_COMPLETION and self.completion_only:
            return "the completions"
        return "every token"


class ExampleMaker:
    """Makes an example of a row, in a student's tokens.

    Args:
        tokenizer: the student's, with a chat template.
        vocab: the student's.
        learning: what is learnt.
        text_tokens: special tokens that are words of a response.

    Raises:
        InputError: what the assistant says is to be learnt, and the template cannot tell it.

    Attributes:
        completions: reads completions that are texts.
        changed: numbers of rows whose prompt the template renders otherwise before their answer.
    """

    def __init__(
        self, tokenizer: Any, vocab: ByteVocab, learning: Learning | None = None, text_tokens: Collection[str] = ()
    ):
        self._tokenizer = tokenizer
        self._vocab = vocab
        self._stop = taught_stop(tokenizer)
        self._learning = learning or Learning()
        self._template = {"chat_template": answer_template(tokenizer)} if self._learning.assistant_only else {}
        self.completions = Completions(tokenizer, text_tokens=text_tokens)
        self.changed: list[int] = []

    def make(self, row: Mapping[str, Any], number: int, data_format: DataFormat) -> dict[str, list[int]]:
        """``input_ids`` and ``labels`` of a row, IGNORED where nothing is learnt; both empty if the answer is.

        Args:
            row: of a data set.
            number: of the row.
            data_format: of the data set.

        Raises:
            InputError: the row cannot be used; the message names it.
        """
        if data_format is DataFormat.TEXT:
            return self.of_text(str(row["text"]))
        if data_format is DataFormat.PROMPT_COMPLETION:
            return self._of_answer(row, number)
        column = data_format.main_column(row)
        messages = conversation(row[column], number, column)
        with _naming(number):
            return self._of_messages(messages, row)

    def of_text(self, text: str) -> dict[str, list[int]]:
        """All of a text, and the end-of-text token after it; a text that spells that at its end has it already."""
        end = self._tokenizer.eos_token
        ids = list(self._tokenizer(text if text.endswith(end) else text + end)["input_ids"])
        return {"input_ids": ids, "labels": ids}

    def of_completion(self, prompt: Any, completion: str, **rendering: Any) -> dict[str, list[int]]:
        """A prompt and a text, tokenised like a rollout: one after the other, then the stop token.

        Args:
            prompt: a text or messages.
            completion: a text.
            **rendering: ``template_kwargs`` and ``tools``.
        """
        prompt_ids = render_prompt(self._tokenizer, prompt, **rendering)
        return self._labelled(prompt_ids, [*self._vocab.encode(completion).ids.tolist(), self._stop])

    def _of_answer(self, row: Mapping[str, Any], number: int) -> dict[str, list[int]]:
        prompt, completion = as_prompt(row["prompt"], prompt_name(number)), row["completion"]
        turns = _turns(completion)
        if turns and not isinstance(prompt, str):
            answer = conversation(turns, number, "completion")
            with _naming(number):
                return self._of_turns(prompt, answer, row, number)
        if not self.completions.without_own_end(completion_text(number, completion)).strip():
            return {"input_ids": [], "labels": []}
        text = self.completions.read(completion, number)
        with _naming(number):
            return self.of_completion(prompt, text, **_rendering(row))

    def _of_turns(
        self, prompt: list[Message], answer: list[Message], row: Mapping[str, Any], number: int
    ) -> dict[str, list[int]]:
        """A prompt and several messages, as TRL learns them: all that the template writes after the prompt."""
        opening = render_prompt(self._tokenizer, prompt, **_rendering(row))
        whole = self._of_messages([*prompt, *answer], row)
        border = common_prefix_length(opening, whole["input_ids"])
        if border < len(opening):
            self.changed.append(number)
        hidden = border if self._learning.completion_only else 0
        return {**whole, "labels": [IGNORED] * hidden + whole["labels"][hidden:]}

    def _of_messages(self, messages: list[Message], row: Mapping[str, Any]) -> dict[str, list[int]]:
        rendering = _rendering(row)
        kwargs = {**rendering["template_kwargs"], **self._template}
        marks = self._learning.assistant_only
        ids, is_said = render_conversation(self._tokenizer, messages, kwargs, rendering["tools"], marks)
        labels = [one if said else IGNORED for one, said in zip(ids, is_said, strict=True)]
        return {"input_ids": ids, "labels": labels}

    def _labelled(self, prompt_ids: list[int], answer: list[int]) -> dict[str, list[int]]:
        hidden = [IGNORED] * len(prompt_ids) if self._learning.completion_only else prompt_ids
        return {"input_ids": prompt_ids + answer, "labels": hidden + answer}


def answer_template(tokenizer: Any) -> str:
    """The student's chat template with marks around what the assistant says: its own, or TRL's version of it.

    Args:
        tokenizer: the student's.

    Raises:
        InputError: its template has no marks, and TRL has no version of it.
    """
    if has_generation_markers(tokenizer.chat_template):
        return str(tokenizer.chat_template)
    try:
        return str(get_training_chat_template(tokenizer))
    except ValueError:
        raise InputError(
            "assistant_only_loss needs to know what the assistant says, and the student's chat template neither marks "
            "it ({% generation %}) nor is one of those that TRL has with marks: add them to chat_template.jinja in "
            "the student's folder, or give prompt and completion."
        ) from None


@contextmanager
def _naming(number: int) -> Iterator[None]:
    """Errors of a template name the row."""
    try:
        yield
    except FindingError as error:
        raise FindingError(Finding(error.finding.kind, f"row {number}: {error}")) from None
    except InputError as error:
        raise type(error)(f"row {number}: {error}") from None


def _rendering(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a row tells its chat template, in the columns that TRL reads: keyword arguments and tools."""
    tools = row.get("tools")
    tools = json.loads(tools) if isinstance(tools, str) and tools else tools
    kwargs = row.get("chat_template_kwargs")
    kwargs = json.loads(kwargs) if isinstance(kwargs, str) and kwargs else kwargs
    return {"template_kwargs": without_nulls(kwargs or {}), "tools": without_nulls(tools) or None}


def _turns(completion: Any) -> list[Any] | None:
    """The messages of a completion that is more than one text of the assistant, as JSON text too; else None."""
    value = as_prompt(completion, "the completion") if isinstance(completion, str) else completion
    if not isinstance(value, list) or text_of_message(value) is not None:
        return None
    has_answer = any(isinstance(one, Mapping) and "assistant" in (one.get("role"), one.get("from")) for one in value)
    return value if has_answer else None


# ---- of all rows ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Examples:
    """The examples of a data set.

    Attributes:
        dataset: a ``datasets.Dataset`` with ``input_ids`` and ``labels``.
        findings: what is to be said of the rows.
        entry: what became of the rows and their tokens, for ``run.json``.
    """

    dataset: Any
    findings: list[Finding]
    entry: dict[str, Any]

    @classmethod
    def of(cls, rows: SFTRows, maker: ExampleMaker, learning: Learning, limit: int | None) -> "Examples":
        """Make the examples of all rows; those that are too long are left out, because a cut one has no end.

        Args:
            rows: to learn.
            maker: of the student.
            learning: what is learnt.
            limit: most tokens of an example; None if there is none.

        Raises:
            InputError: a row cannot be used, or none can.
        """
        learning.check(rows)
        left_out_findings(rows, rows.left_out, limit)  # before tokens are counted: none may be left
        made = rows.data.map(
            lambda row, at: maker.make(row, rows.numbers[at], rows.data_format),
            with_indices=True,
            remove_columns=rows.data.column_names,
            features=Features(dict.fromkeys(("input_ids", "labels"), List(Value("int64")))),
            load_from_cache_file=False,
        )
        sizes = [len(ids) for ids in made["input_ids"]]
        left_out = {reason: list(numbers) for reason, numbers in rows.left_out.items()}
        for size, number in zip(sizes, rows.numbers, strict=True):
            reason = _left_out(size, limit)
            if reason is not None:
                left_out.setdefault(reason, []).append(number)
        kept = [at for at, size in enumerate(sizes) if _left_out(size, limit) is None]
        findings = [*rows.label_findings(), *maker.completions.findings(), *_change_findings(maker, len(sizes))]
        findings += left_out_findings(rows, left_out, limit)
        dataset = made if len(kept) == len(made) else made.select(kept)
        return cls(dataset, findings, _entry(rows, learning, dataset["labels"], left_out, sum(sizes)))


def _left_out(size: int, limit: int | None) -> Reason | None:
    if not size:
        return Reason.EMPTY
    return Reason.TOO_LONG if limit is not None and size > limit else None


def _change_findings(maker: ExampleMaker, total: int) -> list[Finding]:
    return [PROMPT_CHANGES(count=len(maker.changed), total=total, row=maker.changed[0])] if maker.changed else []


def _entry(
    rows: SFTRows, learning: Learning, labels: Any, left_out: Mapping[Reason, Sequence[int]], num_tokens: int
) -> dict[str, Any]:
    """The rows and tokens of a data set, each of them learnt, read or left out."""
    sizes = [(len(row), sum(label != IGNORED for label in row[1:])) for row in labels]  # nothing predicts the first
    learnt, read = sum(count for _, count in sizes), sum(size for size, _ in sizes)
    return {
        "format": str(rows.data_format),
        "learnt": learning.in_words(rows.data_format),
        "rows": rows.total,
        "used": len(sizes),
        "left_out": {str(reason): len(numbers) for reason, numbers in left_out.items()},
        "tokens": {"learnt": learnt, "read_only": read - learnt, "too_long": num_tokens - read},
    }
