"""Tokenizers without byte entries: what they have no entry for is a hole, and nothing behind it is lost."""

import re
import unicodedata
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from crossdistill import ByteVocab
from crossdistill.paired import PairedTokenization
from tests.oracles import wordpiece
from tests.properties.strategies import hard_examples, responses, words
from tests.tokenizers_in_process import CHARACTER_BUILDERS, CORPUS, NAMES

CHARACTER_NAMES = tuple(CHARACTER_BUILDERS)
SPELLING_NAMES = ("t5", "characters_bpe")  # whose entries carry the white space
_PLAIN_WORDS = ["the", "a", "dog", "Fox", "sum", "12", "3.14", ",", "!", "(", "答案", "世", "x+y", "\n"]
_INVALID = re.compile("[\udc80-\udcff]")


@pytest.fixture(scope="module")
def backends() -> dict:
    return {name: build() for name, build in CHARACTER_BUILDERS.items()}


@pytest.fixture(scope="module")
def characters(backends) -> dict[str, ByteVocab]:
    return {name: ByteVocab.from_tokenizer(tokenizer) for name, tokenizer in backends.items()}


def in_hole(holes: np.ndarray, size: int) -> np.ndarray:
    """Which bytes lie in a hole, bool [size]."""
    lost = np.zeros(size, dtype=bool)
    for start, end in holes.tolist():
        lost[start:end] = True
    return lost


def test_kinds(characters):
    kinds = {name: (vocab.kind, vocab.encodes_any_bytes) for name, vocab in characters.items()}
    assert kinds == {
        "t5": ("sentencepiece_unigram", False),
        "characters_bpe": ("sentencepiece_bpe", False),
        "bert": ("wordpiece", False),
        "bert_cased": ("wordpiece", False),
    }


@pytest.mark.parametrize("name", CHARACTER_NAMES)
@hard_examples
@given(data=responses)
def test_every_byte_is_a_tokens_or_a_holes(characters, name, data):
    ids, ends, holes, in_holes = characters[name].encode(data)
    assert (np.diff(ends, prepend=0) >= 0).all()
    assert len(ids) == len(ends)
    assert (holes[:, 0] < holes[:, 1]).all()
    assert (holes[1:, 0] > holes[:-1, 1]).all()
    lost = in_hole(holes, len(data))
    last_end = int(ends[-1]) if len(ends) else 0
    assert lost[last_end:].all()  # what no token ends behind is a hole
    unknown = np.flatnonzero(characters[name].lengths[ids] == 0)
    assert set(unknown.tolist()) <= set(in_holes.tolist())
    for position in in_holes.tolist():
        assert any(start <= ends[position] <= end for start, end in holes.tolist())


@pytest.mark.parametrize("name", CHARACTER_NAMES)
@given(data=responses)
def test_what_is_no_text_is_a_hole(characters, name, data):
    text = data.decode("utf-8", "surrogateescape")
    position, lost = 0, in_hole(characters[name].encode(data).unencodable_spans, len(data))
    for char in text:
        size = len(char.encode("utf-8", "surrogateescape"))
        if _INVALID.match(char):
            assert lost[position : position + size].all()
        position += size


@given(data=responses)
def test_holes_are_the_characters_without_an_entry(backends, characters, data):
    """Without a normaliser that rewrites characters it can be told of each by itself."""
    alphabet = {piece for piece in backends["characters_bpe"].get_vocab() if len(piece) == 1}
    entries = sorted(added.content for added in backends["characters_bpe"].get_added_tokens_decoder().values())
    text = data.decode("utf-8", "surrogateescape")
    assume(not any(entry in text for entry in entries))
    expected = [
        lost
        for char in text
        for lost in [char.replace(" ", "▁") not in alphabet] * len(char.encode("utf-8", "surrogateescape"))
    ]
    assert in_hole(characters["characters_bpe"].encode(data).unencodable_spans, len(data)).tolist() == expected


@pytest.mark.parametrize("name", SPELLING_NAMES)
@given(text=words | st.sampled_from(CORPUS))
def test_known_text_comes_back(characters, name, text):
    encoding = characters[name].encode(text)
    assume(not len(encoding.unencodable_spans))
    composed = unicodedata.normalize("NFKC", text) if name == "t5" else text
    expected = re.sub(" {2,}", " ", composed) if name == "t5" else text
    assert characters[name].decode(encoding.ids).decode() == expected.replace("▁", " ")


@pytest.mark.parametrize("name", SPELLING_NAMES)
@given(left=words, right=words)
def test_a_hole_costs_its_own_chunk_alone(characters, name, left, right):
    """Words around a character that nobody knows: those before are read as ever, those behind are read again."""
    left, right = (re.sub(r"\s+", " ", unicodedata.normalize("NFKC", side)).strip() for side in (left, right))
    alone = [characters[name].encode(side) for side in (f"a {left} .", f". {right} a")]
    assume(not any(len(encoding.unencodable_spans) for encoding in alone))
    hole = "\u2603\ufe0f"
    data = f"a {left} .{hole}. {right} a".encode()
    encoding = characters[name].encode(data)
    assert encoding.unencodable_spans.tolist() == [[len(f"a {left} .".encode()), len(f"a {left} .{hole}".encode())]]
    known = np.delete(np.arange(len(encoding.ids)), encoding.unencodable_positions)
    assert characters[name].decode(encoding.ids[known]) == b"".join(characters[name].decode(side.ids) for side in alone)


@given(text=st.lists(st.sampled_from(_PLAIN_WORDS), max_size=12).map(" ".join))
def test_wordpiece_reads_as_defined(backends, characters, text):
    for name in ("bert", "bert_cased"):
        read = text.lower() if name == "bert" else text
        expected = wordpiece.pieces(read, backends[name].get_vocab())
        ids, ends, *_ = characters[name].encode(text)
        assert [backends[name].id_to_token(int(token_id)) for token_id in ids] == [piece for piece, _ in expected]
        sizes = [len(text[:end].encode()) for _, end in expected]
        sizes[-1:] = [len(text.encode())] * bool(expected)  # white space at the end has no word behind it
        assert ends.tolist() == sizes


@given(text=words)
def test_wordpiece_ids_are_its_own(backends, characters, text):
    for name in ("bert", "bert_cased"):
        for special in ("[UNK]", "[SEP]"):
            text = text.replace(special, "")
        assert characters[name].encode(text).ids.tolist() == backends[name].encode(text, add_special_tokens=False).ids


def test_text_that_spells_a_control_token_stays_text(backends, characters):
    """The library itself finds </s> among the entries of a Unigram model."""
    vocab = characters["t5"]
    control = backends["t5"].token_to_id("</s>")
    for text in ("so </s> it ends", "so \uff1c/s\uff1e it ends", "</s></s>"):  # the second is composed into it
        encoding = vocab.encode(text)
        assert control not in encoding.ids
        composed = unicodedata.normalize("NFKC", text)
        assert vocab.decode(encoding.ids).decode() == re.sub("[</>]", "", composed)  # which have no entry
    assert characters["t5"].decode([control]) == b""


def test_a_token_that_ends_within_a_rewritten_character_has_no_end_of_its_own(characters):
    """Of " ﬁ" the tokenizer reads " f" and "i": the first one does not end behind the space."""
    vocab = characters["t5"]
    for text in ("a ﬁ", "a ﬁ \u2603"):  # the second has an unknown token, and is placed by spans
        ids, ends, *_ = vocab.encode(text)
        assert [vocab.pieces[token_id] for token_id in ids[:3]] == [b"a", b" f", b"i"]
        assert ends[:3].tolist() == [1, 1, 5]


def test_white_space_belongs_to_the_word_behind_it(characters):
    ids, ends, holes, _ = characters["bert"].encode("the  dog\n")
    assert [characters["bert"].pieces[token_id] for token_id in ids] == [b" the", b" dog"]
    assert ends.tolist() == [3, 9]  # the last line break has no word behind it
    assert not len(holes)


def test_white_space_alone_is_a_hole(characters):
    encoding = characters["bert"].encode(" \n")
    assert not len(encoding.ids)
    assert encoding.unencodable_spans.tolist() == [[0, 2]]


def test_an_accent_that_is_stripped_stays_with_its_letter(characters):
    for text in ("naïve dog", "nai\u0308ve dog"):
        _, ends, holes, _ = characters["bert"].encode(text)
        assert not len(holes)
        assert len(text.encode()) == ends[-1]
        assert len("naïve".encode()) + (len(text) == 10) in ends


@pytest.mark.parametrize("teacher", CHARACTER_NAMES)
@given(data=responses, student=st.sampled_from(NAMES))
def test_a_reading_leaves_out_the_chunks_of_holes_and_nothing_else(vocabs, characters, teacher, student, data):
    ids = vocabs[student].encode(data).ids
    reading = PairedTokenization.of(vocabs[student], ids, characters[teacher])
    student_ends = vocabs[student].ends(ids).tolist()
    encoding = reading.encoding
    known = [k for k in range(len(encoding.ids)) if k not in set(encoding.unencodable_positions.tolist())]
    theirs = {int(encoding.ends[k]) for k in known} | {int(end) for end in encoding.unencodable_spans[:, 1]}
    borders = [0, *sorted(set(student_ends) & theirs)]
    lost = in_hole(encoding.unencodable_spans, len(reading.data))
    kept = [(start, end) for start, end in pairwise(borders) if end and not lost[start:end].any()]
    expected = [k for k, end in enumerate(student_ends) if any(start < end <= stop for start, stop in kept)]
    assert reading.student_positions.tolist() == expected
    assert reading.num_supervised_bytes == sum(end - start for start, end in kept)
    assert not set(reading.teacher_positions.tolist()) & set(encoding.unencodable_positions.tolist())
