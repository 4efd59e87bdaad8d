"""``<think>`` as an ordinary token, a special token or text, on either side."""

import numpy as np
import pytest
from transformers import ByT5Tokenizer, PreTrainedTokenizerFast

from crossdistill import ByteVocab, InputError
from crossdistill.chat import split_response
from crossdistill.chat.text_tokens import check_text_tokens
from crossdistill.paired import PairedTokenization
from crossdistill.tokens.special_tokens import control_tokens
from tests.tokenizers_in_process import SPECIAL, byte_level, sentencepiece

END, THINK, CLOSE = "<|im_end|>", "<think>", "</think>"
MARKS = (THINK, CLOSE)
SAID = f"{THINK}\nhm\n{CLOSE}\n\nfour"


def tokenizer(builder, kind):
    """THINK and CLOSE as "special" tokens, as "ordinary" ones or as "text"."""
    special, ordinary = {"special": (MARKS, ()), "ordinary": ((), MARKS), "text": ((), ())}[kind]
    backend = builder(num_merges=60, special=(*SPECIAL, *special), ordinary=ordinary)
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=END, clean_up_tokenization_spaces=False)


def reading(student, teacher):
    """The teacher's tokens of SAID, sampled by the student in its own tokens."""
    ours, theirs = ByteVocab.from_tokenizer(student), ByteVocab.from_tokenizer(teacher)
    end = student.convert_tokens_to_ids(END)
    ids = [*student(SAID, add_special_tokens=False)["input_ids"], end]
    response = split_response(ids, ours, {end})
    return response, PairedTokenization.of(ours, response.text_ids, theirs), theirs


SIDES = (byte_level, sentencepiece)


@pytest.mark.parametrize("teacher_builder", SIDES)
@pytest.mark.parametrize("student_builder", SIDES)
@pytest.mark.parametrize(
    ("student_kind", "teacher_kind", "is_one_to_one"),
    [("ordinary", "ordinary", True), ("ordinary", "text", False), ("text", "ordinary", False), ("text", "text", None)],
)
def test_an_ordinary_token_on_one_side_and_text_on_the_other(
    student_builder, teacher_builder, student_kind, teacher_kind, is_one_to_one
):
    student, teacher = tokenizer(student_builder, student_kind), tokenizer(teacher_builder, teacher_kind)
    response, read, vocab = reading(student, teacher)
    assert read.data == SAID.encode()
    assert response.num_special == 0
    assert read.num_supervised_bytes == len(SAID)
    assert vocab.decode(read.encoding.ids) == SAID.encode()
    first = read.alignment.byte_splits[1]
    if is_one_to_one is not None:
        assert first == len(THINK)
        sizes = (read.alignment.student_sizes[0], read.alignment.teacher_sizes[0])
        assert (sizes == (1, 1)) == is_one_to_one
        assert (sizes[0] == 1) == (student_kind == "ordinary")
        assert (sizes[1] == 1) == (teacher_kind == "ordinary")


@pytest.mark.parametrize("student_kind", ["ordinary", "text"])
def test_the_name_of_the_teachers_special_token_stays_text(student_kind):
    teacher = tokenizer(byte_level, "special")
    _, read, vocab = reading(tokenizer(sentencepiece, student_kind), teacher)
    assert teacher.convert_tokens_to_ids(THINK) not in read.encoding.ids
    assert vocab.decode(read.encoding.ids) == SAID.encode()
    assert read.num_supervised_bytes == len(SAID)


@pytest.mark.parametrize("teacher_kind", ["ordinary", "text", "special"])
def test_the_students_special_token_is_not_shown_and_is_counted(teacher_kind):
    student = tokenizer(byte_level, "special")
    response, read, _ = reading(student, tokenizer(sentencepiece, teacher_kind))
    assert read.data == SAID.replace(THINK, "").replace(CLOSE, "").encode()
    assert response.special_ids.tolist() == student.convert_tokens_to_ids([THINK, CLOSE])


@pytest.mark.parametrize("builders", [SIDES, SIDES[::-1]])
@pytest.mark.parametrize("teacher_kind", ["ordinary", "text", "special"])
@pytest.mark.parametrize("student_kind", ["ordinary", "text", "special"])
def test_as_a_text_token_it_is_read_on_both_sides(builders, student_kind, teacher_kind):
    student, teacher = (
        tokenizer(builder, kind) for builder, kind in zip(builders, (student_kind, teacher_kind), strict=True)
    )
    end = student.convert_tokens_to_ids(END)
    ids = [*student(SAID, add_special_tokens=False)["input_ids"], end]
    ours, theirs = (ByteVocab.from_tokenizer(made, text_tokens=MARKS) for made in (student, teacher))
    assert (len(ours), len(theirs)) == (len(student), len(teacher))
    response = split_response(ids, ours, {end})
    assert (response.data, response.num_special, response.stop_position) == (SAID.encode(), 0, len(ids) - 1)
    read = PairedTokenization.of(ours, response.text_ids, theirs)
    assert read.num_supervised_bytes == len(SAID)
    assert (read.encoding.ids[0] == teacher.convert_tokens_to_ids(THINK)) == (teacher_kind != "text")
    if student_kind != "text" and teacher_kind != "text":
        assert (read.alignment.student_sizes[0], read.alignment.teacher_sizes[0]) == (1, 1)


def test_only_the_named_tokens_change():
    made = tokenizer(byte_level, "special")
    before, after = ByteVocab.from_tokenizer(made), ByteVocab.from_tokenizer(made, text_tokens=[THINK])
    think = made.convert_tokens_to_ids(THINK)
    assert after.pieces[think] == THINK.encode()
    assert [k for k, (a, b) in enumerate(zip(before.pieces, after.pieces, strict=True)) if a != b] == [think]
    assert control_tokens(made) == {*SPECIAL, *MARKS}  # the tokenizer itself is unchanged
    assert np.array_equal(ByteVocab.from_tokenizer(made).lengths, before.lengths)


def test_a_slow_tokenizer_has_no_text_tokens():
    slow = ByT5Tokenizer()
    with pytest.raises(InputError, match=r"text_tokens names <extra_id_0>, but ByT5Tokenizer is not a fast tokenizer"):
        ByteVocab.from_tokenizer(slow, text_tokens=["<extra_id_0>"])


def test_wrong_names_are_refused():
    sides = {"student": tokenizer(byte_level, "special"), "teacher": tokenizer(sentencepiece, "text")}
    check_text_tokens(MARKS, sides)
    with pytest.raises(InputError, match=r"'<thinking>', which is a special token of neither tokenizer"):
        check_text_tokens(["<thinking>"], sides)
    with pytest.raises(InputError, match=r"'<\|im_end\|>', which ends a turn of the student"):
        check_text_tokens([END], sides)
