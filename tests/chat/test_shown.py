"""Messages that a template drops are told; messages that it writes in another form are not."""

import pytest

from crossdistill.chat.renderer import PromptRenderer
from crossdistill.chat.shown import unshown_findings
from tests.chat import templates as t

ONLY_KNOWN = t.CHATML.replace("for m in messages", "for m in messages if m.role in ['system', 'user', 'assistant']")
ESCAPES = t.CHATML.replace("{{ m.content }}", "{{ m.content | trim | tojson }}")


def talk(role: str, text: str = 'Say "yes" or\n no.'):
    return [{"role": role, "content": text}, *t.QUESTION]


@pytest.mark.parametrize(
    ("template", "prompt", "roles"),
    [
        (ONLY_KNOWN, talk("developer"), ["developer"]),
        (ONLY_KNOWN, [*t.QUESTION, *talk("function", "15")], ["function"]),
        (ONLY_KNOWN, talk("system"), []),
        (ONLY_KNOWN, talk("developer", ""), []),
        (ONLY_KNOWN, "a text", []),
        (t.CHATML, talk("developer"), []),
        (ESCAPES, talk("developer"), []),
        (t.NO_SYSTEM, talk("system"), []),  # folded
        (t.IGNORES_SYSTEM, [*t.QUESTION, *talk("system")], ["system"]),  # a later one is not
        (t.IGNORES_SYSTEM, talk("system"), []),
    ],
)
def test_dropped_messages(template, prompt, roles):
    renderer = PromptRenderer(t.with_template(template), {}, [])
    found = list(unshown_findings(prompt, "prompt 3", "teacher", renderer))
    assert [finding.message.split("'")[1] for finding in found] == roles
    assert all("the teacher's chat template does not show" in finding.message for finding in found)
