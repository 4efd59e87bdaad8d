"""Prompts that are rendered together are those that are rendered one by one."""

import pytest

from crossdistill import InputError
from crossdistill.chat import TemplateRefusalError, ensure_template, render_prompt
from crossdistill.chat.batch import render_prompts
from crossdistill.findings import FindingError
from tests.chat.test_template import CHATML, QUESTION, TALK, tokenizer
from tests.tokenizers_in_process import NAMES

WITHOUT_SYSTEM = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('no system message') }}{% endif %}"
    "{% for m in messages %}{% if m.content == 'no!' %}{{ raise_exception('no') }}{% endif %}{% endfor %}" + CHATML
)
PARTS = [{"role": "user", "content": [{"type": "text", "text": "one "}, {"type": "text", "text": "and two"}]}]
CONTINUED = [*QUESTION, {"role": "assistant", "content": "It is"}]
CALLING = [
    *QUESTION,
    {"role": "assistant", "tool_calls": [{"type": "function", "function": {"name": "add", "arguments": '{"a": 2}'}}]},
    {"role": "tool", "content": "4"},
]
BATCHES = {
    "plain": [QUESTION, TALK, PARTS],
    "one": [TALK],
    "none": [],
    "texts": ["Once upon a time", "there was"],
    "mixed": [QUESTION, "Once upon a time"],
    "continued": [QUESTION, CONTINUED],
    "tool calls": [CALLING, QUESTION],
}


def one_by_one(made, prompts, *options):
    return [render_prompt(made, prompt, *options) for prompt in prompts]


@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES)
@pytest.mark.parametrize("name", NAMES)
def test_together_is_one_by_one(name, batch):
    made = tokenizer(name, template=CHATML)
    assert render_prompts(made, batch) == one_by_one(made, batch)


@pytest.mark.parametrize("template", [None, WITHOUT_SYSTEM])
def test_system_messages_and_arguments_of_the_template(template):
    made = tokenizer(template=template, adds="<|im_start|> $A")
    ensure_template(made)
    options = {"opening": "Sure:"}, [{"type": "function", "function": {"name": "add", "parameters": {}}}]
    assert render_prompts(made, BATCHES["plain"], *options) == one_by_one(made, BATCHES["plain"], *options)


def test_what_is_tokenised_together_goes_through_the_tokenizer_once(monkeypatch):
    made, calls = tokenizer(template=CHATML), []
    encode = type(made)._encode_plus
    monkeypatch.setattr(type(made), "_encode_plus", lambda *args, **named: calls.append(1) or encode(*args, **named))
    render_prompts(made, [QUESTION, TALK, PARTS])
    assert len(calls) == 1


def test_errors_are_those_of_the_one_prompt():
    made = tokenizer(template=WITHOUT_SYSTEM)
    refused = [{"role": "user", "content": "no!"}]
    with pytest.raises(TemplateRefusalError, match="refuses a conversation of user"):
        render_prompts(made, [QUESTION, refused])
    with pytest.raises(InputError, match="which crossdistill sets"):
        render_prompts(made, [QUESTION, QUESTION], {"tokenize": False})
    called = [*QUESTION, CALLING[1]]
    with pytest.raises(FindingError, match="calls a tool"):
        render_prompts(made, [QUESTION, called])
    nothing = tokenizer(template="{{ messages[0].content }}")
    with pytest.raises(InputError, match="has no tokens"):
        render_prompts(nothing, [QUESTION, [{"role": "user", "content": ""}]])
