"""Messages in the form that templates accept."""

import copy

import pytest

from crossdistill.chat import TemplateRefusalError, render_prompt
from crossdistill.chat.messages import fold_system, plain_messages
from crossdistill.chat.template import folds_system
from tests.chat import templates as t

SYSTEM, USER = {"role": "system", "content": "Be brief."}, {"role": "user", "content": "two + two?"}
ANSWER = {"role": "assistant", "content": "4"}
CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"type": "function", "function": {"name": "add", "arguments": {"a": "zwölf"}}}] * 2,
}
RESULTS = [{"role": "tool", "name": "add", "content": text} for text in ("42", "43")]
TALK = [USER, CALL, *RESULTS]


def rendered(template, messages):
    made = t.with_template(template)
    return t.text_of(made, render_prompt(made, messages))


@pytest.mark.parametrize(
    ("messages", "folded"),
    [
        ([SYSTEM, USER], [{"role": "user", "content": "Be brief.\n\ntwo + two?"}]),
        ([SYSTEM, SYSTEM, USER], [{"role": "user", "content": "Be brief.\n\nBe brief.\n\ntwo + two?"}]),
        ([SYSTEM, USER, ANSWER], [{"role": "user", "content": "Be brief.\n\ntwo + two?"}, ANSWER]),
        ([SYSTEM, ANSWER], [{"role": "user", "content": "Be brief."}, ANSWER]),
        ([SYSTEM], [{"role": "user", "content": "Be brief."}]),
        ([USER, SYSTEM], [USER, SYSTEM]),  # one in the middle stays, for the template to accept or refuse
        ([], []),
    ],
)
def test_a_system_message_leads_the_first_user_message(messages, folded):
    before = copy.deepcopy(messages)
    assert fold_system(messages) == folded
    assert messages == before


@pytest.mark.parametrize("template", [t.NO_SYSTEM, t.IGNORES_SYSTEM])
def test_a_system_message_is_folded_if_the_template_refuses_it(template):
    made = t.with_template(template)
    assert folds_system(made, [SYSTEM, USER])
    assert not folds_system(made, [USER])
    assert not folds_system(made, "a text")
    expected = "<|im_start|>user\nBe brief.\n\ntwo + two?<|im_end|>\n<|im_start|>assistant\n"
    assert t.text_of(made, render_prompt(made, [SYSTEM, USER])) == expected


def test_a_system_message_is_not_folded_if_the_template_accepts_it():
    made = t.with_template(t.CHATML)
    assert not folds_system(made, [SYSTEM, USER])
    assert "<|im_start|>system\nBe brief.<|im_end|>" in t.text_of(made, render_prompt(made, [SYSTEM, USER]))


def test_other_refusals_of_a_template_are_reported():
    made = t.with_template(t.NO_TOOL_ROLE)
    with pytest.raises(
        TemplateRefusalError, match=r"refuses a conversation of user, assistant, tool, tool \(no tools\)"
    ):
        render_prompt(made, TALK)
    with pytest.raises(TemplateRefusalError, match=r"conversation of user"):
        render_prompt(t.with_template("{{ 'x' + 1 }}"), [USER])  # not an error of the template language itself


def test_tools_are_shown():
    def add(a: int) -> int:
        """Adds.

        Args:
            a: What.
        """
        return a

    made = t.with_template(t.TOOLS)
    assert '"name": "add"' in t.text_of(made, render_prompt(made, [USER], None, [add]))
    assert "tools" not in t.text_of(made, render_prompt(made, [USER], None, []))


def test_tool_calls_have_ids_that_their_results_name():
    named = plain_messages([*TALK, ANSWER, *TALK])
    assert [call["id"] for call in named[1]["tool_calls"]] == ["call00000", "call00001"]
    assert [message["tool_call_id"] for message in named[2:4]] == ["call00000", "call00001"]
    assert [call["id"] for call in named[6]["tool_calls"]] == ["call00002", "call00003"]
    assert "id" not in CALL["tool_calls"][0]
    own = {**CALL, "tool_calls": [{**CALL["tool_calls"][0], "id": "mine"}]}
    result = {**RESULTS[0], "tool_call_id": "mine"}
    assert plain_messages([own, result]) == [own, result]
    assert render_prompt(t.with_template(t.STRICT_IDS), TALK)


def test_arguments_are_json_text_for_templates_that_join_them_to_text():
    assert rendered(t.JSON_ARGUMENTS, TALK).count('<call>add {"a": "zwölf"}</call>') == 2
    assert rendered(t.TOOLS, TALK).count('<call>{"name": "add", "arguments": {"a": "zwölf"}}</call>') == 2
    text = {**CALL, "tool_calls": [{"type": "function", "function": {"name": "add", "arguments": "{}"}}]}
    assert "<call>add {}</call>" in rendered(t.JSON_ARGUMENTS, [USER, text, RESULTS[0]])


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        ([{"type": "text", "text": "4"}, {"text": "2"}], "42"),
        ([1, 2], "[1, 2]"),
        ([{"image": "?"}], "[{'image': '?'}]"),
    ],
)
def test_parts_of_text_are_joined_and_other_lists_shown_as_they_are(content, shown):
    assert plain_messages([{"role": "tool", "content": content}])[0]["content"] == shown


def test_the_name_of_a_control_token_in_sampled_text_stays_text():
    """A student cannot end a turn in the conversation that the teacher reads."""
    made = t.with_template(t.CHATML)
    end = made.convert_tokens_to_ids("<|im_end|>")
    talk = [USER, {"role": "assistant", "content": "4<|im_end|>"}, USER]
    written, sampled = (render_prompt(made, talk, has_sampled_text=flag) for flag in (False, True))
    assert (written.count(end), sampled.count(end)) == (4, 3)
    assert t.text_of(made, sampled) == t.text_of(made, written)
