"""What cannot work with tools is refused before a model is loaded; a teacher that is not shown them is reported."""

import pytest

from crossdistill import InputError
from tests.models import TEXTS
from tests.train import tool_use as use


async def later() -> int:
    """Waits."""
    return 1


def changed(tokenizer, **attributes):
    for name, value in attributes.items():
        setattr(tokenizer, name, value)
    return tokenizer


UNLIKE = use.STUDENT_TEMPLATE.replace("{{ m.content }}", "{% if loop.last %}!{% endif %}{{ m.content }}")
REFUSES = (
    "{% for m in messages if m.role == 'tool' %}{{ raise_exception('no tools') }}{% endfor %}" + use.TEACHER_TEMPLATE
)


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize(
    ("student", "teacher", "options", "message"),
    [
        ({"chat_template": None}, {}, {}, r"student .* does not show tool calls and their results"),
        (
            {"response_template": None},
            {},
            {},
            r"TRL does not know how the student .* writes a tool call: set response_",
        ),
        ({"chat_template": UNLIKE}, {}, {}, r"renders earlier turns differently once a tool result follows"),
        ({}, {"chat_template": REFUSES}, {}, r"the teacher cannot read tool calls and their results: .* \(no tools\)"),
        ({}, {}, {"tools": [later]}, "the tool 'later' is asynchronous"),
        ({}, {}, {"prompts": TEXTS}, "prompt 0 is a text, and tools need messages"),
    ],
)
def test_what_cannot_work_with_tools(pair, output, monkeypatch, student, teacher, options, message):
    given = {
        "processing_class": changed(use.student_tokenizer(pair), **student),
        "teacher_processing_class": changed(use.teacher_tokenizer(pair), **teacher),
    }
    with pytest.raises(InputError, match=message):
        use.trainer_with_tools(pair, output, monkeypatch, trainer_options=given, **options)


def test_a_teacher_that_is_not_shown_the_tools_is_reported(pair, output, monkeypatch, caplog):
    teacher = use.teacher_tokenizer(pair)
    teacher.chat_template = use.TEACHER_TEMPLATE.replace("{% if tools %}", "{% if false %}")
    use.trainer_with_tools(pair, output, monkeypatch, trainer_options={"teacher_processing_class": teacher})
    assert [record.message for record in caplog.records if record.name == "crossdistill"] == [
        "the teacher's chat template does not show tools (dropped), so it knows nothing of them: give its tokenizer a "
        "chat_template that does."
    ]
