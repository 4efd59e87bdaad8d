"""Messages whose text a chat template leaves out."""

import re
from collections.abc import Iterator

from crossdistill.chat.messages import Message, Prompt
from crossdistill.chat.refusal import TemplateRefusalError
from crossdistill.chat.renderer import PromptRenderer
from crossdistill.chat.template import render_text
from crossdistill.findings import Finding, Kind, Severity, When

MESSAGE_NOT_SHOWN = Kind(
    "message_not_shown",
    Severity.WARNING,
    When.BEFORE_WEIGHTS,
    "{name} has a message of the role {role!r}, whose text the {side}'s chat template does not show: write it into a "
    "message that it shows (a first system message, or one of the user), or give its tokenizer another chat_template.",
    "one of the two models reads a message that the other does not (the demo's gap is then 0.2 to 0.3 nats per byte)",
)

_NUM_WORDS = 8
_WORD = re.compile(r"[^\W_]{2,}")


def unshown_findings(prompt: Prompt, name: str, side: str, renderer: PromptRenderer) -> Iterator[Finding]:
    """Messages that a template drops, apart from the assistant's, which :mod:`crossdistill.chat.history` looks at.

    Its first words are looked for, because templates trim and escape. A conversation of the user and the assistant
    alone is not rendered: every template shows it.

    Args:
        prompt: a text or messages.
        name: what messages call the prompt.
        side: what messages call the model, such as "student".
        renderer: renders its prompts.

    Example:
        >>> from transformers import ByT5Tokenizer
        >>> tokenizer = ByT5Tokenizer(extra_ids=0)
        >>> user = "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}"
        >>> tokenizer.chat_template = user
        >>> talk = [{"role": "user", "content": "Hi!"}, {"role": "developer", "content": "Be brief."}]
        >>> [finding] = unshown_findings(talk, "prompt 0", "student", PromptRenderer(tokenizer, {}, []))
        >>> finding.message[:62]
        "prompt 0 has a message of the role 'developer', whose text the"
    """
    others = [] if isinstance(prompt, str) else [message for message in prompt if _may_be_dropped(message)]
    if isinstance(prompt, str) or not others:
        return
    try:
        shown = render_text(renderer.tokenizer, prompt, renderer.template_kwargs, renderer.tools)
    except TemplateRefusalError:
        return
    for role in dict.fromkeys(str(message["role"]) for message in others):
        texts = [message["content"] for message in others if message["role"] == role]
        if not all(word in shown for text in texts for word in _WORD.findall(text)[:_NUM_WORDS]):
            yield MESSAGE_NOT_SHOWN(name=name, role=role, side=side)


def _may_be_dropped(message: Message) -> bool:
    return message["role"] not in ("user", "assistant") and bool(message["content"])
