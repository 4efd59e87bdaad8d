"""Roles by the names of other formats, which a chat template writes as they stand or leaves out."""

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

_USUAL = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant", "model": "assistant"}
_KNOWN = ("system", "user", "assistant", "tool")


def role_findings(prompt: Prompt, name: str, side: str, template: Any) -> list[Finding]:
    """Roles that a template does not know, although it knows them by another name.

    Args:
        prompt: a text or messages.
        name: what messages call the prompt.
        side: what messages call the model, such as "student".
        template: the source of its chat template.

    Returns:
        A refusal for each role; the first one is that of the first message.

    Example:
        >>> template = "{% for message in messages %}<{{ message.role }}>{{ message.content }}{% endfor %}"
        >>> [finding] = role_findings([{"role": "human", "content": "Hi!"}], "prompt 0", "student", template)
        >>> finding.message[-25:]
        "not know: call it 'user'."
    """
    roles = [] if isinstance(prompt, str) else list(dict.fromkeys(str(message["role"]) for message in prompt))
    return [
        FOREIGN_ROLE(name=name, role=role, side=side, usual=usual)
        for role in roles
        if (usual := _usual(role)) is not None and not _mentions(str(template), role)
    ]


def _usual(role: str) -> str | None:
    """The name that templates know a role by; None if it has that name already, or is no common one."""
    plain = role.strip().lower()
    usual = _USUAL.get(plain, plain if plain in _KNOWN else role)
    return None if usual == role else usual


def _mentions(template: str, role: str) -> bool:
    return f"'{role}'" in template or f'"{role}"' in template
