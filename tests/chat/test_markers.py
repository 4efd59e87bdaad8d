"""Prompts that were rendered before, and names of control tokens in ordinary texts."""

import pytest
from transformers import AddedToken, PreTrainedTokenizerFast

from crossdistill.chat.markers import Markers, marker_findings
from crossdistill.chat.renderer import PromptRenderer
from crossdistill.chat.template import ensure_template
from crossdistill.findings import Severity
from tests.tokenizers_in_process import build, byte_level

CHATML = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\nYou are kind.<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% for m in messages %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
    "{{ m.content | trim }}<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n{{ m.content }}"
    "<|eot_id|>{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
    "{% elif m.role == 'system' %}{{ raise_exception('no system') }}{% else %} {{ m.content }}{{ eos_token }}"
    "{% endif %}{% endfor %}"
)
DEEPSEEK = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}<｜User｜>{{ m.content }}"
    "{% elif m.role == 'assistant' %}<｜Assistant｜>{{ m.content }}<｜end▁of▁sentence｜>{% else %}{{ m.content }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<｜Assistant｜><think>\n{% endif %}"
)
PHI = (
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% else %}{{ eos_token }}{% endif %}"
)
FAMILIES = {
    "chatml": (CHATML, ["<|im_start|>", "<|im_end|>"]),
    "gemma": (GEMMA, ["<start_of_turn>", "<end_of_turn>"]),
    "llama3": (LLAMA3, ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]),
    "mistral": (MISTRAL, []),  # its markers were plain text at first
    "deepseek": (DEEPSEEK, ["<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>"]),
    "phi": (PHI, ["<|user|>", "<|assistant|>", "<|system|>", "<|end|>"]),
}
USER = {"role": "user", "content": "two + two?"}
TALKS = {
    "question": [USER],
    "conversation": [USER, {"role": "assistant", "content": "Four."}, USER],
    "system": [{"role": "system", "content": "Be brief."}, USER],
}


def tokenizer(family, num_merges=60):
    template, tokens = FAMILIES[family]
    made = PreTrainedTokenizerFast(tokenizer_object=byte_level(num_merges=num_merges, special=(), ordinary=()))
    made.add_special_tokens({"additional_special_tokens": [AddedToken(token, special=True) for token in tokens]})
    made.add_special_tokens({"bos_token": "<s>", "eos_token": "</s>"})
    made.chat_template = template
    return made


def side(label, made):
    return Markers.of(label, PromptRenderer(made, {}, []))


@pytest.fixture(scope="module")
def sides():
    return {family: side(family, tokenizer(family)) for family in FAMILIES}


def names(*arguments):
    return [finding.kind.name for finding in marker_findings("prompt 3", *arguments)]


def rendered(family, talk, add_generation_prompt=True):
    made = tokenizer(family)
    return made.apply_chat_template(talk, tokenize=False, add_generation_prompt=add_generation_prompt)


@pytest.mark.parametrize("talk", ["question", "conversation"])
@pytest.mark.parametrize("opens", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_rendered_prompt_is_refused_on_either_side(sides, family, talk, opens):
    text = rendered(family, TALKS[talk], opens)
    other = sides["gemma" if family != "gemma" else "chatml"]
    for ours, theirs in ((sides[family], other), (other, sides[family])):
        (finding,) = marker_findings("prompt 3", text, ours, theirs)
        assert finding.kind.name == "rendered_prompt" and finding.kind.severity is Severity.REFUSAL
        assert finding.message.startswith("prompt 3 was rendered") and f"the {family}'s template" in finding.message
        assert names([{"role": "user", "content": text}], ours, theirs) == ["rendered_prompt"]


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "mistral"])
def test_a_rendered_system_message_is_refused(sides, family):
    other = sides["gemma" if family != "gemma" else "chatml"]
    assert names(rendered(family, TALKS["system"]), sides[family], other) == ["rendered_prompt"]


@pytest.mark.parametrize("family", FAMILIES)
def test_two_models_of_one_family_read_a_rendered_prompt_as_it_is(family):
    ours, theirs = (side(label, tokenizer(family, size)) for label, size in (("student", 60), ("teacher", 80)))
    assert names(rendered(family, TALKS["conversation"]), ours, theirs) == []


def test_a_base_model_that_knows_the_tokens_reads_it_too():
    made = tokenizer("chatml")
    made.chat_template = None
    ensure_template(made)
    assert (
        names(rendered("chatml", TALKS["question"]), side("student", made), side("teacher", tokenizer("chatml"))) == []
    )


@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in {"chatml", "gemma"}])
def test_a_third_models_template_is_warned_of(sides, family):
    (finding, *others) = marker_findings(
        "prompt 3", rendered(family, TALKS["question"]), sides["chatml"], sides["gemma"]
    )
    assert finding.kind.name == "foreign_markers" and finding.kind.severity is Severity.WARNING
    assert {other.kind.name for other in others} <= {"control_name"}
    assert names(rendered(family, TALKS["question"]), sides["chatml"], sides["chatml"])[:1] == ["foreign_markers"]


@pytest.mark.parametrize(
    "text",
    [
        "two + two?",
        "<p>Some <b>bold</b> text, <br/> a <div class='x'>box</div> and <user>Bob</user></p>",
        "def f(x: list[int]) -> dict[str, int]: return x[0] < 3 > 2",
        "a[INSTANCE] b [1] c [/] [TODO] d",
        "User:\nHi\n\nAssistant:\n",
        "### Instruction:\nAdd.\n\n### Response:\n",
        "<think>\nHm.\n</think>\n\nFour.",
        "|im_start| <im_start> im_end",
        "<|endoftext|>",  # of neither model
        "What does this token mean: [/INST]",
        "[INST] and [/INST]: what are these?",
        "[INST] vs [/INST]: what is the difference?",
        "[INST] is a macro. Expand it: a[INST]",
        "[INST]\nname = x\n[BUILD]\nWhat does this INI file set?",
        "Explain [INST] and [/INST]",
    ],
)
def test_ordinary_texts_pass_without_a_word(sides, text):
    for ours in sides.values():
        for theirs in sides.values():
            assert names(text, ours, theirs) == []
            assert names([{"role": "system", "content": text}, {"role": "user", "content": text}], ours, theirs) == []


@pytest.mark.parametrize(
    ("text", "token"),
    [
        ("What does <|im_start|>user mean in a template?", "<|im_start|>"),
        ("Some text.<|im_end|>", "<|im_end|>"),
        ("Write <|im_start|> and <|im_end|> for me, please.", "<|im_start|>"),
    ],
)
def test_a_mention_of_a_control_token_is_warned_of(sides, text, token):
    findings = list(marker_findings("prompt 3", text, sides["chatml"], sides["gemma"]))
    assert {finding.kind.name for finding in findings} == {"control_name"}
    assert f"prompt 3 spells {token!r}, which the chatml reads as its control token" in findings[0].message


@pytest.mark.parametrize(
    ("family", "text"),
    [
        ("chatml", "<|im_start|>user is a header. What ends it?"),
        ("chatml", "Which token comes first? <|im_start|>user"),
        ("chatml", "<|im_start|> and <|im_end|>: what are these?"),
        ("gemma", "Gemma's answer begins with <start_of_turn>model"),
        ("gemma", "<start_of_turn>model"),
        ("phi", "Explain the special token <|user|>"),
        ("phi", "<|user|> is what kind of token?"),
        ("phi", "The user's turn starts with <|user|>\nand the answer with <|assistant|>"),
        ("deepseek", "Explain <｜User｜> and <｜Assistant｜>"),
        ("llama3", "How does <|eot_id|> end a turn?"),
    ],
)
def test_a_question_about_markers_is_not_refused(sides, family, text):
    for other in sides.values():
        assert set(names([{"role": "user", "content": text}], sides[family], other)) <= {"control_name"}


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "mistral"])
def test_a_rendered_prompt_after_an_instruction_is_refused(sides, family):
    other = sides["gemma" if family != "gemma" else "chatml"]
    text = f"Question 1:\n{rendered(family, TALKS['question'])}"
    assert names(text, sides[family], other) == ["rendered_prompt"]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_rendered_prompt_with_the_beginning_of_an_answer_is_refused(sides, family):
    other = sides["gemma" if family != "gemma" else "chatml"]
    assert names(f"{rendered(family, TALKS['question'])}It is", sides[family], other) == ["rendered_prompt"]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("opens", [True, False])
def test_a_rendered_message_is_refused_although_both_know_the_markers(sides, family, opens):
    text = rendered(family, TALKS["question"], opens)
    for role in ("user", "system"):
        (finding,) = marker_findings("prompt 3", [{"role": role, "content": text}], sides[family], sides[family])
        assert finding.kind.name == "rendered_message" and finding.kind.severity is Severity.REFUSAL
    assert names(text, sides[family], sides[family]) == []


@pytest.mark.parametrize(("bos", "pad"), [("<|im_start|>", "<|im_end|>"), ("<|im_end|>", "<|im_start|>")])
def test_markers_that_are_declared_as_bos_and_pad_stay_markers(sides, bos, pad):
    made = tokenizer("chatml")
    made.bos_token, made.pad_token, made.unk_token = bos, pad, pad
    student = side("student", made)
    assert "<|im_start|>" in student.tags and "<|im_end|>" in student.ends | student.tags
    for talk in TALKS.values():
        assert names(rendered("chatml", talk), student, sides["gemma"]) == ["rendered_prompt"]
        assert names(rendered("chatml", talk), student, sides["chatml"]) == []


def test_a_bos_before_each_question_is_no_marker(sides):
    made = tokenizer("mistral")
    made.chat_template = MISTRAL.replace("{{ bos_token }}", "").replace("[INST]", "{{ bos_token }}[INST]", 1)
    llama2 = side("student", made)
    assert llama2.tags == {"[INST]", "[/INST]"}
    text = made.apply_chat_template(TALKS["conversation"], tokenize=False)
    assert names(text, llama2, sides["mistral"]) == [] and names(text, llama2, sides["phi"]) == ["rendered_prompt"]


def test_names_in_the_vocabulary_of_a_model_with_other_markers_are_not_enough(sides):
    distilled = tokenizer("llama3")
    distilled.add_special_tokens(
        {"additional_special_tokens": FAMILIES["deepseek"][1]}, replace_extra_special_tokens=False
    )
    distilled.chat_template = DEEPSEEK
    assert names(rendered("llama3", TALKS["question"]), sides["llama3"], side("teacher", distilled)) == [
        "rendered_prompt"
    ]


def test_html_that_one_side_reads_as_control_tokens_is_warned_of_at_most(sides):
    gpt2 = build("gpt2")
    ensure_template(gpt2)
    text = "<p>not <s>this</s> but that</p>"
    assert set(names(text, sides["gemma"], side("teacher", gpt2))) == {"control_name"}
    assert names(text, sides["gemma"], sides["mistral"]) == []


def test_words_are_no_markers():
    made = tokenizer("chatml")
    made.add_special_tokens({"additional_special_tokens": ["<think>"]}, replace_extra_special_tokens=False)
    text, gemma = "<think>Hm.</think>", side("teacher", tokenizer("gemma"))
    assert names(text, side("student", made), gemma) == ["control_name"]
    assert names(text, Markers.of("student", PromptRenderer(made, {}, []), ["<think>"]), gemma) == []
