"""Given responses: what is cut, refused and told, and what is not touched."""

import json
from typing import Any

import pytest
from transformers import ByT5Tokenizer

from crossdistill.findings import FindingError, FindingLog
from crossdistill.train.completions import Completions, completion_text
from tests.models import student_tokenizer, teacher_tokenizer

PLAIN = [
    "It is 42.",
    "你好 🤗",
    "f <| x |> g",
    "a <|> b",
    "if a < b | c > d: pass",
    "an <unk> here",
    "<b>bold</b>",
    " lead",
    "trail\n",
]
THOUGHT = "<|begin_of_thought|>\n2 + 2\n<|end_of_thought|>\n<|begin_of_solution|>\n4\n<|end_of_solution|>"
OTHERS_ENDS = ["four<|im_end|>", "four<|eot_id|>\n", "four<｜end▁of▁sentence｜>", "four<stop>"]
HEADERS = ["<|im_start|>assistant\nfour", "<|assistant|>four", "<bos>four"]
MAY_BE_TEXT = ["[INST] four", "[INST]\nname = 'x'", "four [/INST]", "[INST] ... [/INST]", "<s>four", "four</s>"]
HTML = ["<s>ten</s> <b>nine</b>", "<s>old price</s>", "the <s>cat</s>", 'the <s class="old">cat</s>\n', "<b>x</b>"]


@pytest.fixture(scope="module")
def student() -> Any:
    return student_tokenizer()


@pytest.fixture(scope="module")
def teacher() -> Any:
    return teacher_tokenizer()


def read(completions: Completions, texts: list[Any]) -> tuple[list[str], list[str]]:
    """The texts, and the kinds of findings."""
    found = [completions.read(text) for text in texts]
    return found, [finding.kind.name for finding in completions.findings()]


def among_others(text: Any, number: int = 19) -> list[Any]:
    """A completion that is one of many."""
    return [*["plain"] * 3, text, *["plain"] * (number - 3)]


def test_plain_texts_are_not_touched(student, teacher):
    assert read(Completions(student, [teacher]), PLAIN) == (PLAIN, [])


def test_words_in_the_form_of_marks_are_words(student, teacher):
    """As in OpenThoughts, whose reasoning and answer are set apart so."""
    assert read(Completions(student, [teacher]), [THOUGHT] * 9) == ([THOUGHT] * 9, [])


# --- the student's own end


@pytest.mark.parametrize(
    ("text", "taught"),
    [
        ("four<|end|>", "four"),
        ("four<|end|>\n", "four"),
        ("four <|end|>", "four "),
        ("four\n<|end|> \n\n", "four\n"),
        ("four<|end|><|end|>", "four"),
        ("four<|end|><|pad|><|pad|>", "four"),
        ("the mark <|end|> ends a turn.<|end|>", "the mark <|end|> ends a turn."),
    ],
)
def test_the_students_own_end_is_cut_off(student, text, taught):
    texts, kinds = read(Completions(student), among_others(text))
    assert texts[3] == taught
    assert kinds[0] == "own_end_cut"


def test_it_is_said_once_with_the_count(student):
    completions = Completions(student)
    read_all = [completions.read(text) for text in ("plain", "a<|end|>", "b<|end|>\n")]
    assert read_all == ["plain", "a", "b"]
    (finding,) = completions.findings()
    start = "2 of 3 completions end in <|end|> (the first in row 1), which the student's tokenizer itself puts after"
    assert finding.message.startswith(start)
    completions.read("c<|end|>")
    assert list(completions.findings()) == []


def test_a_known_end_that_the_tokenizer_has_and_does_not_declare():
    tokenizer = ByT5Tokenizer(extra_ids=0, additional_special_tokens=["<|im_end|>", "<|im_start|>"])
    assert read(Completions(tokenizer), ["four<|im_end|>"] * 2) == (["four"] * 2, ["own_end_cut"])
    assert read(Completions(tokenizer), ["four</s>"] * 2) == (["four"] * 2, ["own_end_cut"])


def test_a_tag_of_html_is_no_end():
    completions = Completions(ByT5Tokenizer(extra_ids=0))
    texts, kinds = read(completions, among_others("This is <s>old</s>"))
    assert texts[3] == "This is <s>old</s>"
    assert "own_end_cut" not in kinds
    assert read(completions, ["It is <s>old</s>, now"])[1] == []


@pytest.mark.parametrize("text", HTML)
def test_text_that_is_struck_out_is_text(student, teacher, text):
    for tokenizers in ((student, [teacher]), (ByT5Tokenizer(extra_ids=0), [teacher]), (student, [of_llama()])):
        texts, kinds = read(Completions(*tokenizers), [text] * 4)
        assert set(texts) == {text}
        assert "rendered_completions" not in kinds
        assert kinds == [] or (tokenizers[1] != [teacher] and text == "<s>old price</s>")


# --- markup of others


def of_llama() -> Any:
    """Has the marks of Llama 2 as tokens."""
    return ByT5Tokenizer(extra_ids=0, additional_special_tokens=["<s>", "[INST]", "[/INST]"])


def say(completions: Completions, texts: list[Any]) -> None:
    read_all = [completions.read(text) for text in texts]
    assert read_all == texts
    FindingLog().add_all(completions.findings())


@pytest.mark.parametrize("text", [*OTHERS_ENDS, *HEADERS])
@pytest.mark.parametrize("others", [0, 9])
def test_what_another_template_has_rendered_is_refused(student, teacher, text, others):
    said = rf"^1 of {others + 1} completions begin or end with .* \(the first in row {others}\)"
    with pytest.raises(FindingError, match=said):
        say(Completions(student, [teacher]), [*["plain"] * others, text])


@pytest.mark.parametrize("text", MAY_BE_TEXT)
def test_marks_that_may_be_text_are_refused_only_if_a_tokenizer_has_them(student, teacher, text, caplog):
    say(Completions(student, [teacher]), among_others(text, 30))
    assert caplog.text == ""
    say(Completions(student, [teacher]), among_others(text, 9))
    assert "1 of 10 completions begin or end with" in caplog.text
    with pytest.raises(FindingError, match="as if a chat template had rendered them"):
        say(Completions(student, [of_llama()]), among_others(text, 9))


def test_a_text_between_its_owners_marks_is_told(student, caplog):
    say(Completions(student, [of_llama()]), ["<s>four</s>"] * 4)
    assert "4 of 4 completions begin or end with </s>" in caplog.text


def test_a_mark_may_be_the_answer(student, teacher, caplog):
    say(Completions(student, [teacher]), ["<|im_end|>", *["plain"] * 3])
    assert "1 of 4 completions spell the control token <|im_end|>" in caplog.text


def test_one_of_many_is_told_and_taught(student, teacher, caplog):
    say(Completions(student, [teacher]), among_others("The mark of ChatML is <|im_end|>"))
    assert "1 of 20 completions spell the control token <|im_end|> (the first in row 3)" in caplog.text


@pytest.mark.parametrize("token", ["<|user|>", "<turn>", "<|end|>"])
def test_control_tokens_inside_are_told(student, teacher, token, caplog):
    say(Completions(student, [teacher]), [f"one {token} two", "plain"])
    assert f"1 of 2 completions spell the control token {token} (the first in row 0)" in caplog.text


def test_text_tokens_are_text(student):
    completions = Completions(student, text_tokens=["<|user|>"])
    assert read(completions, ["one <|user|> two", "<|user|>"])[1] == []


# --- empty ones


@pytest.mark.parametrize("text", ["", " \n\t", "<|end|>", [{"role": "assistant", "content": ""}]])
def test_empty_completions_are_refused_by_their_rows(student, text):
    completions = Completions(student)
    for item in ["plain", text, text, "plain", text, text]:
        completions.read(item)
    assert next(iter(completions.findings())).message == (
        "4 of 6 completions are empty (rows 1, 2, 4, ...): leave these rows out."
    )


# --- messages


@pytest.mark.parametrize(
    "completion",
    [
        [{"role": "assistant", "content": "four"}],
        [{"role": "assistant", "content": "four", "tool_calls": None, "reasoning_content": ""}],
        [{"role": "assistant", "content": [{"type": "text", "text": "fo"}, {"type": "text", "text": "ur"}]}],
        json.dumps([{"role": "assistant", "content": "four"}]),
    ],
)
def test_one_message_of_the_assistant_is_its_text(completion):
    assert completion_text(0, completion) == "four"


@pytest.mark.parametrize(
    "completion",
    [
        7,
        None,
        [],
        ["four"],
        {"role": "assistant", "content": "four"},
        [{"role": "user", "content": "four"}],
        [{"role": "assistant", "content": "four"}] * 2,
        [{"role": "assistant", "content": None}],
        [{"role": "assistant", "content": "four", "tool_calls": [{"function": {"name": "add"}}]}],
        [{"role": "assistant", "content": "four", "reasoning_content": "2 + 2"}],
        [{"role": "assistant", "content": [{"type": "image", "image": "x.png"}]}],
        [{"role": "assistant", "content": []}],
    ],
)
def test_anything_else_is_refused(completion):
    with pytest.raises(FindingError, match=r"^the completion of row 3 is .*: it must be a text \(quote numbers\)"):
        completion_text(3, completion)


@pytest.mark.parametrize("text", ['[{"a": 1}]', '[{"role": "user", "content": "x"}]', "[{not JSON", "[1, 2]"])
def test_other_json_is_text(text):
    assert completion_text(0, text) == text
