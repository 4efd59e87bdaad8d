"""The effects of a chat template on a conversation, apart from marking its turns.

They are found by rendering small conversations of unmistakable texts and comparing the result with the input, not by a
table of models.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import takewhile
from typing import Any

from crossdistill.chat.messages import Message
from crossdistill.chat.refusal import TemplateRefusalError
from crossdistill.chat.template import render_text, shows_system
from crossdistill.tokens.special_tokens import control_tokens

_QUESTION, _AGAIN, _ANSWER, _REASON = "Qz1question", "Qz2again", "Qz3answer", "Qz4reason"
_TOOL, _ARGUMENT, _RESULT = "qz5_tool", "Qz6argument", "Qz7result"
_SPACE = " \n "
_THOUGHT = f"<think>\n{_REASON}\n</think>\n\n{_ANSWER}"
_SCHEMA = {
    "type": "function",
    "function": {
        "name": _TOOL,
        "description": "Looks something up.",
        "parameters": {"type": "object", "properties": {"key": {"type": "string", "description": "What."}}},
    },
}
TOOL_CONVERSATION: list[Message] = [
    {"role": "user", "content": _QUESTION},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"type": "function", "function": {"name": _TOOL, "arguments": {"key": _ARGUMENT}}}],
    },
    {"role": "tool", "name": _TOOL, "content": _RESULT},
]
"""A question, a tool call and its result, to probe templates with."""

_REASONING_TAG = re.compile(r"[<\[][^<\[>\]]*(?:think|thought|reason)", re.IGNORECASE)
_REASONING_WORD = re.compile(r"(/|end_?)?\W?(?:think|thought|reason)", re.IGNORECASE)


class Fate(StrEnum):
    """What a template does with a part of a conversation."""

    KEPT = "kept"
    CHANGED = "changed"  # it is there, but with other characters in it or instead of part of it
    DROPPED = "dropped"
    REFUSED = "refused"  # the template raises an error


class Opening(StrEnum):
    """How the generation prompt treats the model's reasoning."""

    NONE = "none"  # it does not mention it: the model opens its reasoning itself, or does not reason
    OPEN = "open"  # it opens a block, and the response begins inside it
    CLOSED = "closed"  # it writes a closed block, and the response begins after it


@dataclass(frozen=True)
class TemplateEffects:
    """The effects of one template under one set of keyword arguments.

    Attributes:
        system: on a system message; unless KEPT, it is folded into the first user message.
        past: on an earlier answer of the assistant, in plain text.
        strips_leading: whether white space before an answer of the assistant is removed.
        strips_trailing: whether white space after an answer of the assistant is removed.
        past_reasoning: on ``<think>...</think>`` at the start of an earlier answer.
        last_reasoning: on ``<think>...</think>`` at the start of the last answer.
        reasoning_field: on the ``reasoning_content`` of an earlier answer.
        tool_reasoning: on the ``reasoning_content`` of a turn that calls a tool, before the tool's result.
        lead: text before an earlier answer that the generation prompt lacks, such as a space or a channel.
        has_generation_prompt: whether there is a generation prompt, or none is needed because nothing stands between
            a question and its answer.
        inserted: text before the last answer only, such as an empty block of reasoning.
        opening: text of the generation prompt after the assistant's header.
        reasoning: how `opening` treats the model's reasoning.
        end_of_turn: text after the last answer, without white space around it.
        tools: on the descriptions of tools.
        tool_results: on a tool call and its result.
        preamble: text before a first question that no system message precedes, such as a system message of its own.
        reads_clock: whether it writes the date or the time.

    Example:
        >>> from transformers import ByT5Tokenizer
        >>> from crossdistill.chat import ensure_template
        >>> tokenizer = ByT5Tokenizer(extra_ids=0)
        >>> ensure_template(tokenizer)
        True
        >>> effects = template_effects(tokenizer)
        >>> str(effects.system), str(effects.tools), effects.end_of_turn
        ('kept', 'dropped', '</s>')
    """

    system: Fate
    past: Fate
    strips_leading: bool
    strips_trailing: bool
    past_reasoning: Fate
    last_reasoning: Fate
    reasoning_field: Fate
    tool_reasoning: Fate
    lead: str
    has_generation_prompt: bool
    inserted: str
    opening: str
    reasoning: Opening
    end_of_turn: str
    tools: Fate
    tool_results: Fate
    preamble: str = ""
    reads_clock: bool = False


def template_effects(
    tokenizer: Any, template_kwargs: dict[str, Any] | None = None, tools: Sequence[Any] | None = None
) -> TemplateEffects:
    """Probe the chat template of a tokenizer.

    Args:
        tokenizer: a Hugging Face tokenizer with a chat template (:func:`crossdistill.chat.ensure_template`).
        template_kwargs: keyword arguments of the template, such as ``enable_thinking``.
        tools: tools of the run, if it has any; some templates accept no conversation without them.

    Returns:
        The effects. What the template refuses to render is REFUSED, or empty.

    Example:
        >>> from transformers import ByT5Tokenizer
        >>> tokenizer = ByT5Tokenizer(extra_ids=0)
        >>> turn = "{{ message.content | trim }}{{ eos_token }}"
        >>> tokenizer.chat_template = "{% for message in messages %}" + turn + "{% endfor %}"
        >>> effects = template_effects(tokenizer)
        >>> effects.strips_leading, effects.strips_trailing, effects.end_of_turn
        (True, True, '</s>')
    """
    probe = _Probe(tokenizer, template_kwargs, tools)
    past, last = probe.around([_user(_QUESTION), _answer(), _user(_AGAIN)]), probe.around([_user(_QUESTION), _answer()])
    prompt = probe.text([_user(_QUESTION)], add_generation_prompt=True) or ""
    header, prompt = ((past or last or ("", ""))[0].rpartition(_QUESTION)[2], prompt.rpartition(_QUESTION)[2])
    lead, opening = _differences(header, prompt)
    spaced = [
        (plain, probe.around([_user(_QUESTION), _answer(_SPACE + _ANSWER + _SPACE), *after]))
        for plain, after in ((past, [_user(_AGAIN)]), (last, []))
    ]
    question, call, result = TOOL_CONVERSATION
    return TemplateEffects(
        system=probe.system(),
        past=probe.fate([_user(_QUESTION), _answer(), _user(_AGAIN)], _ANSWER),
        strips_leading=any(a and b and b[0] != a[0] + _SPACE for a, b in spaced),
        strips_trailing=any(a and b and b[1] != _SPACE + a[1] for a, b in spaced),
        past_reasoning=probe.fate([_user(_QUESTION), _answer(_THOUGHT), _user(_AGAIN)], _THOUGHT, _REASON),
        last_reasoning=probe.fate([_user(_QUESTION), _answer(_THOUGHT)], _THOUGHT, _REASON),
        reasoning_field=probe.fate(
            [_user(_QUESTION), {**_answer(), "reasoning_content": _REASON}, _user(_AGAIN)], _REASON
        ),
        tool_reasoning=probe.fate([question, {**call, "reasoning_content": _REASON}, result], _REASON),
        lead=lead,
        has_generation_prompt=not lead.strip() or probe.has_generation_prompt(),
        inserted=_inserted(past, last),
        opening=opening,
        reasoning=reasoning_of(opening),
        end_of_turn=(last or ("", ""))[1].strip(),
        tools=probe.fate([_user(_QUESTION)], _TOOL, tools=[*(tools or ()), _SCHEMA]),
        tool_results=probe.tool_results(),
        preamble=probe.preamble(),
        reads_clock=probe.reads_clock(),
    )


def reasoning_of(opening: str) -> Opening:
    """How the end of a generation prompt treats reasoning: its last mention of reasoning decides."""
    found = list(_REASONING_WORD.finditer(opening))
    if not found:
        return Opening.NONE
    is_open = found[-1][1] is None and not re.search(r"[<\[]", opening[found[-1].end() :])
    return Opening.OPEN if is_open else Opening.CLOSED


class _Probe:
    """Renders probe conversations with one template."""

    def __init__(self, tokenizer: Any, template_kwargs: dict[str, Any] | None, tools: Sequence[Any] | None):
        self._tokenizer, self._kwargs, self._tools = tokenizer, template_kwargs, list(tools or ())

    def text(self, messages: list[Message], **options: Any) -> str | None:
        """The rendered messages, None if the template refuses them."""
        try:
            return render_text(self._tokenizer, messages, self._kwargs, **{"tools": self._tools, **options})
        except TemplateRefusalError:
            return None

    def around(self, messages: list[Message]) -> tuple[str, str] | None:
        """The text before and after the answer, None if the answer is not shown."""
        before, found, after = (self.text(messages) or "").rpartition(_ANSWER)
        return (before, after) if found else None

    def fate(self, messages: list[Message], whole: str, part: str | None = None, **options: Any) -> Fate:
        """KEPT if the rendered text contains `whole`, CHANGED if it contains only `part`."""
        text = self.text(messages, **options)
        if text is None:
            return Fate.REFUSED
        if whole in text:
            return Fate.KEPT
        return Fate.CHANGED if part is not None and part in text else Fate.DROPPED

    def has_generation_prompt(self) -> bool:
        """Whether a prompt ends with more than a question does that something else follows."""
        question = _user(_QUESTION)
        prompt, plain = (self.text([question], add_generation_prompt=asked) or "" for asked in (True, False))
        followed = self.text([question, _user(_AGAIN)]) or prompt
        return prompt != plain or not followed.startswith(prompt)

    def preamble(self) -> str:
        """What stands before a first question and not before a second; nothing if it is control tokens alone."""
        first = (self.text([_user(_QUESTION)]) or "").partition(_QUESTION)[0]
        again = (self.text([_user(_QUESTION), _answer(), _user(_AGAIN)]) or "").partition(_AGAIN)[0]
        own = first[: len(first) - _length_of_common_end(first, again)]
        words = own
        for token in sorted(control_tokens(self._tokenizer), key=len, reverse=True):
            words = words.replace(token, "")
        return own if any(map(str.isalpha, words)) else ""

    def reads_clock(self) -> bool:
        """Whether the template calls for the time, unless an argument of it, such as Llama's, takes its place."""
        source = (self._kwargs or {}).get("chat_template", self._tokenizer.chat_template)
        return "strftime_now" in str(source) and "date_string" not in (self._kwargs or {})

    def system(self) -> Fate:
        shown = shows_system(self._tokenizer, self._kwargs, self._tools)
        return Fate.REFUSED if shown is None else Fate.KEPT if shown else Fate.DROPPED

    def tool_results(self) -> Fate:
        text = self.text(TOOL_CONVERSATION, tools=[*self._tools, _SCHEMA])
        if text is None:
            return Fate.REFUSED
        shown = [mark in text for mark in (_ARGUMENT, _RESULT)]
        return Fate.KEPT if all(shown) else Fate.CHANGED if any(shown) else Fate.DROPPED


def _user(text: str) -> Message:
    return {"role": "user", "content": text}


def _answer(text: str = _ANSWER) -> Message:
    return {"role": "assistant", "content": text}


def _differences(header: str, prompt: str) -> tuple[str, str]:
    """What the header before an answer and the generation prompt do not share; a tag is never cut in the middle."""
    common = next(
        (k for k, (a, b) in enumerate(zip(header, prompt, strict=False)) if a != b), min(len(header), len(prompt))
    )
    reasoning = _REASONING_TAG.search(header[:common])
    if reasoning is not None:
        common = reasoning.start()
    tag = header.rfind("<", 0, common)
    if tag >= 0 and ">" not in header[tag:common] and common < max(len(header), len(prompt)):
        common = tag
    return header[common:], prompt[common:]


def _length_of_common_end(one: str, other: str) -> int:
    pairs = zip(reversed(one), reversed(other), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _inserted(past: tuple[str, str] | None, last: tuple[str, str] | None) -> str:
    if past is None or last is None or not last[0].startswith(past[0]):
        return ""
    return last[0][len(past[0]) :]
