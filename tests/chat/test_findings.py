"""What is said of the templates of a pair: what matters to the run, with the way out."""

from dataclasses import replace

import pytest

from crossdistill.chat.effects import TOOL_CONVERSATION, Fate, Opening, template_effects
from crossdistill.chat.findings import Uses, mismatch_findings, template_findings
from crossdistill.findings import Severity
from tests.chat import templates as t

PLAIN = template_effects(t.with_template(t.TOOLS))
ODD = replace(
    PLAIN,
    system=Fate.REFUSED,
    past=Fate.CHANGED,
    strips_leading=True,
    past_reasoning=Fate.DROPPED,
    last_reasoning=Fate.CHANGED,
    lead="[final]",
    has_generation_prompt=False,
    inserted="<think></think>",
    opening="<think>",
    reasoning=Opening.OPEN,
    end_of_turn="",
    tools=Fate.DROPPED,
    tool_results=Fate.REFUSED,
)


def said(effects, side="teacher", uses=None):
    return [finding.message for finding in template_findings(effects, side, uses or Uses())]


def test_a_template_without_habits_is_not_mentioned():
    assert said(PLAIN) == []


def test_every_habit_has_its_sentence():
    subject = "the teacher's chat template "
    assert [sentence.removeprefix(subject) for sentence in said(ODD)] == [
        "takes no system message: it is written into the first user message.",
        "does not keep an earlier answer of the assistant as it was (changed).",
        "strips white space before an answer.",
        "does not keep the reasoning (<think>) of earlier answers as it was (dropped).",
        "does not keep the reasoning (<think>) of the last answer as it was (changed).",
        "has no generation prompt, although it writes '[final]' before an answer, so that the teacher reads a response "
        "outside of any answer: give its tokenizer a chat_template that ends with this text if add_generation_prompt "
        "is set.",
        "inserts '<think></think>' before the last answer.",
        "opens the response with '<think>': it begins inside reasoning.",
        "writes nothing after the last answer, so the end of a turn is known from the generation_config and the "
        "tokenizer's eos_token alone.",
        "does not show tools (dropped), so it knows nothing of them: give its tokenizer a chat_template that does.",
        "does not show tool calls and their results whole (refused): give its tokenizer a chat_template that does.",
    ]


@pytest.mark.parametrize(
    ("changes", "end"),
    [
        ({"opening": "</think>", "reasoning": Opening.CLOSED}, "opens the response with '</think>': it begins after "),
        ({"strips_leading": True, "strips_trailing": True}, "strips white space around an answer."),
        ({"strips_trailing": True}, "strips white space after an answer."),
        ({"lead": "[final]"}, "writes '[final]' before an earlier answer, which its generation prompt lacks."),
    ],
)
def test_variants_of_a_sentence(changes, end):
    (sentence,) = said(replace(PLAIN, **changes))
    assert end in sentence


@pytest.mark.parametrize(
    ("uses", "kinds"),
    [
        (Uses.of(["a text"]), set()),
        (Uses.of([t.QUESTION]), {"no_generation_prompt"}),
        (Uses.of([t.SYSTEM, t.QUESTION]), {"no_generation_prompt", "system_folded"}),
        (Uses.of([t.QUESTION], tools=True), {"no_generation_prompt", "tools_not_shown", "tool_results_not_shown"}),
        (Uses.of([TOOL_CONVERSATION]), {"no_generation_prompt", "tool_results_not_shown"}),
        (Uses.of([[{"role": "system", "content": ""}, *t.QUESTION]]), {"no_generation_prompt"}),
    ],
)
def test_only_what_the_data_use_is_warned_of(uses, kinds):
    findings = template_findings(ODD, "student", uses)
    assert {finding.kind.name for finding in findings if finding.kind.severity is Severity.WARNING} == kinds


def test_the_end_of_a_turn_matters_if_it_is_taught():
    taught, not_taught = (template_findings(ODD, "student", Uses.of([t.QUESTION], stops=stops)) for stops in (1, 0))
    assert {item.kind.name for item in taught} - {item.kind.name for item in not_taught} == {"end_of_turn_unmarked"}


def test_habits_on_earlier_answers_matter_if_there_are_some():
    with_answer = [*t.QUESTION, {"role": "assistant", "content": "4"}, *t.QUESTION]
    habits = {"answers_changed", "answers_stripped", "reasoning_changed"}
    assert habits <= {finding.kind.name for finding in template_findings(ODD, "student", Uses.of([with_answer]))}
    prefilled = [*t.QUESTION, {"role": "assistant", "content": "4"}]
    assert habits.isdisjoint(finding.kind.name for finding in template_findings(ODD, "student", Uses.of([prefilled])))


def test_what_a_template_adds_is_noted():
    effects = replace(PLAIN, preamble="system: You are Q.", reads_clock=True)
    assert [finding.kind.name for finding in template_findings(effects, "student")] == ["preamble", "reads_clock"]
    assert template_findings(effects, "student", Uses.of(["a text"])) == []


def test_a_pair_that_begins_its_responses_differently_gets_the_way_out():
    plain, reasoner = (template_effects(t.with_template(template)) for template in (t.CHATML, t.REASONER))
    assert mismatch_findings(plain, plain) == mismatch_findings(reasoner, reasoner) == []
    assert mismatch_findings(reasoner, plain, uses=Uses.of(["a text"])) == []
    (finding,) = mismatch_findings(reasoner, plain)
    assert "inside a block of reasoning for the student ('<think>\\n') and with the answer for the" in finding.message
    assert "the answer for the teacher ('')" in finding.message
    assert "teacher_chat_template_kwargs" in finding.message


@pytest.mark.parametrize(
    ("student", "teacher", "differ"),
    [
        ((t.CHATML, {}), (t.HYBRID, {"enable_thinking": False}), False),
        ((t.CHATML, {}), (t.HYBRID, {}), True),  # the teacher would reason first
        ((t.HYBRID, {}), (t.HYBRID, {}), False),
        ((t.HYBRID, {"enable_thinking": False}), (t.HYBRID, {}), True),
        ((t.HYBRID, {}), (t.CHATML, {}), False),
        ((t.REASONER, {}), (t.HYBRID, {"enable_thinking": False}), True),
        ((t.HYBRID, {"enable_thinking": False}), (t.CHATML, {}), False),
    ],
)
def test_a_response_begins_with_an_answer_or_with_reasoning(student, teacher, differ):
    ours, theirs = (template_effects(t.with_template(template), kwargs) for template, kwargs in (student, teacher))
    assert bool(mismatch_findings(ours, theirs)) is differ


@pytest.mark.parametrize(
    ("header", "prompt", "kinds"),
    [
        ("assistant\n", "assistant\n", set()),
        ("assistant\n", "assistant", {"generation_prompt_differs"}),
        ("assistant\n", "assistant ", {"generation_prompt_differs"}),
        ("assistant\n", "user\n", {"generation_prompt_differs"}),
        ("assistant ", "assistant", set()),  # the blank is the answer's
        ("assistant\n[final]", "assistant\n", {"answer_lead"}),
        ("assistant\n", "assistant\n<think>\n", {"reasoning_opened"}),
    ],
)
def test_a_generation_prompt_says_what_stands_before_an_answer(header, prompt, kinds):
    template = (
        f"{{% for m in messages %}}<|im_start|>{{{{ {header!r} if m.role == 'assistant' else m.role + '\\n' }}}}"
        f"{{{{ m.content }}}}<|im_end|>{{% endfor %}}{{% if add_generation_prompt %}}<|im_start|>{{{{ {prompt!r} }}}}"
        "{% endif %}"
    )
    effects = template_effects(t.with_template(template))
    assert {finding.kind.name for finding in template_findings(effects, "student", Uses.of([t.QUESTION]))} == kinds
