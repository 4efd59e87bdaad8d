"""Tokenizers without byte entries: characters without an entry are unencodable spans and affect nothing else."""

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
NAMES_WITH_SPACES = ("t5", "characters_bpe")  # whose entries contain the white space
_PLAIN_WORDS = ["the", "a", "dog", "Fox", "sum", "12", "3.14", ",", "!", "(", "答案", "世", "x+y", "\n"]
_INVALID = re.compile("[\udc80-\udcff]")


@pytest.fixture(scope="module")
def backends() -> dict:
    return {name: build() for name, build in CHARACTER_BUILDERS.items()}


@pytest.fixture(scope="module")
def characters(backends) -> dict[str, ByteVocab]:
    return {name: ByteVocab.from_tokenizer(tokenizer) for name, tokenizer in backends.items()}


def unencodable_mask(spans: np.ndarray, size: int) -> np.ndarray:
    """Whether each byte lies in an unencodable span, bool [size]."""
    lost = np.zeros(size, dtype=bool)
    for start, end in spans.tolist():
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
def test_every_byte_is_in_a_token_or_a_span(characters, name, data):
    ids, ends, spans, positions = characters[name].encode(data)
    assert (np.diff(ends, prepend=0) >= 0).all()
    assert len(ids) == len(ends)
    assert (spans[:, 0] < spans[:, 1]).all()
    assert (spans[1:, 0] > spans[:-1, 1]).all()
    lost = unencodable_mask(spans, len(data))
    last_end = int(ends[-1]) if len(ends) else 0
    assert lost[last_end:].all()  # bytes after the last token are unencodable
    unknown = np.flatnonzero(characters[name].lengths[ids] == 0)
    assert set(unknown.tolist()) <= set(positions.tolist())
    for position in positions.tolist():
        assert any(start <= ends[position] <= end for start, end in spans.tolist())


@pytest.mark.parametrize("name", CHARACTER_NAMES)
@given(data=responses)
def test_bytes_that_are_not_text_are_unencodable(characters, name, data):
    text = data.decode("utf-8", "surrogateescape")
    position, lost = 0, unencodable_mask(characters[name].encode(data).unencodable_spans, len(data))
    for char in text:
        size = len(char.encode("utf-8", "surrogateescape"))
        if _INVALID.match(char):
            assert lost[position : position + size].all()
        position += size


@given(data=responses)
def test_unencodable_spans_are_the_characters_without_an_entry(backends, characters, data):
    """Without a normaliser that rewrites characters, each one can be judged on its own."""
    alphabet = {piece for piece in backends["characters_bpe"].get_vocab() if len(piece) == 1}
    entries = sorted(added.content for added in backends["characters_bpe"].get_added_tokens_decoder().values())
    text = data.decode("utf-8", "surrogateescape")
    assume(not any(entry in text for entry in entries))
    expected = [
        lost
        for char in text
        for lost in [char.replace(" ", "▁") not in alphabet] * len(char.encode("utf-8", "surrogateescape"))
    ]
    assert unencodable_mask(characters["characters_bpe"].encode(data).unencodable_spans, len(data)).tolist() == expected


@pytest.mark.parametrize("name", NAMES_WITH_SPACES)
@given(text=words | st.sampled_from(CORPUS))
def test_encodable_text_round_trips(characters, name, text):
    encoding = characters[name].encode(text)
    assume(not len(encoding.unencodable_spans))
    composed = unicodedata.normalize("NFKC", text) if name == "t5" else text
    expected = re.sub(" {2,}", " ", composed) if name == "t5" else text
    assert characters[name].decode(encoding.ids).decode() == expected.replace("▁", " ")


def encodable_part(vocab: ByteVocab, text: str) -> str:
    return "".join(char for char in text if not len(vocab.encode(char).unencodable_spans)).strip()


@pytest.mark.parametrize("name", NAMES_WITH_SPACES)
@given(left=words, right=words)
def test_an_unencodable_span_costs_only_its_own_chunk(characters, name, left, right):
    """Words around an unknown character are encoded as usual, before it and after it."""
    left, right = (re.sub(r"\s+", " ", unicodedata.normalize("NFKC", side)).strip() for side in (left, right))
    left, right = (encodable_part(characters[name], side) for side in (left, right))
    alone = [characters[name].encode(side) for side in (f"a {left} .", f". {right} a")]
    assume(not any(len(encoding.unencodable_spans) for encoding in alone))
    unknown = "\u2603\ufe0f"
    data = f"a {left} .{unknown}. {right} a".encode()
    encoding = characters[name].encode(data)
    assert encoding.unencodable_spans.tolist() == [[len(f"a {left} .".encode()), len(f"a {left} .{unknown}".encode())]]
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
        sizes[-1:] = [len(text.encode())] * bool(expected)  # white space at the end has no word after it
        assert ends.tolist() == sizes


@given(text=words)
def test_wordpiece_ids_are_its_own(backends, characters, text):
    for name in ("bert", "bert_cased"):
        for special in ("[UNK]", "[SEP]"):
            text = text.replace(special, "")
        assert characters[name].encode(text).ids.tolist() == backends[name].encode(text, add_special_tokens=False).ids


def test_the_name_of_a_control_token_stays_text(backends, characters):
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
    """The tokenizer reads " ﬁ" as " f" and "i": the first one does not end after the space."""
    vocab = characters["t5"]
    for text in ("a ﬁ", "a ﬁ \u2603"):  # the second has an unknown token, and its ends come from spans
        ids, ends, *_ = vocab.encode(text)
        assert [vocab.pieces[token_id] for token_id in ids[:3]] == [b"a", b" f", b"i"]
        assert ends[:3].tolist() == [1, 1, 5]


def test_white_space_belongs_to_the_word_after_it(characters):
    ids, ends, spans, _ = characters["bert"].encode("the  dog\n")
    assert [characters["bert"].pieces[token_id] for token_id in ids] == [b" the", b" dog"]
    assert ends.tolist() == [3, 9]  # the last line break has no word after it
    assert not len(spans)


def test_white_space_alone_is_unencodable(characters):
    encoding = characters["bert"].encode(" \n")
    assert not len(encoding.ids)
    assert encoding.unencodable_spans.tolist() == [[0, 2]]


def test_an_accent_that_is_stripped_stays_with_its_letter(characters):
    for text in ("naïve dog", "nai\u0308ve dog"):
        _, ends, spans, _ = characters["bert"].encode(text)
        assert not len(spans)
        assert len(text.encode()) == ends[-1]
        assert len("naïve".encode()) + (len(text) == 10) in ends


@pytest.mark.parametrize("teacher", CHARACTER_NAMES)
@given(data=responses, student=st.sampled_from(NAMES))
def test_only_the_chunks_of_unencodable_spans_are_left_out(vocabs, characters, teacher, student, data):
    ids = vocabs[student].encode(data).ids
    paired = PairedTokenization.of(vocabs[student], ids, characters[teacher])
    student_ends = vocabs[student].ends(ids).tolist()
    encoding = paired.encoding
    known = [k for k in range(len(encoding.ids)) if k not in set(encoding.unencodable_positions.tolist())]
    theirs = {int(encoding.ends[k]) for k in known} | {int(end) for end in encoding.unencodable_spans[:, 1]}
    borders = [0, *sorted(set(student_ends) & theirs)]
    lost = unencodable_mask(encoding.unencodable_spans, len(paired.data))
    kept = [(start, end) for start, end in pairwise(borders) if end and not lost[start:end].any()]
    expected = [k for k, end in enumerate(student_ends) if any(start < end <= stop for start, stop in kept)]
    assert paired.student_positions.tolist() == expected
    assert paired.num_supervised_bytes == sum(end - start for start, end in kept)
    assert not set(paired.teacher_positions.tolist()) & set(encoding.unencodable_positions.tolist())
