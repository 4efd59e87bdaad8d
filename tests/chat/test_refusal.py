"""A last message of the assistant is continued; what cannot be is refused."""

import pytest

from crossdistill import InputError
from crossdistill.chat import TemplateRefusalError, ensure_template, render_prompt
from crossdistill.chat.history import changed_answers
from crossdistill.chat.template import render_text
from tests.chat import templates as t
from tests.tokenizers_in_process import NAMES, build

USER = {"role": "user", "content": "two + two?"}
BEGUN = {"role": "assistant", "content": "It is"}
CALL = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "add", "arguments": {"a": 2}}}]}
DROPS = t.CHATML.replace("{{ m.content }}", "{{ m.content if m.role == 'user' else 'An answer.' }}")
NO_ANSWER = t.CHATML.replace(
    "{% for m in messages %}",
    "{% if messages[-1].role == 'assistant' %}{{ raise_exception('end with a user') }}{% endif %}"
    "{% for m in messages %}",
)


def rendered(template, messages, **options):
    made = t.with_template(template)
    return t.text_of(made, render_prompt(made, messages, **options))


@pytest.mark.parametrize(
    ("template", "end"),
    [
        (t.CHATML, "assistant\nIt is"),
        (t.STRIPS, "assistant\nIt is"),
        (t.LEADS, "assistant\n[final]It is"),
        (t.HYBRID, "assistant\n<think>\n\n</think>\n\nIt is"),
        (t.NO_SYSTEM, "assistant\nIt is"),
    ],
)
def test_the_last_answer_is_continued(template, end):
    text = rendered(template, [{"role": "system", "content": "Be brief."}, USER, BEGUN])
    assert text.endswith(end)
    assert text.count("assistant\n") == 1


@pytest.mark.parametrize("name", NAMES)
def test_the_plain_template_continues_it_too(name):
    made = build(name)
    ensure_template(made)
    assert t.text_of(made, render_prompt(made, [USER, BEGUN])).endswith("Assistant:\nIt is")


def test_white_space_at_the_end_is_kept_if_the_template_keeps_it():
    spaced = {**BEGUN, "content": "It is \n"}
    assert rendered(t.CHATML, [USER, spaced]).endswith("It is \n")
    assert rendered(t.STRIPS, [USER, spaced]).endswith("It is")
    assert changed_answers(t.with_template(t.CHATML), [USER, spaced]) == []
    assert changed_answers(t.with_template(t.STRIPS), [USER, spaced]) == [1]  # what a run warns of


def test_an_empty_answer_is_begun():
    assert rendered(t.CHATML, [USER, {"role": "assistant", "content": None}]).endswith("<|im_start|>assistant\n")


def test_earlier_answers_are_not_touched():
    text = rendered(t.CHATML, [USER, BEGUN, USER])
    assert "It is<|im_end|>" in text and text.endswith("<|im_start|>assistant\n")


def test_a_whole_conversation_is_still_rendered_whole():
    assert render_text(t.with_template(t.CHATML), [USER, BEGUN]).endswith("It is<|im_end|>\n")


@pytest.mark.parametrize(
    ("template", "message"),
    [(DROPS, "cannot be continued after the assistant's last message"), (NO_ANSWER, "refuses .* .end with a user.")],
)
def test_a_template_that_cannot_continue_it(template, message):
    with pytest.raises(TemplateRefusalError, match=message):
        rendered(template, [USER, BEGUN])


@pytest.mark.parametrize("content", ["", "Let me see."])
def test_a_call_whose_result_is_missing(content):
    with pytest.raises(InputError, match="calls a tool, whose result nobody has written"):
        rendered(t.TOOLS, [USER, {**CALL, "content": content}])
    assert rendered(t.TOOLS, [USER, CALL, {"role": "tool", "content": "4"}])
    assert rendered(t.TOOLS, [USER, {**BEGUN, "tool_calls": []}]).endswith("It is")


def test_tools_cannot_be_called_from_the_rest_of_an_answer():
    tool = {"type": "function", "function": {"name": "add", "description": "", "parameters": {}}}
    with pytest.raises(InputError, match="the run has tools, whose calls cannot be read"):
        rendered(t.TOOLS, [USER, BEGUN], tools=[tool])
    assert rendered(t.TOOLS, [USER, BEGUN, USER], tools=[tool])
