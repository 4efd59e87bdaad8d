"""Sampled ids, split into text, stop token and other special tokens."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdistill.chat import split_response
from tests.tokenizers_in_process import NAMES


@pytest.fixture(scope="module")
def vocab(vocabs):
    return vocabs["gpt2"]


@pytest.fixture(scope="module")
def special(vocab):
    """Two ids without bytes: (a control token, the stop token)."""
    return tuple(np.flatnonzero(vocab.lengths == 0).tolist())


def test_a_stopped_response(vocab, special):
    text = vocab.encode("the fox").ids.tolist()
    response = split_response([*text, special[1]], vocab, {special[1]})
    assert response.data == b"the fox"
    assert response.stop_position == len(text)
    assert response.text_positions.tolist() == list(range(len(text)))
    assert response.text_ids.tolist() == text
    assert response.ids.tolist() == [*text, special[1]]
    assert response.num_special == 0


def test_a_truncated_response_has_no_stop(vocab, special):
    text = vocab.encode("the fox").ids.tolist()
    response = split_response(text, vocab, set(special))
    assert response.stop_position is None
    assert response.data == b"the fox"
    assert response.num_special == 0


def test_a_special_token_in_the_middle_carries_no_bytes(vocab, special):
    before, after = vocab.encode("the").ids.tolist(), vocab.encode(" fox").ids.tolist()
    response = split_response([special[0], *before, special[0], *after, special[1]], vocab, {special[1]})
    assert response.data == b"the fox"
    assert response.text_ids.tolist() == before + after
    assert response.text_positions.tolist() == [
        *range(1, 1 + len(before)),
        *range(2 + len(before), 2 + len(before) + len(after)),
    ]
    assert response.num_special == 2
    assert response.stop_position == 2 + len(before) + len(after)


def test_a_special_token_at_the_end_is_not_a_stop(vocab, special):
    response = split_response([*vocab.encode("the").ids, special[0]], vocab, {special[1]})
    assert response.stop_position is None
    assert response.num_special == 1


def test_a_stop_token_in_the_middle_does_not_stop(vocab, special):
    """Only the last token can have ended the response; an earlier one is a control token like any other."""
    text = vocab.encode("fox").ids.tolist()
    response = split_response([special[1], *text], vocab, {special[1]})
    assert response.stop_position is None
    assert response.num_special == 1
    twice = split_response([special[1], *text, special[1]], vocab, {special[1]})
    assert twice.stop_position == len(text) + 1
    assert twice.num_special == 1
    assert twice.data == b"fox"


def test_an_ordinary_token_that_ends_a_response_is_text(vocab):
    """A model may declare an ordinary token as a stop; the teacher scores its bytes like any text."""
    *text, last = vocab.encode("the fox\n").ids.tolist()
    assert vocab.pieces[last] == b"\n"
    response = split_response([*text, last], vocab, {last})
    assert (response.data, response.stop_position, response.num_special) == (b"the fox\n", None, 0)
    assert response.text_ids.tolist() == [*text, last]


def test_half_a_character_at_the_end_is_kept(vocab):
    whole = vocab.encode("你").ids.tolist()
    assert len(whole) == 3
    response = split_response(whole[:2], vocab, ())
    assert response.data == "你".encode()[:2]
    assert response.text_positions.tolist() == [0, 1]


@pytest.mark.parametrize("stops", [(), "all"])
def test_empty(vocab, special, stops):
    response = split_response([], vocab, special if stops else ())
    assert (response.data, response.stop_position, response.num_special) == (b"", None, 0)
    assert response.ids.shape == response.text_ids.shape == response.text_positions.shape == (0,)
    assert response.ids.dtype == response.text_positions.dtype == np.int64


def test_only_a_stop_is_an_empty_text(vocab, special):
    response = split_response([special[1]], vocab, special)
    assert (response.data, response.stop_position, response.num_special) == (b"", 0, 0)
    assert response.text_ids.shape == (0,)


@pytest.mark.parametrize("name", NAMES)
@given(st.data())
def test_every_sampled_token_is_text_special_or_stop(vocabs, name, data):
    vocab = vocabs[name]
    ids = data.draw(
        st.lists(st.integers(0, len(vocab) - 1) | st.sampled_from(np.flatnonzero(vocab.lengths == 0).tolist()))
    )
    stops = data.draw(st.sets(st.sampled_from(np.flatnonzero(vocab.lengths == 0).tolist())))
    response = split_response(ids, vocab, stops)
    stopped = bool(ids) and ids[-1] in stops
    assert response.stop_position == (len(ids) - 1 if stopped else None)
    assert response.data == b"".join(vocab.pieces[token] for token in ids)
    assert response.text_ids.tolist() == [token for token in ids if vocab.pieces[token]]
    assert len(response.text_positions) + response.num_special + stopped == len(ids)
    assert response.num_special == sum(not vocab.pieces[token] for token in ids) - stopped
