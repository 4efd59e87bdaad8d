"""Tokenizers that are not ``tokenizers`` objects: tiktoken, tekken, World, SentencePiece models, ByT5."""

import pickle
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import BertGenerationTokenizer, ByT5Tokenizer, CanineTokenizer

from crossdistill import ByteVocab, InputError
from crossdistill.paired import PairedTokenization
from crossdistill.tokens import World
from tests.oracles.alignment import borders, pieces_of, synchronised
from tests.other_tokenizers import BUILDERS, SPELLING_NAMES, TIKTOKEN_SPECIAL, Wrapper
from tests.properties.strategies import hard_examples, responses, words
from tests.tokenizers_in_process import CORPUS, NAMES


@pytest.fixture(scope="module")
def others() -> dict:
    return {name: build() for name, build in BUILDERS.items()}


@pytest.fixture(scope="module")
def other_vocabs(others) -> dict[str, ByteVocab]:
    return {name: ByteVocab.from_tokenizer(tokenizer) for name, tokenizer in others.items()}


def test_kinds(other_vocabs):
    assert {name: (vocab.kind, vocab.encodes_any_bytes) for name, vocab in other_vocabs.items()} == {
        "tiktoken": ("byte_level_bpe", True),
        "tekken": ("byte_level_bpe", True),
        "world": ("longest_match", True),
        "llama.model": ("sentencepiece_bpe", True),
        "t5.model": ("sentencepiece_unigram", False),
        "byt5": ("bytes", True),
    }


@pytest.mark.parametrize("name", SPELLING_NAMES)
@hard_examples
@given(data=responses)
def test_any_bytes_can_be_encoded(other_vocabs, name, data):
    vocab = other_vocabs[name]
    encoding = vocab.encode(data)
    decoded = data.replace("▁".encode(), b" ") if name == "llama.model" else data
    assert vocab.decode(encoding.ids) == decoded
    assert not len(encoding.unencodable_spans)
    assert (vocab.lengths[encoding.ids] > 0).all()
    if decoded == data:
        assert np.array_equal(encoding.ends, vocab.ends(encoding.ids))


@given(text=words | st.text(max_size=20))
def test_ids_are_the_tokenizers_own(others, other_vocabs, text):
    assert other_vocabs["tiktoken"].encode(text).ids.tolist() == others["tiktoken"].encode_ordinary(text)
    assert other_vocabs["tekken"].encode(text).ids.tolist() == others["tekken"].encode(text, bos=False, eos=False)
    assert other_vocabs["byt5"].encode(text).ids.tolist() == [byte + 3 for byte in text.encode()]


@given(text=(words | st.text(max_size=20)).map(lambda text: text.replace("\x00", "")))
def test_a_sentencepiece_model_reads_as_in_mid_text(others, other_vocabs, text):
    """Nothing merges with the anchor, so the text after it is read as in mid-text."""
    processor = others["llama.model"]
    before = processor.encode("≈")
    both = processor.encode("≈" + text)
    assert both[: len(before)] == before
    assert other_vocabs["llama.model"].encode(text).ids.tolist() == both[len(before) :]


def test_a_sentencepiece_model_that_strips_keeps_the_edges_of_a_response(others, other_vocabs):
    vocab = other_vocabs["t5.model"]
    assert vocab.decode(vocab.encode(" the  dog ").ids) == b" the dog "
    assert vocab.encode(" the  dog ").ends[-1] == len(" the  dog ")
    assert vocab.encode(" the dog").ids.tolist() == others["t5.model"].encode("the dog")  # its dummy prefix


def test_a_sentencepiece_model_without_fallback_has_unencodable_spans(others, other_vocabs):
    vocab = other_vocabs["t5.model"]
    data = "the \u2603 dog ﬁrst".encode() + b"\xf0\x9f dog"
    encoding = vocab.encode(data)
    assert encoding.unencodable_spans.tolist() == [[4, 7], [18, 20]]
    assert [vocab.pieces[encoding.ids[k]] for k in encoding.unencodable_positions] == [b""]
    assert vocab.decode(encoding.ids) == b"the  dog first dog"
    assert others["t5.model"].unk_id() == encoding.ids[encoding.unencodable_positions[0]]


def test_control_pieces_carry_no_bytes_and_user_defined_ones_do(others, other_vocabs):
    for name in ("llama.model", "t5.model"):
        processor, vocab = others[name], other_vocabs[name]
        assert vocab.pieces[processor.piece_to_id("<|im_end|>")] == b""
        assert vocab.pieces[processor.piece_to_id("<think>")] == b"<think>"
        assert processor.piece_to_id("<|im_end|>") not in vocab.encode("<|im_end|>").ids
        assert processor.piece_to_id("<think>") in vocab.encode("so <think>").ids


def test_unused_ids_and_special_tokens_of_tiktoken_carry_no_bytes(others, other_vocabs):
    vocab = other_vocabs["tiktoken"]
    assert len(vocab) == others["tiktoken"].n_vocab == 504
    assert {vocab.pieces[token_id] for token_id in range(376, 504)} == {b""}
    assert not set(vocab.encode("a<|endoftext|>b").ids.tolist()) & set(TIKTOKEN_SPECIAL.values())


def test_broken_text_is_merged_as_far_as_tiktokens_merges_go(other_vocabs):
    vocab = other_vocabs["tiktoken"]
    emoji = "🤗".encode()
    whole, cut = vocab.encode(emoji).ids.tolist(), vocab.encode(emoji[:3] + b" a").ids.tolist()
    assert len(whole) < 4
    assert len(cut) < 5
    assert vocab.decode(cut) == emoji[:3] + b" a"


def test_tekken_ids_come_after_its_control_tokens(others, other_vocabs):
    assert other_vocabs["tekken"].pieces[:10] == (b"",) * 10
    assert [other_vocabs["tekken"].pieces[k] for k in range(10, 386)] == [
        others["tekken"].id_to_byte_piece(k) for k in range(10, 386)
    ]


@pytest.mark.parametrize("name", sorted(set(BUILDERS) - {"byt5"}))
def test_a_wrapper_is_read_like_its_tokenizer(others, other_vocabs, name):
    assert ByteVocab.from_tokenizer(Wrapper(Wrapper(others[name]))).pieces == other_vocabs[name].pieces


@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_a_pickled_vocabulary_encodes_the_same(other_vocabs, name):
    copy = pickle.loads(pickle.dumps(other_vocabs[name]))
    text = "Answer: <|im_end|> é ☃ 42"
    assert copy.encode(text).ids.tolist() == other_vocabs[name].encode(text).ids.tolist()


@pytest.mark.parametrize("name", SPELLING_NAMES)
@given(data=responses, student=st.sampled_from(NAMES))
def test_paired_tokenizations_align_as_defined(vocabs, other_vocabs, name, data, student):
    ids = vocabs[student].encode(data).ids
    reading = PairedTokenization.of(vocabs[student], ids, other_vocabs[name])
    ours = [vocabs[student].pieces[token_id] for token_id in ids]
    theirs = pieces_of(reading.data, reading.encoding.ends.tolist())
    assert borders(reading.alignment) == synchronised(ours, theirs)


# --- the World vocabulary


@given(st.data())
def test_each_token_is_the_longest_match(data):
    extra = data.draw(st.lists(st.binary(min_size=2, max_size=6), unique=True, max_size=20))
    entries = [bytes([byte]) for byte in range(256)] + extra
    vocab = ByteVocab.from_tokenizer(World(dict(enumerate(entries))))
    text = b"".join(data.draw(st.lists(st.sampled_from([*extra, b"a", b"\xff"]), max_size=8)))
    expected, rest = [], text
    while rest:
        longest = max((entry for entry in entries if rest.startswith(entry)), key=len)
        expected.append(longest)
        rest = rest.removeprefix(longest)
    assert [vocab.pieces[token_id] for token_id in vocab.encode(text).ids] == expected or not _is_text_whole(text)
    assert vocab.decode(vocab.encode(text).ids) == text


def _is_text_whole(data: bytes) -> bool:
    """Whether the bytes are one valid text: invalid runs are encoded separately."""
    return re.fullmatch("[^\udc80-\udcff]*", data.decode("utf-8", "surrogateescape")) is not None


def test_a_world_file_is_read_without_running_it(tmp_path):
    path = tmp_path / "world.txt"
    lines = [f"{byte + 1} {bytes([byte])!r} 1" for byte in range(256)] + ["257 ' 你好' 7", "258 b'\\xe4\\xbd' 2"]
    path.write_text("\n".join(lines), encoding="utf-8")
    vocab = ByteVocab.from_tokenizer(World.from_file(path), size=512)
    assert vocab.encode(" 你好").ids.tolist() == [257]
    assert vocab.encode(b"\xe4\xbd").ids.tolist() == [258]
    assert len(vocab) == 512


@pytest.mark.parametrize(
    "line", ["1 __import__('os').getcwd() 1", "1 'ab' 1", "x 'a' 1", "1 'a'", "", "1 7 1", "1 ['a'] 1"]
)
def test_a_malformed_line_is_refused(tmp_path, line):
    path = tmp_path / "world.txt"
    path.write_text(f"0 'a' 1\n{line}\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"world\.txt, line 2: .* is not `id literal length`"):
        World.from_file(path)


def test_a_world_vocabulary_without_a_byte_is_refused():
    with pytest.raises(InputError, match="has no entry for the byte 0x07"):
        ByteVocab.from_tokenizer(World({byte: bytes([byte]) for byte in range(256) if byte != 7}))


# --- slow Hugging Face tokenizers


def test_a_slow_tokenizer_with_a_sentencepiece_model_is_read_through_it(tmp_path, others):
    path = tmp_path / "spiece.model"
    path.write_bytes(others["llama.model"].serialized_model_proto())
    slow = BertGenerationTokenizer(str(path))
    vocab = ByteVocab.from_tokenizer(slow, size=len(slow) + 5)
    assert vocab.kind == "sentencepiece_bpe"
    for text in CORPUS:
        before = slow.encode("#", add_special_tokens=False)
        assert slow.encode("#" + text, add_special_tokens=False) == before + vocab.encode(text).ids.tolist()


@pytest.mark.slow
def test_a_slow_tokenizer_of_another_kind_is_refused():
    with pytest.raises(InputError, match="CanineTokenizer is a slow tokenizer of an unsupported kind"):
        ByteVocab.from_tokenizer(CanineTokenizer())


def test_a_slow_tokenizer_that_gives_other_ids_than_its_vocabulary_is_refused(tmp_path, others):
    class Shouting(BertGenerationTokenizer):
        def _tokenize(self, text, **kwargs):
            return super()._tokenize(text.upper(), **kwargs)

    path = tmp_path / "spiece.model"
    path.write_bytes(others["llama.model"].serialized_model_proto())
    with pytest.raises(
        InputError, match=r"Shouting gives '#Hello, world! 3 \+ 4 = 7' the ids .*; it cannot be verified"
    ):
        ByteVocab.from_tokenizer(Shouting(str(path)))


def test_a_slow_tokenizer_with_words_added_to_it_is_refused():
    slow = ByT5Tokenizer()
    slow.add_tokens(["<think>"])
    with pytest.raises(InputError, match=r"ByT5Tokenizer gives '#<think>' the ids .*; it cannot be verified"):
        ByteVocab.from_tokenizer(slow)
