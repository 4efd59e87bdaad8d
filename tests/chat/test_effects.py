"""The effects of a template on a conversation, found by rendering."""

import pytest

from crossdistill.chat import PLAIN_TEMPLATE
from crossdistill.chat.effects import Fate, Opening, reasoning_of, template_effects
from tests.chat import templates as t

PLAIN = {
    "system": Fate.KEPT,
    "past": Fate.KEPT,
    "strips_leading": False,
    "strips_trailing": False,
    "past_reasoning": Fate.KEPT,
    "last_reasoning": Fate.KEPT,
    "reasoning_field": Fate.DROPPED,
    "tool_reasoning": Fate.DROPPED,
    "lead": "",
    "has_generation_prompt": True,
    "inserted": "",
    "opening": "",
    "reasoning": Opening.NONE,
    "end_of_turn": "<|im_end|>",
    "tools": Fate.DROPPED,
    "preamble": "",
    "tool_results": Fate.CHANGED,  # the result is there, the call is not
}
CLOCK = "Today is {{ date_string if date_string is defined else strftime_now('%d %b %Y') }}. "
DEFAULT_SYSTEM = "{% if messages[0].role != 'system' %}<|im_start|>system\nYou are Q.<|im_end|>\n{% endif %}"
THOUGHT_OPEN, THOUGHT_CLOSED = "<think>\n", "<think>\n\n</think>\n\n"
SHOWS_TOOLS = {
    "tools": Fate.KEPT,
    "tool_results": Fate.KEPT,
    "reasoning_field": Fate.KEPT,
    "tool_reasoning": Fate.KEPT,
}


@pytest.mark.parametrize(
    ("template", "template_kwargs", "expected"),
    [
        (t.CHATML, {}, {}),
        (t.STRIPS, {}, {"strips_leading": True, "strips_trailing": True}),
        (t.CHATML.replace("m.content", "m.content.rstrip()"), {}, {"strips_trailing": True}),
        (t.CHATML.replace("m.content", "m.content.lstrip()"), {}, {"strips_leading": True}),
        (t.CHATML.replace("m.content", "m.content.lstrip(' ')"), {}, {"strips_leading": True}),  # part of it
        (t.CHATML.replace("m.content", "m.content.rstrip(' ')"), {}, {"strips_trailing": True}),
        (t.NO_SYSTEM, {}, {"system": Fate.REFUSED}),
        (DEFAULT_SYSTEM + t.CHATML, {}, {"preamble": "<|im_start|>system\nYou are Q."}),
        ("<|im_end|>" + t.CHATML, {}, {}),  # as templates begin that write a control token
        (CLOCK + t.CHATML, {"date_string": "26 Jul 2024"}, {"preamble": "Today is 26 Jul 2024. "}),
        (t.IGNORES_SYSTEM, {}, {"system": Fate.DROPPED}),
        (
            t.HYBRID,
            {},
            {"past_reasoning": Fate.DROPPED, "inserted": THOUGHT_CLOSED},
        ),
        (
            t.HYBRID,
            {"enable_thinking": False},
            {
                "past_reasoning": Fate.DROPPED,
                "inserted": THOUGHT_CLOSED,
                "opening": THOUGHT_CLOSED,
                "reasoning": Opening.CLOSED,
            },
        ),
        (t.REASONER, {}, {"opening": THOUGHT_OPEN, "reasoning": Opening.OPEN}),
        (t.LEADS, {}, {"lead": "[final]"}),
        (t.NO_GENERATION_PROMPT, {}, {"lead": "<|im_start|>assistant\n", "has_generation_prompt": False}),
        (t.ALWAYS_ASKS, {}, {}),
        (t.ALWAYS_ASKS.replace("{{ m.content }}", "[x]{{ m.content }}"), {}, {"lead": "[x]"}),
        ("{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}", {}, {}),
        (
            t.CHATML.replace("m.content", "m.content | replace('think', 'thought')"),
            {},
            {"past_reasoning": Fate.CHANGED, "last_reasoning": Fate.CHANGED},
        ),
        (t.TOOLS, {}, SHOWS_TOOLS),
        (t.JSON_ARGUMENTS, {}, SHOWS_TOOLS),
        (t.STRICT_IDS, {}, SHOWS_TOOLS),
        (t.NO_TOOL_ROLE, {}, {"tool_results": Fate.REFUSED, "tool_reasoning": Fate.REFUSED}),
        (t.CHATML.replace("<|im_end|>", ""), {}, {"end_of_turn": ""}),
    ],
)
def test_effects(template, template_kwargs, expected):
    effects = template_effects(t.with_template(template), template_kwargs)
    assert {name: getattr(effects, name) for name in PLAIN} == {**PLAIN, **expected}


def test_a_template_that_shows_no_answers():
    effects = template_effects(
        t.with_template("{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}")
    )
    assert (effects.past, effects.past_reasoning, effects.end_of_turn) == (Fate.DROPPED, Fate.DROPPED, "")
    effects = template_effects(t.with_template("{{ raise_exception('never') }}"))
    assert {effects.system, effects.past, effects.tools, effects.tool_results} == {Fate.REFUSED}
    assert (effects.lead, effects.inserted, effects.opening) == ("", "", "")


def test_the_plain_template_keeps_everything_but_tools():
    made = t.with_template(PLAIN_TEMPLATE)
    effects = template_effects(made)
    assert {effects.system, effects.past, effects.past_reasoning, effects.last_reasoning} == {Fate.KEPT}
    assert (effects.end_of_turn, effects.opening, effects.lead) == (made.eos_token, "", "")


@pytest.mark.parametrize(
    ("opening", "expected"),
    [
        ("", Opening.NONE),
        ("<|channel|>", Opening.NONE),
        ("<think>\n", Opening.OPEN),
        ("<think>", Opening.OPEN),
        ("<|START_THINKING|>", Opening.OPEN),
        ("[THINK]", Opening.OPEN),
        ("Here are my reasoning steps:\n", Opening.OPEN),
        ("<think>\n\n</think>\n\n", Opening.CLOSED),
        ("</think>", Opening.CLOSED),
        ("<|START_THINKING|><|END_THINKING|>", Opening.CLOSED),
        ("[THINK][/THINK]", Opening.CLOSED),
        ("<|channel>thought\n<channel|>", Opening.CLOSED),
    ],
)
def test_how_a_generation_prompt_treats_reasoning(opening, expected):
    assert reasoning_of(opening) is expected


@pytest.mark.parametrize(
    ("header", "opening", "lead"),
    [
        ("{{ '<think></think>' }}", "<think>\n", "<think></think>"),  # they share the tag, which belongs to both
        ("{{ '</think>' }}", "<think>", "</think>"),  # they share its first character, which is not cut off
    ],
)
def test_a_generation_prompt_that_shares_a_beginning_with_earlier_answers(header, opening, lead):
    template = t.CHATML.replace(
        "{{ m.content }}", "{% if m.role == 'assistant' %}" + header + "{% endif %}{{ m.content }}"
    )
    effects = template_effects(
        t.with_template(template.replace("assistant\n{%", f"assistant\n{{{{ {opening!r} }}}}{{%"))
    )
    assert (effects.opening, effects.lead, effects.reasoning) == (opening, lead, Opening.OPEN)


def test_tools_of_the_run_are_shown_to_templates_that_need_some():
    """Tool-use templates of some models refuse a conversation without tools."""
    needs = "{% for tool in tools %}{{ tool.function.name }}{% endfor %}" + t.CHATML
    tool = {"type": "function", "function": {"name": "add", "parameters": {}}}
    assert template_effects(t.with_template(needs)).past is Fate.REFUSED
    assert template_effects(t.with_template(needs), None, [tool]).past is Fate.KEPT


def test_a_template_that_reads_the_clock():
    effects = template_effects(t.with_template(CLOCK + t.CHATML))
    assert effects.reads_clock
    assert effects.preamble.startswith("Today is ")
    assert not template_effects(t.with_template(t.CHATML)).reads_clock
