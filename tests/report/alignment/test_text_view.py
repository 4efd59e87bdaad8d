"""Texts and ids as views, without a model."""

import numpy as np
import pytest

from crossdistill import InputError, align
from crossdistill.report.alignment.text_view import ids_view, text_view
from tests.inspection.conftest import ascii_only


def test_a_text_is_aligned_in_the_tokens_of_each_side(student_vocab, teacher_vocab):
    text = "120 is the €...]".encode()
    view = text_view(text, student_vocab, teacher_vocab, prompt="why?", note="a note")
    expected = align(student_vocab.encode(text).ends, teacher_vocab.encode(text).ends)
    sizes = [(len(chunk.student), len(chunk.teacher)) for chunk in view.chunks]
    assert sizes == list(zip(expected.student_sizes.tolist(), expected.teacher_sizes.tolist(), strict=True))
    assert (view.prompt, view.note) == ("why?", "a note")


def test_ids_are_taken_as_they_are(student_vocab, teacher_vocab):
    ids = [ord(char) for char in "120"]  # not how its tokenizer would encode it
    view = ids_view(ids, student_vocab, teacher_vocab)
    assert [chunk.kind for chunk in view.chunks] == ["1:1"] * 3
    canonical = text_view(b"120", student_vocab, teacher_vocab)
    assert [chunk.kind for chunk in canonical.chunks] == ["1:n"]


def test_special_tokens_are_dropped_and_the_stop_is_a_pair(vocabs, tokenizers):
    name = tokenizers["qwen"].convert_ids_to_tokens
    control, stop = tokenizers["qwen"].convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
    body = vocabs["qwen"].encode("the sum").ids.tolist()
    ids = np.array([body[0], control, *body[1:], stop])
    view = ids_view(ids, vocabs["qwen"], vocabs["gemma"], stop_ids=[stop], name=name)
    dropped = [chunk for chunk in view.chunks if chunk.kind == "dropped"]
    assert [(chunk.text, chunk.reason) for chunk in dropped] == [("<|im_start|>", "special_token")]
    assert view.chunks[-1].kind == "stop"
    assert view.chunks[-1].text == "<|im_end|>"
    open_ended = ids_view(ids, vocabs["qwen"], vocabs["gemma"], name=name)  # without a stop token
    assert [chunk.text for chunk in open_ended.chunks if chunk.kind == "dropped"] == ["<|im_start|>", "<|im_end|>"]


def test_bytes_that_a_side_cannot_encode(student_vocab):
    lossy = ascii_only()
    lost = [chunk for chunk in text_view("ab ≥ 1".encode(), student_vocab, lossy).chunks if chunk.kind == "dropped"]
    assert {chunk.reason for chunk in lost} == {"unencodable"}
    assert "".join(chunk.text for chunk in lost) == r"\xe2\x89\xa5"
    view = text_view("ab ≥ 1".encode(), lossy, student_vocab, note="a note")
    assert view.note == "a note; left out: 3 bytes that no token of the student can encode"
    assert "".join(chunk.text for chunk in view.chunks) == "ab␣␣1"


@pytest.mark.parametrize("foreign", [-1, 10**6])
def test_ids_of_another_vocabulary(student_vocab, teacher_vocab, foreign):
    with pytest.raises(InputError, match=f"token id {foreign} is not one of the student's"):
        ids_view([1, foreign], student_vocab, teacher_vocab)


def test_nothing(student_vocab, teacher_vocab):
    assert ids_view([], student_vocab, teacher_vocab).chunks == ()
    assert text_view(b"", student_vocab, teacher_vocab).chunks == ()
