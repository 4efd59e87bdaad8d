"""Encoding, decoding and alignment for every family, on anything that a student can write or sample."""

import itertools

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from crossdistill import align
from tests.oracles.alignment import borders, pieces_of, prefixes, synchronised
from tests.oracles.encoding import expected_bytes
from tests.properties.strategies import hard_examples, responses, texts_with_surrogates, words
from tests.tokenizers_in_process import NAMES, ORDINARY, SPECIAL

PAIRS = list(itertools.product(NAMES, repeat=2))


def is_misread(name: str, data: bytes) -> bool:
    """The library's Unigram reads the text "<0x0A>" as its byte entry; ByteVocab then encodes the text by bytes."""
    return name == "unigram" and any(text in data for text in (b"<0x", b"<unk>", b"</s>"))


@pytest.mark.parametrize("name", NAMES)
@hard_examples
@given(data=responses)
def test_ids_have_the_bytes(vocabs, name, data):
    assume(not is_misread(name, data))
    assert vocabs[name].decode(vocabs[name].encode(data).ids) == expected_bytes(name, data)


@pytest.mark.parametrize("name", NAMES)
@hard_examples
@given(data=responses)
def test_every_end_is_a_true_border(vocabs, name, data):
    """If a token ends after the one before it, the bytes up to its end are those of the tokens up to it."""
    assume(not is_misread(name, data))
    encoding = vocabs[name].encode(data)
    ends = encoding.ends.tolist()
    assert len(ends) == len(encoding.ids)
    assert ends == sorted(ends)
    assert (ends or [0])[-1] == len(data)
    token_prefixes = prefixes([vocabs[name].pieces[token_id] for token_id in encoding.ids])
    for k, end in enumerate(ends):
        if end > (ends[k - 1] if k else 0):
            closes_the_text = end == len(data)
            expected = token_prefixes[-1] if closes_the_text else token_prefixes[k + 1]
            assert expected_bytes(name, data[:end]) == expected


@pytest.mark.parametrize("name", NAMES)
@hard_examples
@given(data=responses)
def test_ends_are_those_of_the_ids_if_nothing_is_rewritten(vocabs, name, data):
    encoding = vocabs[name].encode(data)
    if expected_bytes(name, data) == data:
        assert np.array_equal(encoding.ends, vocabs[name].ends(encoding.ids))
        assert (np.diff(encoding.ends, prepend=0) > 0).all()


@pytest.mark.parametrize("name", NAMES)
@example(text="half an emoji \ud83e and a stray byte \udc80")
@given(text=texts_with_surrogates)
def test_text_and_its_bytes_have_the_same_encoding(vocabs, name, text):
    from_text, from_bytes = vocabs[name].encode(text), vocabs[name].encode(text.encode("utf-8", "surrogatepass"))
    assert np.array_equal(from_text.ids, from_bytes.ids)
    assert np.array_equal(from_text.ends, from_bytes.ends)


@pytest.mark.parametrize("name", NAMES)
@given(text=words | st.text(max_size=20))
def test_text_gets_the_ids_that_the_tokenizer_gives_it_in_mid_conversation(tokenizers, vocabs, name, text):
    """No merge crosses a line break in these tokenizers' words, so the text after it is read as in mid-text."""
    # "llama2" also prepends its dummy prefix after an added token; ByteVocab never does
    left_out_here = {"llama2": (*SPECIAL, *ORDINARY), "unigram": (*SPECIAL, "<0x", "<unk>", "</s>")}
    for left_out in left_out_here.get(name, SPECIAL):
        text = text.replace(left_out, "")
    before = tokenizers[name]("\n", add_special_tokens=False).input_ids
    both = tokenizers[name]("\n" + "|" + text, add_special_tokens=False).input_ids
    assert both[: len(before)] == before
    assert vocabs[name].encode("|" + text).ids.tolist() == both[len(before) :]


@pytest.mark.parametrize("name", NAMES)
@given(text=words | st.text(max_size=20))
def test_no_response_can_write_a_token_without_bytes(vocabs, name, text):
    assert (vocabs[name].lengths[vocabs[name].encode(text).ids] > 0).all()


@hard_examples
@given(data=responses)
def test_encodings_align_as_defined_for_every_pair(vocabs, data):
    encodings = {name: vocabs[name].encode(data) for name in NAMES}
    for student, teacher in PAIRS:
        ends = encodings[student].ends, encodings[teacher].ends
        assert borders(align(*ends)) == synchronised(*(pieces_of(data, side.tolist()) for side in ends))


@given(st.data())
def test_sampled_ids_align_as_defined_without_being_tokenised_again(vocabs, data):
    """A student may sample any ids; the teacher's side is the encoding of exactly their bytes."""
    student, teacher = (vocabs[data.draw(st.sampled_from(NAMES))] for _ in range(2))
    with_bytes = np.flatnonzero(student.lengths).tolist()
    ids = data.draw(st.lists(st.sampled_from(with_bytes), max_size=20))
    pieces = [student.pieces[token_id] for token_id in ids]
    response = student.decode(ids)
    assert response == b"".join(pieces)
    encoding = teacher.encode(response)
    alignment = align(student.ends(ids), encoding.ends)
    assert borders(alignment) == synchronised(pieces, pieces_of(response, encoding.ends.tolist()))


@pytest.mark.parametrize("name", NAMES)
@given(st.data())
def test_pieces_agree_with_the_tokenizers_own_decoder(tokenizers, vocabs, name, data):
    """Compared on complete characters, for which the library's decoder loses nothing."""
    vocab = vocabs[name]
    readable = [
        token_id
        for token_id, piece in enumerate(vocab.pieces)
        if piece and "\ufffd" not in piece.decode("utf-8", "replace") and piece != "«réponse»".encode()
    ]
    ids = data.draw(st.lists(st.sampled_from(readable), max_size=20))
    anchor = vocab.encode("|").ids.tolist()  # the decoder strips a leading space
    decoded = tokenizers[name].decode(anchor + ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    assert decoded == "|" + vocab.decode(ids).decode()
