"""Texts that spell what a chat template writes around turns: prompts that were rendered before.

The markers of a model are found by rendering a small conversation; no table of models is needed for them.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from crossdistill.chat.messages import Message, Prompt
from crossdistill.chat.refusal import TemplateRefusalError
from crossdistill.chat.renderer import PromptRenderer
from crossdistill.chat.template import render_text
from crossdistill.findings import Finding, Kind, Severity, When
from crossdistill.tokens.special_tokens import control_tokens

RENDERED_PROMPT = Kind(
    "rendered_prompt",
    Severity.REFUSAL,
    When.BEFORE_WEIGHTS,
    "{name} was rendered with a chat template before: it spells {tags}, with which the {side}'s template marks turns "
    "and the {other}'s does not: give the messages themselves, so that each model's own template renders them.",
    "the teacher judges an answer to a text full of markers that it does not know (5 % of the demo's answers are then "
    "right, in place of 98 %)",
)
RENDERED_MESSAGE = Kind(
    "rendered_message",
    Severity.REFUSAL,
    When.BEFORE_WEIGHTS,
    "{name} has a message that was rendered with a chat template before: it spells {tags}, with which the {side}'s "
    "template marks turns, and would be rendered again: give the messages themselves, or the text as the whole prompt.",
    "each model reads a conversation within a user's turn",
)
FOREIGN_MARKERS = Kind(
    "foreign_markers",
    Severity.WARNING,
    When.BEFORE_WEIGHTS,
    "{name} begins with {tags}, a turn marker of another chat template than {readers} has, so that it is read as plain "
    "text: give the messages themselves, so that each model's own template renders them.",
    "no model is asked in the way in which it was trained to be asked",
)
CONTROL_NAME = Kind(
    "control_name",
    Severity.WARNING,
    When.BEFORE_WEIGHTS,
    "{name} spells {tags}, which the {side} reads as its control token and the {other} as plain text: leave such "
    "prompts out if they are not meant to hold it.",
    "the two models read different prompts",
)

_QUESTION, _ANSWER, _AGAIN, _SYSTEM = "Qz1question", "Qz2answer", "Qz3again", "Qz4system"
_NAME = re.compile(r"<[^<>\n]{1,60}>|\[[^\[\]\n]{1,40}\]")  # the shape of the names of control tokens
_TAG = re.compile(r"<\|[^|<>]+\|>|<｜[^｜<>]+｜>|<(?:start|end)_of_turn>|\[/?[A-Z_]{3,}\]|<</?SYS>>")
_CLOSING = r"<\|[^|<>]+\|>|<｜[^｜<>]+｜>|<(?:start|end)_of_turn>|\[/[A-Z_]{3,}\]"
_BEGIN = r"(?:\s|<s>|<bos>|<\|begin_of_text\|>|<\|startoftext\|>|<｜begin▁of▁sentence｜>)*"
_THOUGHT = re.compile(r"(?:\s|</?think>)+\Z")
_WELL_KNOWN = re.compile(
    rf"{_BEGIN}(<\|im_start\|>(?:system|user|assistant)\b|<\|start_header_id\|>\w+<\|end_header_id\|>"
    r"|<start_of_turn>(?:user|model)\b|<｜(?:User|Assistant)｜>|\[INST\]|<\|(?:system|user|assistant)\|>"
    r"|<\|start\|>(?:system|developer|user)<\|message\|>|<\|start_of_role\|>\w+<\|end_of_role\|>"
    r"|<\|START_OF_TURN_TOKEN\|>)"
    rf"(?=.*(?:{_CLOSING})\s*(?:(?:assistant|model)?(?:\s|</?think>)*\Z|{_TAG.pattern}))",
    re.DOTALL,
)
"""Texts that begin with a turn of a common template, and have an end of a turn next to a header or at their end."""


@dataclass(frozen=True)
class Markers:
    """How one model's template marks turns, and which names its tokenizer reads as control tokens.

    Attributes:
        label: what messages call the model, such as "student".
        openings: what stands before the messages of each role, without white space around it.
        answers: those of them that stand before an answer.
        tags: names and tags in the openings.
        ends: names and tags at the ends of turns.
        control: names of its control tokens.
        added: names of all its added tokens.
    """

    label: str
    openings: tuple[str, ...]
    answers: tuple[str, ...]
    tags: frozenset[str]
    ends: frozenset[str]
    control: frozenset[str]
    added: frozenset[str]

    @classmethod
    def of(cls, label: str, renderer: PromptRenderer, text_tokens: Collection[str] = ()) -> "Markers":
        """Probe a model.

        Args:
            label: see the class.
            renderer: of its prompts.
            text_tokens: special tokens that are words.
        """
        tokenizer = renderer.tokenizer
        control, added = control_tokens(tokenizer, text_tokens), frozenset(_added_names(tokenizer))
        glue, ended = _glue(renderer)
        begins = _begins(tokenizer, [_tags(text, control) for text in glue])
        glue = [_without(text, begins) for text in glue]
        tags = {tag for text in glue for tag in _tags(text, control)} - begins
        openings = [_first_line(text, tags) if any(tag in text for tag in tags) else "" for text in glue]
        answers, every = dict.fromkeys(filter(None, openings[:2])), dict.fromkeys(filter(None, openings))
        ends = _tags(ended, control) - {tag for text in glue[:2] for tag in _tags(text, control)}
        return cls(label, tuple(every), tuple(answers), frozenset(tags), frozenset(ends), control, added)

    def rendered_tags(self, text: str) -> list[str]:
        """The tags in a text that this model's template has rendered; empty if it has not.

        Such a text begins with an opening, and it holds a second sign of a template: a token before all, the end of
        a turn before an opening, or a marker at its end. Or it ends with a generation prompt, after a turn of its own.
        One that only mentions markers is an ordinary text.
        """
        if not any(tag in text for tag in self.tags):
            return []
        is_rendered = self._begins_with_a_turn(text) or self._asks_for_an_answer(text)
        return sorted((tag for tag in self.tags if tag in text), key=text.index) if is_rendered else []

    def _begins_with_a_turn(self, text: str) -> bool:
        body = text.strip()
        turns = self._unstarted(body)
        if not turns.startswith(self.openings):
            return False
        follows = any(turns.startswith(opening) and turns[len(opening) :].strip() for opening in self.openings)
        ends = _THOUGHT.sub("", turns).endswith((*self.ends, *self.answers))
        return follows and (turns != body or ends or self._has_next_turn(turns))

    def _asks_for_an_answer(self, text: str) -> bool:
        body = _THOUGHT.sub("", text)
        asked = next((body.removesuffix(answer) for answer in self.answers if body.endswith(answer)), None)
        if asked is None:
            return False
        if self._unstarted(asked) != asked.lstrip() and any(opening in asked for opening in self.openings):
            return True
        lines = map(self._unstarted, asked.splitlines())
        return asked.rstrip().endswith(tuple(self.ends)) or any(line.startswith(self.openings) for line in lines)

    def _has_next_turn(self, text: str) -> bool:
        """Whether an opening stands directly after the end of a turn."""
        parts = (part for end in self.ends for part in text.split(end)[1:])
        return any(self._unstarted(part).startswith(self.openings) for part in parts)

    def _unstarted(self, text: str) -> str:
        """A text without white space and tokens such as the begin-of-text token before it."""
        text = text.lstrip()
        start = next((name for name in self.control - self.tags if text.startswith(name)), None)
        return text if start is None else self._unstarted(text.removeprefix(start))

    def knows(self, tag: str) -> bool:
        """Whether the tag has a meaning to this model."""
        return tag in self.added or tag in self.tags

    def marks_with(self, tag: str) -> bool:
        """Whether its template marks turns with the tag; one without any, as a base model's, leaves it to the text."""
        return tag in self.tags | self.ends if self.tags else tag in self.added


def marker_findings(name: str, prompt: Prompt, one: Markers, other: Markers) -> Iterator[Finding]:
    """What a prompt spells that one of two models reads as a marker or a control token and the other does not.

    Args:
        name: what messages call the prompt, such as "prompt 7".
        prompt: a text, or messages.
        one, other: the two models, or twice the only one.

    Example:
        >>> from transformers import AutoTokenizer
        >>> from crossdistill.demo.run import asset
        >>> tokenizers = {side: AutoTokenizer.from_pretrained(asset(side)) for side in ("student", "teacher")}
        >>> sides = [Markers.of(side, PromptRenderer(one, {}, [])) for side, one in tokenizers.items()]
        >>> [finding.kind.name for finding in marker_findings("prompt 0", "<|user|>one plus two<|end|>", *sides)]
        ['rendered_prompt']
        >>> list(marker_findings("prompt 0", "a <b>bold</b> text", *sides))
        []
    """
    for text in texts_of(prompt):
        if "<" in text or "[" in text:
            rendered = _rendered_finding(name, text, one, other, is_message=not isinstance(prompt, str))
            yield from _spelled(name, text, one, other) if rendered is None else [rendered]


def _rendered_finding(name: str, text: str, one: Markers, other: Markers, is_message: bool) -> Finding | None:
    for side, another in ((one, other), (other, one)):
        tags = side.rendered_tags(text)
        if not all(map(another.marks_with, tags)):
            return RENDERED_PROMPT(name=name, tags=_joined(tags), side=side.label, other=another.label)
        if tags and is_message:
            return RENDERED_MESSAGE(name=name, tags=_joined(tags), side=side.label)
    return None


def _spelled(name: str, text: str, one: Markers, other: Markers) -> Iterator[Finding]:
    begins = _WELL_KNOWN.match(text)
    if begins and not any(side.knows(tag) for side in (one, other) for tag in _TAG.findall(begins[1])):
        readers = " or ".join(f"the {label}" for label in dict.fromkeys((one.label, other.label)))
        yield FOREIGN_MARKERS(name=name, tags=repr(begins[1]), readers=readers)
    spelled = dict.fromkeys(_NAME.findall(text))
    for side, another in ((one, other), (other, one)):
        for tag in spelled:
            if tag in side.control and not another.knows(tag):
                yield CONTROL_NAME(name=name, tags=repr(tag), side=side.label, other=another.label)


def texts_of(prompt: Prompt) -> list[str]:
    """The text of a prompt, or of each of its messages.

    Example:
        >>> texts_of([{"role": "user", "content": "Hi!"}])
        ['Hi!']
    """
    return [prompt] if isinstance(prompt, str) else [message["content"] for message in prompt]


def _joined(tags: Iterable[str]) -> str:
    return ", ".join(map(repr, tags))


def _added_names(tokenizer: Any) -> Iterator[str]:
    yield from (token.content for token in tokenizer.added_tokens_decoder.values())


def _tags(text: str, control: Collection[str]) -> set[str]:
    return {*_TAG.findall(text), *(name for name in control if name in text)}


def _begins(tokenizer: Any, headers: list[set[str]]) -> set[str]:
    """Declared tokens that stand before all turns; some models declare a marker of turns as such a token."""
    declared = {tokenizer.bos_token, tokenizer.pad_token, tokenizer.unk_token} - {None}
    answers, question = headers[0] | headers[1], headers[2]
    return {token for token in declared if token not in answers and question != {token}}


def _without(text: str, names: Collection[str]) -> str:
    """A text without white space and some names at its edges."""
    while True:
        text = text.strip()
        edge = next((name for name in names if name and (text.startswith(name) or text.endswith(name))), None)
        if edge is None:
            return text
        text = text.removeprefix(edge).removesuffix(edge)


def _glue(renderer: PromptRenderer) -> tuple[list[str], str]:
    """What the template writes before a response, an answer, a question, a system message and all; and after turns."""
    question, answer = _message("user", _QUESTION), _message("assistant", _ANSWER)
    first, _, asked = _rendered(renderer, [question]).rpartition(_QUESTION)
    opened = _rendered(renderer, [question], add_generation_prompt=True).rpartition(_QUESTION)[2]
    answered = _rendered(renderer, [question, answer]).rpartition(_ANSWER)[2]
    talk = _rendered(renderer, [question, answer, _message("user", _AGAIN)])
    between = talk.rpartition(_QUESTION)[2].partition(_ANSWER)[0], talk.rpartition(_ANSWER)[2].partition(_AGAIN)[0]
    system = _rendered(renderer, [_message("system", _SYSTEM), question]).partition(_SYSTEM)[0]
    headers = [_after(asked, opened), _after(asked, between[0]), _after(answered, between[1]), system, first]
    return headers, asked + answered


def _after(end: str, text: str) -> str:
    """The text after the end of a turn that it begins with; all of it if the end is all that there is."""
    pairs = enumerate(zip(end, text, strict=False))
    common = text[: next((k for k, (a, b) in pairs if a != b), min(len(end), len(text)))]
    if common != end:  # the two differ within a tag
        common = common[: max(common.rfind("<"), common.rfind("["), 0)] if not common.endswith((">", "]")) else common
    rest = text[len(common) :]
    return rest if rest.strip() else text


def _first_line(text: str, tags: Collection[str]) -> str:
    """The first line of a header, without what follows its last tag but the name of a role."""
    line = _THOUGHT.sub("", text.splitlines()[0])
    ends = sorted(line.find(tag) + len(tag) for tag in tags if tag in line)
    return line[: ends[-1]] if len(ends) > 1 else line


def _rendered(renderer: PromptRenderer, messages: list[Message], add_generation_prompt: bool = False) -> str:
    """Empty if the template refuses the messages."""
    try:
        return render_text(renderer.tokenizer, messages, renderer.template_kwargs, None, add_generation_prompt)
    except TemplateRefusalError:
        return ""


def _message(role: str, text: str) -> Message:
    return {"role": role, "content": text}
