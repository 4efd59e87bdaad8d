"""Given responses as the texts that a student is taught: whole, without markup, and ended by its stop token alone."""

import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from crossdistill.chat.messages import text_of
from crossdistill.chat.stop import stop_ids
from crossdistill.findings import Finding, Kind, Severity, When
from crossdistill.tokens.special_tokens import control_tokens

NOT_A_TEXT = Kind(
    "completion_is_no_text",
    Severity.REFUSAL,
    When.BEFORE_WEIGHTS,
    "the completion of row {row} is {value}: it must be a text (quote numbers), or a list with one message of the "
    "assistant that holds nothing but a text.",
    "the student is taught something else than the response",
)
EMPTY = Kind(
    "empty_completions",
    Severity.REFUSAL,
    When.BEFORE_WEIGHTS,
    "{count} of {total} completions are empty (rows {rows}): leave these rows out.",
    "the student is taught to be silent",
)
OWN_END_CUT = Kind(
    "own_end_cut",
    Severity.WARNING,
    When.BEFORE_WEIGHTS,
    "{count} of {total} completions end in {name} (the first in row {row}), which the student's tokenizer itself puts "
    "after a text: it is cut off, because every completion is ended with the stop token, not with its name.",
    "the student is taught to write the name of its stop token before it stops",
)
RENDERED = Kind(
    "rendered_completions",
    Severity.REFUSAL,
    When.BEFORE_WEIGHTS,
    "{count} of {total} completions begin or end with {name} (the first in row {row}), as if a chat template had "
    "rendered them, and the student would learn that as text: give what the assistant says and nothing else.",
    "the student is taught to write markup",
)
LIKE_RENDERED = Kind(
    "completions_like_rendered",
    Severity.WARNING,
    When.BEFORE_WEIGHTS,
    "{count} of {total} completions begin or end with {name} (the first in row {row}), which some chat templates put "
    "around a text and which may be text as well: take it out if it is not part of the response.",
    "the student is taught to write markup",
)
SPELT = Kind(
    "control_tokens_in_completions",
    Severity.WARNING,
    When.BEFORE_WEIGHTS,
    "{count} of {total} completions spell the control token {name} (the first in row {row}), which is taught letter by "
    "letter and not as that token: take it out unless the text is about it.",
    "the student is taught to write markup",
)
NOTHING_WRITTEN = Kind(
    "nothing_written",
    Severity.WARNING,
    When.DURING,
    "the teacher wrote nothing in answer to {count} of {prompts}: nothing is learned from these, which would teach "
    "silence; look at how the teacher's chat template renders them.",
    "the student is taught to be silent",
)

_NAMES = (  # not every <|...|> is a mark: some data sets have <|begin_of_thought|> as words
    "im_start im_end im_sep endoftext startoftext begin_of_text end_of_text eot_id eom_id eot eom start_header_id "
    "end_header_id header_start header_end start end return call channel message system user assistant tool "
    "observation start_of_turn end_of_turn start_of_role end_of_role START_OF_TURN_TOKEN END_OF_TURN_TOKEN bos eos pad"
)
_TURN_MARK = (
    rf"<\|(?:{_NAMES.replace(' ', '|')})\|>|<｜[^\s｜]+｜>|</?s>|<(?:bos|eos)>|<(?:start|end)_of_turn>|\[/?INST\]"
)
"""Marks of turns and texts in the templates of well-known families."""
_ENDS = {"<|im_end|>", "<|endoftext|>", "<|end_of_text|>", "<|eot_id|>", "<|eom_id|>", "<|end|>", "<end_of_turn>"}
"""Of these, a tokenizer may have several, of which it declares one."""
_AMBIGUOUS = {"<s>", "</s>", "<unk>"}  # HTML and code have them too
_ORDINARY = {"<s>", "</s>", "[INST]", "[/INST]"}
"""Marks of turns that are ordinary text to a tokenizer that does not have them."""
_STRUCK_OUT = re.compile(r"<s(?:\s[^<>]*)?>.*</s>", re.DOTALL)
"""HTML for text that no longer holds."""
_RENDERED_SHARE = 0.1
"""From here on it is no coincidence that completions begin or end with markup."""
_MORE_THAN_TEXT = ("tool_calls", "function_call", "reasoning_content", "reasoning", "thinking")
_NUM_ROWS = 3


def completion_text(row: int, completion: Any) -> str:
    """The text of a completion: itself, or that of its only message, perhaps as JSON (all that a CSV file can hold).

    Raises:
        FindingError: it is anything else; the message names `row`.

    Example:
        >>> completion_text(0, [{"role": "assistant", "content": "4"}])
        '4'
    """
    if isinstance(completion, str):
        text = text_of_message(_parsed(completion))
        return completion if text is None else text
    text = text_of_message(completion)
    if text is None:
        shown = repr(completion)
        raise NOT_A_TEXT.error(row=row, value=shown if len(shown) < 80 else shown[:77] + "...")
    return text


def _parsed(text: str) -> Any:
    if not text.lstrip().startswith("[{"):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def text_of_message(completion: Any) -> str | None:
    """The text of the only message, None if there is none or more to it.

    Example:
        >>> text_of_message([{"role": "assistant", "content": "4"}])
        '4'
    """
    if not isinstance(completion, list) or len(completion) != 1 or not isinstance(completion[0], dict):
        return None
    message = completion[0]
    if message.get("role") != "assistant" or any(message.get(name) for name in _MORE_THAN_TEXT):
        return None
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    has_parts = bool(parts) and all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in parts)
    return text_of(message) if isinstance(content, str) or has_parts else None


class Completions:
    """Reads completions, and counts what is odd about them.

    Args:
        tokenizer: the student's.
        others: the teachers'.
        text_tokens: special tokens that are read as text.

    Example:
        >>> from transformers import ByT5Tokenizer
        >>> completions = Completions(ByT5Tokenizer(extra_ids=0))
        >>> completions.read("four</s>"), completions.read("five")
        ('four', 'five')
        >>> [finding.kind.name for finding in completions.findings()]
        ['own_end_cut']
    """

    def __init__(self, tokenizer: Any, others: Sequence[Any] = (), text_tokens: Collection[str] = ()):
        control = [control_tokens(one, text_tokens) for one in (tokenizer, *others)]
        self._own_ends = (_text_ends(tokenizer) | _ENDS) & control[0]
        edges = [name for one in (tokenizer, *others) for name in (*_text_ends(one), one.bos_token or "")]
        self._control = frozenset().union(*control)
        edge = f"{_any_of(self._control.intersection(edges))}|{_TURN_MARK}"
        self._edges = re.compile(rf"\A\s*({edge})|({edge})\s*\Z")
        self._inside = re.compile(_any_of(self._control - _AMBIGUOUS))
        self._text_tokens = frozenset(text_tokens)
        self._total = 0
        self._empty: list[int] = []
        self._seen: dict[Kind, _Seen] = {}
        self._told: set[Kind] = set()

    def read(self, completion: Any, row: int | None = None) -> str:
        """The next completion as it is taught.

        Args:
            completion: a text, or a list with one message of the assistant.
            row: its number; by default, those before it are counted.

        Raises:
            FindingError: it is no text.
        """
        row = self._total if row is None else row
        self._total += 1
        whole = completion_text(row, completion)
        text = self.without_own_end(whole)
        if name := self._own_end(whole):
            self._count(OWN_END_CUT, row, name)
        if not text.strip():
            self._empty.append(row)
        gravest = next(self._markup(text), None)
        if gravest is not None:
            self._count(gravest[0], row, min(gravest[1]))
        return text

    def findings(self) -> Iterator[Finding]:
        """What is to be said of the completions read so far, each kind of warning once."""
        if self._empty:
            rows = ", ".join(map(str, self._empty[:_NUM_ROWS])) + (", ..." if len(self._empty) > _NUM_ROWS else "")
            yield EMPTY(count=len(self._empty), total=self._total, rows=rows)
        for found, seen in self._seen.items():
            is_chance = seen.count < _RENDERED_SHARE * self._total
            kind = SPELT if found is RENDERED and is_chance else found
            if kind not in self._told and not (kind is LIKE_RENDERED and is_chance):
                self._told.add(kind)
                yield kind(count=seen.count, total=self._total, name=seen.name, row=seen.row)

    def without_own_end(self, text: str) -> str:
        """A text without names of the student's own stop tokens at its end."""
        while name := self._own_end(text):
            text = text.rstrip().removesuffix(name)
        return text

    def _own_end(self, text: str) -> str | None:
        name = next((name for name in self._own_ends if text.rstrip().endswith(name)), None)
        return None if name in _AMBIGUOUS and _STRUCK_OUT.search(text) else name

    def _markup(self, text: str) -> Iterator[tuple[Kind, Collection[str]]]:
        """What may be markup in a text, the gravest first: its kind, and the names that tell it."""
        marks = {mark[1] or mark[2] for mark in self._edges.finditer(text)} - self._text_tokens
        is_html = _STRUCK_OUT.search(text) is not None
        ordinary = {name for name in marks & _ORDINARY if name not in self._control or (is_html and name[0] == "<")}
        is_answer = text.strip() in marks  # to a question about that very mark
        rendered = marks - ordinary
        spelt = {name[0] for name in self._inside.finditer(text)} | (rendered if is_answer else set())
        if rendered and not is_answer:
            yield RENDERED, rendered
        if spelt:
            yield SPELT, spelt
        if ordinary and (not is_html or self._control >= ordinary >= {"<s>", "</s>"}):
            yield LIKE_RENDERED, ordinary

    def _count(self, kind: Kind, row: int, name: str) -> None:
        self._seen.setdefault(kind, _Seen(row, name)).count += 1


@dataclass
class _Seen:
    """In how many rows something was seen, the first of them, and what it was there."""

    row: int
    name: str
    count: int = 0


def _text_ends(tokenizer: Any) -> set[str]:
    """Names of the tokens after a tokenizer's turns and texts."""
    stops = map(tokenizer.convert_ids_to_tokens, stop_ids(tokenizer))
    return {name for name in (*stops, tokenizer.pad_token) if name}


def _any_of(names: Collection[str]) -> str:
    return "|".join(map(re.escape, sorted(names, key=len, reverse=True))) or "(?!)"
