"""The dialect of OpenAI, on answers written by hand, and the names that servers give to tokens."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from crossdistill.teachers.served.api.completions import Completions
from crossdistill.teachers.served.api.token_names import Form, TokenNames
from crossdistill.teachers.served.http.errors import Malformed, Refused, Unsound

ENTRIES = ["<s>", "Ġthe", "a", "é", "Ã", "Ļ", "你"]
PIECES = (b"", b" the", b"a", "é".encode(), b"\xc3", b"\xbb", "你".encode())
IDS = (0, 1, 2)


class Tokenizer:
    def get_vocab(self):
        return {name: token for token, name in enumerate(ENTRIES)}

    def decode(self, ids, skip_special_tokens, clean_up_tokenization_spaces):
        assert not skip_special_tokens
        assert not clean_up_tokenization_spaces
        parts = [PIECES[token] or ENTRIES[token].encode() for token in ids]
        return b"".join(parts).decode("utf-8", "replace")


class Vocab(SimpleNamespace):
    def __len__(self):
        return len(self.pieces)


def names_of(pieces=PIECES):
    return TokenNames(Tokenizer(), Vocab(pieces=(*pieces, b"", b"")))  # padded by two ids


def dialect(**fields):
    return Completions(names_of(), Tokenizer(), **fields)


def answer(tokens=("<s>", " the", "a"), values=(None, -1.5, -0.25), tops=None):
    lists = {"tokens": list(tokens), "token_logprobs": list(values), "top_logprobs": tops}
    return {"choices": [{"logprobs": lists}]}


def test_the_request():
    common = {"temperature": 0, "echo": True}
    assert dialect().body(IDS, 5) == {"prompt": [0, 1, 2], "max_tokens": 0, "logprobs": 5, **common}
    assert dialect().body(IDS, 0)["logprobs"] == 1
    with_text = dialect(sends_text=True, num_generated=1, asks_numbers=True).body(IDS, 1)
    assert with_text == {
        "prompt": "<s> thea", "max_tokens": 1, "logprobs": 1, "return_tokens_as_token_ids": True, **common
    }  # fmt: skip
    assert dialect().next_body(IDS, (3,)) is None


def test_ids_that_do_not_decode_to_text_are_not_sent_as_text():
    with pytest.raises(Refused, match="end inside a character") as raised:
        dialect(sends_text=True).body((1, 4), 0)
    assert not raised.value.is_too_long


def test_scores_of_the_tokens_that_were_sent():
    read = dialect().read(answer(), IDS, 0)
    assert read.logprobs.tolist() == [-1.5, -0.25]
    assert read.top_ids is None


def test_generated_tokens_are_left_out():
    given = answer(("<s>", " the", "a", "é"), (None, -1.5, -0.25, -9.0))
    assert dialect(num_generated=1).read(given, IDS, 0).logprobs.tolist() == [-1.5, -0.25]
    with pytest.raises(Malformed, match="3 tokens here are 4 there"):
        dialect().read(given, IDS, 0)


@pytest.mark.parametrize(
    ("form", "names"),
    [
        (Form.TEXT, ["<s>", " the", "a", "é", "bytes:\\xc3"]),
        (Form.ENTRY, ["<s>", "Ġthe", "a", "é", "Ã"]),
        (Form.NUMBER, ["token_id:0", "token_id:1", "token_id:2", "token_id:3", "token_id:4"]),
    ],
)
def test_the_most_probable_by_name_in_each_form(form, names):
    tops = [None, {names[2]: -2.0, names[1]: -1.5, names[4]: -1.75}, {names[3]: -3.0, names[2]: -0.25}]
    read = dialect(form=form).read(answer(names[:3], tops=tops), IDS, 2)
    assert read.logprobs.tolist() == [-1.5, -0.25]
    assert read.top_ids.tolist() == [[1, 4], [2, 3]]
    assert read.top_logprobs.tolist() == [[-1.5, -1.75], [-0.25, -3.0]]


@pytest.mark.parametrize("top_k", [0, 2])
def test_rows_of_the_prompt_are_not_parsed_if_they_are_not_wanted(top_k):
    tops = [None, {"a": -2.0, " the": -1.5}, {"é": -3.0, "a": -0.25}]
    whole = dialect().read(answer(tops=tops), IDS, top_k).rows_from(1)
    read = dialect().read_from(answer(tops=[None, "?", tops[2]]), IDS, top_k, 1)
    for ours, theirs in zip(read, whole, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(Unsound, match="position 1 is nan"):
        dialect().read_from(answer(values=(None, math.nan, -0.25)), IDS, 0, 1)
    with pytest.raises(Malformed, match=r"token 1 is 1 .*'a' there"):  # all tokens are compared
        dialect().read_from(answer(tokens=("<s>", "a", "a")), IDS, 0, 1)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"choices": [{"logprobs": None}]}, "no choices.0.logprobs.tokens"),
        (answer(tokens=("<s>", " the")), "3 tokens here are 2 there"),
        (answer(tokens=("<s>", "a", " the")), r"token 1 is 1 \(b' the'\) here and 'a' there"),
        (answer(tokens=("<s>", 1, "a")), "not text"),
        (answer(values=(None, -1.5)), "scores 2 tokens"),
        (answer(values=(-1.0, -1.5, -2.0)), "scores the first token"),
        (answer(values=(None, None, -2.0)), "at position 1 is not a number"),
        (answer(values=(None, "x", -2.0)), "at position 1 is not a number"),
    ],
)
def test_an_answer_of_another_shape_is_malformed(given, message):
    with pytest.raises(Malformed, match=message):
        dialect().read(given, IDS, 0)


def test_unsound_numbers():
    with pytest.raises(Unsound, match="position 2 is nan"):
        dialect().read(answer(values=(None, -1.0, math.nan)), IDS, 0)
    tops = [None, {"é": -2.0}, {"a": -0.25}]
    with pytest.raises(Unsound, match=r"the first has -2 nats, but the realised token has -1\.5"):
        dialect().read(answer(tops=tops), IDS, 1)
    tops = [None, {" the": -0.5}, {"a": -0.25}]
    with pytest.raises(Unsound, match="position 1 are not part"):  # the same token, -1.5 as the realised one
        dialect().read(answer(tops=tops), IDS, 1)


@pytest.mark.parametrize(
    "tops",
    [
        None,
        [None, {" the": -1.5}],
        [None, {" the": -1.5}, None],
        [None, {" the": -1.5}, {"a": -0.25}],
        [None, {" the": -1.5, "?": -2.0}, {"a": -0.25, "é": -3.0}],
    ],
)
def test_a_top_k_that_is_not_whole_is_malformed(tops):
    with pytest.raises(Malformed):
        dialect().read(answer(tops=tops), IDS, 2)


@pytest.mark.parametrize(
    ("token", "name", "is_called"),
    [
        (1, " the", True),
        (1, "the", True),  # decoded alone, SentencePiece loses it
        (1, "th", False),
        (0, "<s>", True),
        (0, "", True),
        (0, "</s>", False),
        (4, "bytes:\\xc3", True),
        (4, "\ufffd", True),
        (4, "", True),
        (5, "û", True),  # c3 bb: the token that completes it
        (4, "û", False),
        (4, "bytes:\\xc4", False),
        (8, "", True),  # an id by which the vocabulary is padded
        (2, None, True),
    ],
)
def test_names_that_a_server_may_give_to_a_token(token, name, is_called):
    assert names_of().is_called(token, name, Form.TEXT) is is_called


def test_the_form_is_read_off_the_names():
    known = names_of()
    assert known.form_of(["token_id:1", "token_id:2"], (1, 2)) is Form.NUMBER
    assert known.form_of(["Ġthe", "a"], (1, 2)) is Form.ENTRY
    assert known.form_of([" the", "\ufffd"], (1, 4)) is Form.TEXT
    assert known.form_of(["the", "b"], (1, 2)) is None
    assert known.form_of(["token_id:1"], (1, 2)) is None


def test_names_of_two_tokens_are_not_unique():
    assert names_of().is_unique(Form.TEXT)
    doubled = names_of((*PIECES[:6], b"a"))  # a byte entry beside a character
    assert not doubled.is_unique(Form.TEXT)
    assert doubled.is_unique(Form.ENTRY)
    assert doubled.is_unique(Form.NUMBER)


@pytest.mark.parametrize("name", ["token_id:9", "token_id:-1", "token_id:x", "x", f"token_id:{10**40}"])
def test_a_name_of_no_token(name):
    with pytest.raises(Malformed, match="which this vocabulary lacks"):
        names_of().id_of(name, Form.NUMBER)
    assert names_of().id_of("token_id:8", Form.NUMBER) == 8
