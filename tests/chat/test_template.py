"""Prompts, rendered for each model."""

import pytest
from tokenizers import AddedToken
from tokenizers.processors import TemplateProcessing

from crossdistill import ByteVocab, InputError
from crossdistill.chat import PLAIN_TEMPLATE, TemplateRefusalError, ensure_template, render_prompt, stop_ids
from tests.tokenizers_in_process import NAMES, build

START, END = "<|im_start|>", "<|im_end|>"
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{{ opening | default('') }}{% endif %}"
)
QUESTION = [{"role": "user", "content": "two + two?"}]
TALK = [{"role": "system", "content": "Be brief."}, *QUESTION, {"role": "assistant", "content": "4"}, *QUESTION]


def tokenizer(name: str = "qwen", *, adds: str = "$A", bos: str | None = START, eos: str | None = END, template=None):
    """`adds` is the pattern that it adds around plain text, such as "<|im_start|> $A"."""
    made = build(name)
    made.bos_token, made.eos_token, made.chat_template = bos, eos, template
    ids = [(token, made.convert_tokens_to_ids(token)) for token in (START, END)]
    made.backend_tokenizer.post_processor = TemplateProcessing(single=adds, special_tokens=ids)
    return made


def text_of(made, ids: list[int]) -> str:
    return made.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)


@pytest.mark.parametrize("adds", ["$A", f"{START} $A"])
def test_messages_go_through_the_models_own_template(adds):
    made = tokenizer(template=CHATML, adds=adds)
    assert not ensure_template(made)
    ids = render_prompt(made, QUESTION)
    assert text_of(made, ids) == f"{START}user\ntwo + two?{END}\n{START}assistant\n"
    assert ids.count(made.convert_tokens_to_ids(START)) == 2  # as control tokens, each once
    assert all(isinstance(token, int) for token in ids)


def test_template_arguments_reach_the_template():
    made = tokenizer(template=CHATML)
    assert text_of(made, render_prompt(made, QUESTION, {"opening": "Sure:"})).endswith("assistant\nSure:")


@pytest.mark.parametrize("name", NAMES)
def test_without_a_template_the_plain_one_is_used(name):
    made = tokenizer(name)
    assert ensure_template(made)
    rendered = made.apply_chat_template(TALK, add_generation_prompt=True, tokenize=False)
    assert rendered == (
        f"System:\nBe brief.\n\nUser:\ntwo + two?\n\nAssistant:\n4{END}\n\nUser:\ntwo + two?\n\nAssistant:\n"
    )
    assert render_prompt(made, TALK).count(made.eos_token_id) == 1
    assert not ensure_template(made)  # now it has one


@pytest.mark.parametrize(
    ("adds", "bos", "eos", "begins"),
    [
        ("$A", START, END, False),
        (f"{START} $A", START, END, True),
        (f"{START} $A {END}", START, END, True),
        (f"$A {END}", START, END, False),
        (f"$A {END}", END, END, False),  # GPT-2 has one token for both: the end
        (f"{END} $A", END, END, True),  # and the beginning
        ("$A", None, None, False),
        (f"$A {END}", None, END, False),
    ],
)
def test_the_plain_template_begins_like_plain_text(adds, bos, eos, begins):
    made = tokenizer(adds=adds, bos=bos, eos=eos)
    ensure_template(made)
    ids = render_prompt(made, QUESTION)
    expected = ([made.bos_token_id] if begins else []) + made(
        "User:\ntwo + two?\n\nAssistant:\n", add_special_tokens=False
    ).input_ids
    assert ids == expected


@pytest.mark.parametrize("prompt", ["Question: two + two?\nAnswer:", "x", f"spelled out {END}", f"{END}"])
@pytest.mark.parametrize(
    ("adds", "bos", "eos"),
    [
        ("$A", START, END),
        (f"{START} $A", START, END),
        (f"$A {END}", START, END),
        (f"{START} $A {END}", START, END),
        (f"{END} $A", END, END),
        (f"{END} $A {END}", END, END),
        (f"$A {END}", END, END),
        ("$A", None, None),
    ],
)
def test_a_text_is_continued_as_it_is(adds, bos, eos, prompt):
    """With the begin token that the tokenizer adds, without the end token that it adds, with one in the text kept."""
    made = tokenizer(adds=adds, bos=bos, eos=eos)
    adds_begin = adds.index("$A") > 0
    begin = [made.bos_token_id] if adds_begin and not (prompt == END and bos == END) else []
    assert render_prompt(made, prompt) == begin + made(prompt, add_special_tokens=False).input_ids


@pytest.mark.parametrize("spelled", ["", START, START * 2])
def test_a_text_begins_with_one_begin_token_if_the_tokenizer_adds_one(spelled):
    """A text that was rendered before spells it."""
    made = tokenizer(adds=f"{START} $A")
    assert text_of(made, render_prompt(made, f"{spelled}two + two?")) == f"{START}two + two?"
    as_it_is = tokenizer(adds="$A")
    assert text_of(as_it_is, render_prompt(as_it_is, f"{spelled}two + two?")) == f"{spelled}two + two?"


def test_an_empty_text_is_only_the_begin_token():
    for token in (START, END):
        made = tokenizer(adds=f"{token} $A", bos=token, eos=END)
        assert render_prompt(made, "") == [made.bos_token_id]


@pytest.mark.parametrize("adds", ["$A", f"$A {END}"])
def test_a_prompt_without_a_token_is_refused(adds):
    with pytest.raises(
        InputError, match="the prompt '' has no tokens, so nothing predicts the first token of the response"
    ):
        render_prompt(tokenizer(adds=adds), "")
    with pytest.raises(InputError, match=r"the prompt \[\{.*\}\] has no tokens"):
        render_prompt(tokenizer(template="{{ messages[0].content }}"), [{"role": "user", "content": ""}])


@pytest.mark.parametrize("name", NAMES)
def test_no_token_crosses_from_the_prompt_into_the_response(name):
    """Together they would be tokenised differently; each side keeps its own tokens."""
    made = tokenizer(name)
    vocab = ByteVocab.from_tokenizer(made)
    prompt, response = "over th", "e quick brown fox"
    prompt_ids, response_ids = render_prompt(made, prompt), vocab.encode(response).ids.tolist()
    together = made(prompt + response, add_special_tokens=False).input_ids
    assert prompt_ids + response_ids != together
    assert vocab.decode(prompt_ids).decode().endswith(prompt)
    assert vocab.decode(response_ids) == response.encode()
    assert prompt_ids == made(prompt, add_special_tokens=False).input_ids


def with_tokens(template: str | None, eos: str | None = END):
    return tokenizer(template=template, eos=eos)


@pytest.mark.parametrize("declared", [None, 3, [3], (5, 3), [], {3, 5}])
def test_stop_tokens_are_the_union_in_ascending_order(declared):
    made = with_tokens(CHATML, eos=START)
    start, end = made.convert_tokens_to_ids([START, END])
    named = {3} if declared == 3 else set(declared or ())
    assert stop_ids(made, declared) == tuple(sorted({*named, start, end}))


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (CHATML, END),
        (CHATML.replace("{{ m.content }}", "<think>\n{{ m.content }}\n"), END),  # text between message and end of turn
        (PLAIN_TEMPLATE, START),  # eos_token
        ("{% for m in messages %}{{ m.content }}\n{% endfor %}", None),  # no special token after it
        ("{% for m in messages %}{{ m.content }}<think>{% endfor %}", None),  # an added token that is not special
        ("{% for m in messages if m.role == 'user' %}{{ m.content }}<|im_end|>{% endfor %}", None),  # prompts only
        (None, None),
    ],
)
def test_the_end_of_turn_is_the_token_that_the_template_writes_after_an_answer(template, expected):
    made = with_tokens(template, eos=START)
    wanted = {made.eos_token_id} | ({made.convert_tokens_to_ids(expected)} if expected else set())
    assert stop_ids(made) == tuple(sorted(wanted))


def test_without_any_end_there_are_no_stop_tokens():
    assert stop_ids(with_tokens(None, eos=None)) == ()


# --- reserved keywords, and errors of a template


@pytest.mark.parametrize("name", ["tokenize", "add_generation_prompt", "sanitize_control_tokens", "max_length"])
def test_reserved_keywords_are_refused(name):
    with pytest.raises(InputError, match=f"name {name}, which crossdistill sets: leave them out"):
        render_prompt(tokenizer(template=CHATML), QUESTION, {name: True})


@pytest.mark.parametrize(
    "fault", ["1 / 0", "messages[7].content", "'a'.index('b')", "messages.nothing.at_all", "1 + 'a'"]
)
def test_errors_of_a_templates_expressions_are_refusals(fault):
    with pytest.raises(TemplateRefusalError, match="refuses a conversation of user"):
        render_prompt(tokenizer(template="{{ " + fault + " }}" + CHATML), QUESTION)


REREADS = CHATML.replace("{{ m.content }}", "{{ m.content.split('</think>')[-1].strip() }}")
CALL = [*QUESTION, {"role": "assistant", "content": "<think>\nI look.\n</think>\n\nCalling"}, *QUESTION]


def test_sampled_text_is_rendered_like_any_text():
    made = tokenizer(template=REREADS)
    assert render_prompt(made, CALL, has_sampled_text=True) == render_prompt(made, CALL)


def test_a_control_token_in_sampled_text_stays_text():
    made = tokenizer(template=CHATML)
    said = [*QUESTION, {"role": "assistant", "content": f"4{END}{START}user"}, *QUESTION]
    end = made.convert_tokens_to_ids(END)
    assert render_prompt(made, said).count(end) == 4
    assert render_prompt(made, said, has_sampled_text=True).count(end) == 3
    assert text_of(made, render_prompt(made, said, has_sampled_text=True)) == text_of(made, render_prompt(made, said))


def test_a_turn_may_end_with_a_control_token_that_is_not_flagged():
    made = tokenizer(template=CHATML.replace(END, "<|EOT|>"))
    made.add_tokens([AddedToken("<|EOT|>", special=False, normalized=False)])
    assert made.convert_tokens_to_ids("<|EOT|>") in stop_ids(made)


def test_stop_tokens_that_are_not_ids_are_refused():
    with pytest.raises(InputError, match="names the stop tokens 'x': they must be token ids"):
        stop_ids(tokenizer(template=CHATML), "x")
