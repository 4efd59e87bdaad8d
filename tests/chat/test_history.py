"""Earlier answers that a template changes."""

import pytest

from crossdistill.chat import TemplateRefusalError
from crossdistill.chat.history import changed_answers, has_answers
from tests.chat import templates as t

USER = {"role": "user", "content": "two + two?"}


def answer(text, **fields):
    return {"role": "assistant", "content": text, **fields}


CALL = answer("", tool_calls=[{"type": "function", "function": {"name": "add", "arguments": {}}}])


@pytest.mark.parametrize(
    ("template", "talk", "changed"),
    [
        (t.CHATML, [USER, answer(" 4 \n"), USER], []),
        (t.STRIPS, [USER, answer("4"), USER], []),
        (t.STRIPS, [USER, answer(" 4"), USER], [1]),
        (t.STRIPS, [USER, answer("4\n"), USER, answer("4"), USER, answer("4\n"), USER], [1, 5]),
        (t.HYBRID, [USER, answer("<think>\nhm\n</think>\n\n4"), USER], [1]),
        (t.HYBRID, [USER, answer("4"), USER], []),
        (t.CHATML, [USER, answer("4", reasoning_content="hm"), USER], [1]),
        (t.TOOLS, [USER, answer("4", reasoning_content="hm"), USER], []),
        (t.TOOLS, [USER, CALL, {"role": "tool", "content": "4"}], []),
        (t.CHATML, [USER, CALL, {"role": "tool", "content": "4"}], [1]),
        (t.CHATML.replace("m.content", "m.content | lower"), [USER, answer("Four"), USER], [1]),
        (t.CHATML, [USER], []),
        (t.STRIPS, [{"role": "user", "content": " hi "}], []),  # only answers are checked
        (t.CHATML, "a text", []),
        (t.IGNORES_SYSTEM, [{"role": "system", "content": "Be brief."}, USER, answer("4"), USER], []),
    ],
)
def test_changed_answers(template, talk, changed):
    assert changed_answers(t.with_template(template), talk) == changed
    assert has_answers(talk) == (not isinstance(talk, str) and any(m["role"] == "assistant" for m in talk))


def test_an_answer_is_not_found_in_text_before_it():
    """The user wrote the same: the second mention is missing."""
    drops = t.CHATML.replace("{{ m.content }}", "{% if m.role != 'assistant' %}{{ m.content }}{% endif %}")
    talk = [{"role": "user", "content": "say fish"}, answer("fish"), USER]
    assert changed_answers(t.with_template(drops), talk) == [1]
    assert changed_answers(t.with_template(t.CHATML), talk) == []


DROPS = t.CHATML.replace("{{ m.content }}", "{% if m.role != 'assistant' %}{{ m.content }}{% endif %}")
DROPS_FIRST = t.TOOLS.replace("m.reasoning_content %}", "m.reasoning_content and loop.last %}")


@pytest.mark.parametrize(
    ("template", "talk", "changed"),
    [
        (DROPS, [USER, answer("4"), {"role": "user", "content": "is it 4?"}], [1]),
        (DROPS, [USER, answer("4"), USER, answer("44"), {"role": "user", "content": "4 or 44?"}], [1, 3]),
        (t.CHATML, [USER, answer("4"), {"role": "user", "content": "is it 4?"}], []),
        (DROPS, [USER, answer("user"), USER], [1]),  # text that the template itself writes
        (t.CHATML, [USER, answer("4", reasoning_content="two"), USER], [1]),
        (t.CHATML, [USER, answer("4", reasoning_content="4"), USER], [1]),
        (DROPS_FIRST, [USER, answer("4", reasoning_content="4"), USER, answer("4", thinking="4"), USER], [1, 3]),
        (t.TOOLS, [USER, answer("4", reasoning_content="4"), {"role": "user", "content": "4?"}], []),
        (t.HYBRID, [USER, answer("<think>\nhm\n</think>\n\n4"), {"role": "user", "content": "hm"}], [1]),
        (t.STRIPS, [USER, answer("4\n"), {"role": "user", "content": "no"}], [1]),  # the mark alone would hide the loss
        (t.CHATML, [USER, answer([{"type": "text", "text": "4"}]), USER], []),
        (DROPS, [USER, answer([{"type": "text", "text": "4"}]), {"role": "user", "content": "4?"}], [1]),
        (DROPS, [USER, answer("Qzmark1c"), {"role": "user", "content": "Qzmark1cQzmark1c"}], [1]),
        (t.CHATML, [USER, *[answer("4"), USER] * 12], []),
        (DROPS, [USER, *[answer("4"), USER] * 12], [*range(1, 24, 2)]),
    ],
)
def test_an_answer_is_not_found_in_text_after_it(template, talk, changed):
    before = repr(talk)
    assert changed_answers(t.with_template(template), talk) == changed
    assert repr(talk) == before


def test_template_arguments_and_refusals_pass_through():
    keeps = "{% if keep %}" + t.CHATML + "{% else %}" + t.STRIPS + "{% endif %}"
    talk = [USER, answer(" 4"), USER]
    assert changed_answers(t.with_template(keeps), talk) == [1]
    assert changed_answers(t.with_template(keeps), talk, {"keep": True}) == []
    with pytest.raises(TemplateRefusalError):
        changed_answers(t.with_template(t.NO_TOOL_ROLE), [USER, CALL, {"role": "tool", "content": "4"}])
