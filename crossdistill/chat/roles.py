"""Roles that a chat template does not know, and so writes as they stand or leaves out."""

from typing import Any

from crossdistill.chat.messages import Prompt
from crossdistill.findings import Finding, Kind, Severity, When

FOREIGN_ROLE = Kind(
    "foreign_role",
    Severity.REFUSAL,
    When.BEFORE_WEIGHTS,
    "{name} has a message of the role {role!r}, which the {side}'s chat template does not know: call it {usual!r}.",
    "the model reads a turn of somebody whom it never met (the demo's teacher gap is then 0.13 nats per byte, in place "
    "of 0.02)",
)

UNKNOWN_ROLE = Kind(
    "unknown_role",
    Severity.WARNING,
    When.BEFORE_WEIGHTS,
    "{name} has a message of the role {role!r}, which the {side}'s chat template does not mention: call it 'user', "
    "'assistant' or 'system' if it is one of these.",
    "the template writes the name as it stands, or drops the message",
)

_ASSISTANTS = ("ai", "gpt", "chatgpt", "bot", "chatbot", "model")
_USUAL = {"human": "user", "prompter": "user", **dict.fromkeys(_ASSISTANTS, "assistant")}
_KNOWN = {
    "system",
    "user",
    "assistant",
    "tool",
    "developer",
    "function",
    "ipython",
    "environment",
    "observation",
    "tool_response",
}
"""Roles that data for some templates have."""


def role_findings(prompt: Prompt, name: str, side: str, template: Any) -> list[Finding]:
    """Messages of roles that a template does not know.

    Args:
        prompt: a text or messages.
        name: what messages call the prompt.
        side: what messages call the model, such as "student".
        template: the source of its chat template.

    Returns:
        One for each role, in the order of the messages: a refusal if the template knows it by another name, else a
        warning.

    Example:
        >>> template = "{% for message in messages %}<{{ message.role }}>{{ message.content }}{% endfor %}"
        >>> [finding] = role_findings([{"role": "human", "content": "Hi!"}], "prompt 0", "student", template)
        >>> finding.message[-25:]
        "not know: call it 'user'."
    """
    roles = [] if isinstance(prompt, str) else dict.fromkeys(str(message["role"]) for message in prompt)
    unknown = [role for role in roles if role not in _KNOWN and not _mentions(str(template), role)]
    return [_finding(role, name=name, side=side) for role in unknown]


def _finding(role: str, **where: str) -> Finding:
    usual = _usual(role)
    return UNKNOWN_ROLE(role=role, **where) if usual is None else FOREIGN_ROLE(role=role, usual=usual, **where)


def _usual(role: str) -> str | None:
    """The name that templates know a role by; None if it is no common one."""
    plain = role.strip(" \t\r\n:").lower()
    return _USUAL.get(plain, plain if plain in _KNOWN else None)


def _mentions(template: str, role: str) -> bool:
    return f"'{role}'" in template or f'"{role}"' in template
