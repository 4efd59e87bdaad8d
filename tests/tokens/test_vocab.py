"""Vocabularies as bytes: known failures of other libraries, and refusals."""

import json
import pickle
import re

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from crossdistill import ByteVocab, InputError, align
from crossdistill.tokens.families.byte_level import BYTE_TO_CHAR
from crossdistill.tokens.special_tokens import control_tokens
from tests.tokenizers_in_process import BYTE_LEVEL_NAMES, NAMES, SENTENCEPIECE_NAMES, SPECIAL, byte_level, sentencepiece


def pieces(vocab: ByteVocab, data: str | bytes) -> list[bytes]:
    return [vocab.pieces[token_id] for token_id in vocab.encode(data).ids]


def edited(tokenizer: Tokenizer, **changes: object) -> Tokenizer:
    """A copy of a tokenizer with entries of its JSON's model replaced."""
    spec = json.loads(tokenizer.to_str())
    spec["model"] |= changes
    return Tokenizer.from_str(json.dumps(spec))


KINDS = dict.fromkeys(SENTENCEPIECE_NAMES, "sentencepiece_bpe") | {"unigram": "sentencepiece_unigram"}

# --- attributes


@pytest.mark.parametrize("name", NAMES)
def test_kind(vocabs, name):
    assert vocabs[name].kind == KINDS.get(name, "byte_level_bpe")


@pytest.mark.parametrize("name", NAMES)
def test_one_piece_for_every_id_and_none_for_specials(tokenizers, vocabs, name):
    vocab = vocabs[name]
    assert len(vocab) == len(vocab.pieces) == len(vocab.lengths) == len(tokenizers[name])
    assert [len(piece) for piece in vocab.pieces] == vocab.lengths.tolist()
    without_bytes = {
        tokenizers[name].convert_ids_to_tokens(int(token_id)) for token_id in np.flatnonzero(vocab.lengths == 0)
    }
    assert without_bytes == {*SPECIAL} | ({"<unk>"} if name in SENTENCEPIECE_NAMES else set()) | (
        {"</s>"} if name == "unigram" else set()
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_backend_itself_is_read_like_its_wrapper(tokenizers, vocabs, name):
    assert ByteVocab.from_tokenizer(tokenizers[name].backend_tokenizer).pieces == vocabs[name].pieces


@pytest.mark.parametrize("name", NAMES)
def test_reading_leaves_the_tokenizer_as_it_was(tokenizers, name):
    before = tokenizers[name].backend_tokenizer.to_str()
    ByteVocab.from_tokenizer(tokenizers[name]).encode("a <|im_end|>")
    assert tokenizers[name].backend_tokenizer.to_str() == before
    assert not tokenizers[name].backend_tokenizer.encode_special_tokens


@pytest.mark.parametrize("name", NAMES)
def test_a_pickled_vocabulary_encodes_the_same(vocabs, name):
    copy = pickle.loads(pickle.dumps(vocabs[name]))
    text = "Answer: <|im_end|> e\u0301 ▁ 42"
    assert copy.encode(text).ids.tolist() == vocabs[name].encode(text).ids.tolist()


def test_a_padded_vocabulary_has_ids_without_bytes(tokenizers, vocabs):
    size = len(vocabs["qwen"]) + 128
    padded = ByteVocab.from_tokenizer(tokenizers["qwen"], size=size)
    assert len(padded) == size
    assert padded.pieces[-128:] == (b"",) * 128
    assert padded.decode([size - 1, *padded.encode("ok").ids]) == b"ok"
    assert padded.ends([size - 1, *padded.encode("o").ids, size - 1]).tolist() == [0, 1, 1]


def test_a_size_equal_to_the_tokenizers_is_allowed(tokenizers, vocabs):
    assert len(ByteVocab.from_tokenizer(tokenizers["qwen"], size=len(vocabs["qwen"]))) == len(vocabs["qwen"])


# --- decoding and ends


def test_ids_that_are_not_integers_are_refused(vocabs):
    for ids in ([1.5], np.array([1.0]), ["a"]):
        with pytest.raises(TypeError, match="token ids must be integers"):
            vocabs["qwen"].decode(ids)
    with pytest.raises(TypeError, match="not an array of 2 dimensions"):
        vocabs["qwen"].decode(np.array([[1, 2]]))
    assert vocabs["qwen"].decode([]) == vocabs["qwen"].decode(np.zeros(0)) == b""


def test_empty(vocabs):
    for vocab in vocabs.values():
        assert vocab.decode([]) == b""
        assert vocab.ends([]).tolist() == []
        for empty in ("", b""):
            encoding = vocab.encode(empty)
            assert encoding.ids.tolist() == encoding.ends.tolist() == []
            assert encoding.ids.dtype == encoding.ends.dtype == np.int64


@pytest.mark.parametrize("bad", [-1, 10_000])
def test_an_id_outside_the_vocabulary_is_refused(vocabs, bad):
    for method in (vocabs["gpt2"].decode, vocabs["gpt2"].ends):
        with pytest.raises(InputError, match=rf"token id {bad} is outside the vocabulary of 318 ids; pass `size`"):
            method([1, bad])


def test_ids_may_be_a_list_an_array_or_an_iterator(vocabs):
    ids = vocabs["gemma"].encode("the sum").ids
    for same in (ids, ids.tolist(), iter(ids.tolist()), ids.astype(np.int32)):
        assert vocabs["gemma"].decode(same) == b"the sum"


# --- known failures of other libraries


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_response_cut_inside_a_character_keeps_every_byte(vocabs, name, cut):
    data = "Great job 🤗".encode()[:-cut]
    encoding = vocabs[name].encode(data)
    assert vocabs[name].decode(encoding.ids) == data
    assert encoding.ends[-1] == len(data)


@pytest.mark.parametrize("name", NAMES)
def test_a_broken_character_in_the_middle_affects_no_later_border(vocabs, name):
    before, broken, after = b"so", b" \xf0\x9f", b"|x = 12, so we take the sum"
    ends = vocabs[name].encode(before + broken + after).ends
    offset = len(before + broken)
    assert ends[ends > offset].tolist() == (vocabs[name].encode(after).ends + offset).tolist()
    assert offset in ends


@pytest.mark.parametrize("name", BYTE_LEVEL_NAMES)
def test_broken_characters_use_the_merges_of_the_vocabulary(vocabs, name):
    first_half = b"\xf0\x9f"  # every emoji of the corpus starts with these bytes
    merged = [first_half] if first_half in vocabs[name].pieces else [b"\xf0", b"\x9f"]
    assert pieces(vocabs[name], first_half) == merged


def test_some_vocabulary_merges_half_a_character(vocabs):
    assert b"\xf0\x9f" in vocabs["llama3"].pieces


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"gpt2"}))
def test_added_tokens_have_the_bytes_of_their_text_even_if_not_ascii(vocabs, name):
    expected = [b"<think>", "思考".encode(), "«réponse»".encode(), b"</"]
    assert pieces(vocabs[name], "<think>思考«réponse»</")[:3] == expected[:3]
    assert vocabs[name].decode(vocabs[name].encode("<think>思考«réponse»</").ids) == b"".join(expected)


def test_think_as_one_token_aligns_with_think_as_text(vocabs):
    student, teacher = vocabs["gpt2"].encode("<think>ok"), vocabs["qwen"].encode("<think>ok")
    alignment = align(student.ends, teacher.ends)
    assert alignment.byte_splits[:2].tolist() == [0, len("<think>")]
    assert alignment.student_sizes[0] > 1
    assert alignment.teacher_sizes[0] == 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("special", SPECIAL)
def test_the_name_of_a_special_token_stays_text(tokenizers, vocabs, name, special):
    special_id = tokenizers[name].convert_tokens_to_ids(special)
    encoding = vocabs[name].encode(f"a{special}b")
    assert special_id not in encoding.ids
    assert vocabs[name].decode(encoding.ids) == f"a{special}b".encode()


def test_the_name_of_a_special_token_that_is_an_entry_stays_text():
    """Under `ignore_merges` a word that equals an entry becomes that entry, and the entry may be a control token."""
    tokenizer = edited(byte_level(num_merges=5, special=(), ordinary=()), ignore_merges=True)
    spec = json.loads(tokenizer.to_str())
    spec["model"]["vocab"]["stop"] = len(spec["model"]["vocab"])
    tokenizer = Tokenizer.from_str(json.dumps(spec))
    tokenizer.add_special_tokens(["stop"])
    vocab = ByteVocab.from_tokenizer(tokenizer)
    assert pieces(vocab, "stop") == [b"s", b"t", b"o", b"p"]


def test_nfd_text_under_an_nfc_tokenizer(vocabs):
    """The teacher reads é: one token for the three bytes that the student wrote."""
    data = "le cafe\u0301!".encode()
    encoding = vocabs["qwen"].encode(data)
    assert vocabs["qwen"].decode(encoding.ids) == "le café!".encode()
    assert encoding.ends.tolist()[-2:] == [len(data) - 1, len(data)]
    assert not {len("le cafe"), len("le cafe") + 1} & set(encoding.ends.tolist())


def test_a_literal_u2581_is_not_a_space_under_nfc_and_byte_level(vocabs):
    data = "▁e\u0301".encode()
    assert vocabs["qwen"].decode(vocabs["qwen"].encode(data).ids) == "▁é".encode()
    assert vocabs["qwen"].encode(data).ends[-1] == len(data)


@pytest.mark.parametrize("name", SENTENCEPIECE_NAMES)
def test_a_literal_u2581_is_a_space_of_three_bytes_in_sentencepiece(vocabs, name):
    encoding = vocabs[name].encode("|▁|")
    assert pieces(vocabs[name], "|▁|") == [b"|", b" ", b"|"]
    assert encoding.ends.tolist() == [1, 4, 5]


@pytest.mark.parametrize("name", ["llama2", "metaspace"])
def test_there_is_no_dummy_prefix_in_the_middle(tokenizers, vocabs, name):
    alone = tokenizers[name].tokenize("the sum", add_special_tokens=False)
    assert alone[0].startswith("▁")
    assert pieces(vocabs[name], "the sum")[0][:1] == b"t"
    assert vocabs[name].decode(vocabs[name].encode("the sum").ids) == b"the sum"


def test_there_is_no_prefix_space_in_the_middle():
    prefixing = pre_tokenizers.ByteLevel(add_prefix_space=True)
    vocab = ByteVocab.from_tokenizer(byte_level(num_merges=50, pre_tokenizer=prefixing))
    assert vocab.decode(vocab.encode("the").ids) == b"the"


def test_white_space_at_the_edges_is_not_stripped():
    strip = normalizers.Sequence([normalizers.NFC(), normalizers.Sequence([normalizers.Strip()])])
    vocab = ByteVocab.from_tokenizer(byte_level(num_merges=50, normalizer=strip))
    assert vocab.decode(vocab.encode(" a b\n").ids) == b" a b\n"


@pytest.mark.parametrize("side", ["lstrip", "rstrip"])
def test_an_added_token_takes_no_white_space_around_it(side):
    tokenizer = byte_level(num_merges=50, ordinary=())
    tokenizer.add_tokens([AddedToken("<br>", normalized=False, **{side: True})])
    vocab = ByteVocab.from_tokenizer(tokenizer)
    encoding = vocab.encode("a  <br>  b")
    assert b"<br>" in pieces(vocab, "a  <br>  b")
    assert vocab.decode(encoding.ids) == b"a  <br>  b"
    assert encoding.ends[-1] == 10


def test_an_added_token_that_the_normaliser_would_rewrite():
    tokenizer = byte_level(num_merges=50, normalizer=normalizers.NFC(), ordinary=("e\u0301",))
    vocab = ByteVocab.from_tokenizer(tokenizer)
    assert pieces(vocab, "ae\u0301") == [b"a", b"e\xcc\x81"]
    assert pieces(vocab, "é") == [b"\xc3\xa9"] or pieces(vocab, "é") == [b"\xc3", b"\xa9"]
    encoding = vocab.encode("e\u0301 o\u0301")  # one is an added token, the other is composed
    assert vocab.decode(encoding.ids) == "e\u0301 ó".encode()
    assert encoding.ids.tolist() == tokenizer.encode("e\u0301 o\u0301", add_special_tokens=False).ids
    assert encoding.ends[-1] == len("e\u0301 o\u0301".encode())


def test_text_that_the_normaliser_deletes_is_encoded_byte_by_byte():
    deleting = normalizers.Replace("#", "")
    vocab = ByteVocab.from_tokenizer(byte_level(num_merges=50, normalizer=deleting))
    assert pieces(vocab, "##") == [b"#", b"#"]
    assert vocab.encode(b"\xff##\xff").ends.tolist() == [1, 2, 3, 4]
    assert vocab.encode("a#b").ends.tolist() == [2, 3]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("char", ["a", "1", " ", "\n", "é", "🤗", "e\u0301", "▁", b"\xf0", b"\x80", b"\x00"])
def test_ten_thousand_repetitions(vocabs, name, char):
    data = (char if isinstance(char, bytes) else char.encode()) * 10_000
    encoding = vocabs[name].encode(data)
    assert encoding.ends[-1] == len(data)
    if char == "e\u0301" and name == "qwen":
        assert vocabs[name].decode(encoding.ids) == "é".encode() * 10_000
    elif char == "▁" and name in SENTENCEPIECE_NAMES:
        assert vocabs[name].decode(encoding.ids) == b" " * 10_000
    else:
        assert vocabs[name].decode(encoding.ids) == data


def test_ten_thousand_combining_marks(vocabs):
    data = ("e" + "\u0301" * 10_000).encode()
    encoding = vocabs["qwen"].encode(data)
    assert vocabs["qwen"].decode(encoding.ids) == ("é" + "\u0301" * 9_999).encode()
    assert encoding.ends[-1] == len(data)


def test_a_mark_after_an_added_token_does_not_join_it(tokenizers, vocabs):
    """A normaliser of the whole text would compose ">" and U+0338 into one character."""
    text = "e\u0301 <think>\u0338 e\u0301"
    encoding = vocabs["qwen"].encode(text)
    assert encoding.ids.tolist() == tokenizers["qwen"](text, add_special_tokens=False).input_ids
    assert len("e\u0301 <think>".encode()) in encoding.ends
    assert encoding.ends[-1] == len(text.encode())


ROLES = ["<｜User｜>", "<|Assistant|>", "</s>", "<s>", "<pad>"]


def with_roles() -> Tokenizer:
    """Control tokens that are not flagged as special, as in DeepSeek-V3, Command-R and Phi-3."""
    tokenizer = byte_level(num_merges=50, ordinary=("<think>",))
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in ROLES])
    return tokenizer


def test_a_response_cannot_write_a_control_token_that_is_not_flagged():
    tokenizer = with_roles()
    vocab = ByteVocab.from_tokenizer(tokenizer)
    for role in ROLES:
        encoding = vocab.encode(f"ok {role} ignore that <think>")
        assert tokenizer.token_to_id(role) not in encoding.ids
        assert tokenizer.token_to_id("<think>") in encoding.ids
        assert vocab.decode(encoding.ids).decode() == f"ok {role} ignore that <think>"
        assert vocab.decode([tokenizer.token_to_id(role)]) == b""


def test_declared_tokens_are_control_tokens():
    tokenizer = byte_level(num_merges=50, ordinary=("stop here",))
    declared = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="stop here")
    assert "stop here" in control_tokens(declared)
    assert ByteVocab.from_tokenizer(declared).pieces[declared.eos_token_id] == b""
    assert ByteVocab.from_tokenizer(tokenizer).pieces[tokenizer.token_to_id("stop here")] == b"stop here"


def test_text_tokens_are_words_whatever_their_names():
    tokenizer = with_roles()
    vocab = ByteVocab.from_tokenizer(tokenizer, text_tokens=["<|Assistant|>"])
    assert vocab.encode("<|Assistant|>").ids.tolist() == [tokenizer.token_to_id("<|Assistant|>")]
    assert tokenizer.token_to_id("<s>") not in vocab.encode("<s>").ids


# --- refusals: the message names the thing


def test_a_slow_tokenizer_is_refused():
    class SlowTokenizer:
        pass

    with pytest.raises(InputError, match=r"SlowTokenizer is not a supported tokenizer: pass a Hugging Face tokenizer"):
        ByteVocab.from_tokenizer(SlowTokenizer())


def test_words_are_refused():
    tokenizer = Tokenizer(models.WordLevel(vocab={"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    with pytest.raises(InputError, match=r"model is 'WordLevel' with the steps none, which is not a family"):
        ByteVocab.from_tokenizer(PreTrainedTokenizerFast(tokenizer_object=tokenizer))


def test_bpe_with_unknown_spaces_is_refused():
    tokenizer = Tokenizer(models.BPE(vocab={"a": 0, "b": 1, "ab": 2}, merges=[("a", "b")]))
    with pytest.raises(InputError, match="model is 'BPE' with the steps none"):
        ByteVocab.from_tokenizer(tokenizer)


def test_bpe_with_marks_at_the_end_of_words_is_refused():
    tokenizer = Tokenizer(models.BPE(vocab={"a</w>": 0}, merges=[], end_of_word_suffix="</w>"))
    tokenizer.decoder = decoders.BPEDecoder()
    with pytest.raises(InputError, match="model is 'BPE' with the steps BPEDecoder"):
        ByteVocab.from_tokenizer(tokenizer)


def test_a_missing_fallback_entry_is_refused():
    byte_pieces = [f"<0x{byte:02X}>" for byte in range(256) if byte != 0x41]
    tokenizer = sentencepiece(num_merges=20, byte_pieces=byte_pieces, normalizer=normalizers.Replace(" ", "▁"))
    with pytest.raises(InputError, match=r"has no entry '<0x41>' for the byte 0x41, so its bytes cannot be verified"):
        ByteVocab.from_tokenizer(tokenizer)


def test_an_incomplete_byte_alphabet_is_refused():
    tokenizer = Tokenizer(models.BPE(vocab={"a": 0, "b": 1}, merges=[]))
    tokenizer.decoder = decoders.ByteLevel()
    with pytest.raises(InputError, match=r"byte_level_bpe tokenizer has no entry 'Ċ' for the byte 0x0a"):
        ByteVocab.from_tokenizer(tokenizer)


def test_an_added_token_that_takes_the_place_of_a_byte_is_refused():
    """The library gives the added token é the id of the entry é, which is the byte 0xe9."""
    tokenizer = byte_level(num_merges=20, ordinary=("é",))
    taken = tokenizer.token_to_id("é")
    with pytest.raises(InputError, match=rf"has an added token {taken} in place of the entry 'é' for the byte 0xe9"):
        ByteVocab.from_tokenizer(tokenizer)


def test_an_entry_outside_the_byte_table_has_the_bytes_of_its_text():
    tokenizer = byte_level(num_merges=20, special=(), ordinary=())
    vocabulary = json.loads(tokenizer.to_str())["model"]["vocab"] | {"🧝": 900}
    vocab = ByteVocab.from_tokenizer(edited(tokenizer, vocab=vocabulary))
    assert vocab.pieces[900] == "🧝".encode()
    assert vocab.decode(vocab.encode("a 🧝").ids) == "a 🧝".encode()


def test_an_added_token_with_the_name_of_a_byte_without_an_entry():
    """In the byte-level table À is the byte 0xc0, which UTF-8 never uses and DeepSeek-Coder's vocabulary lacks."""
    tokenizer = without_entries(b"\xc0")
    tokenizer.add_tokens([AddedToken("À", normalized=False)])
    vocab = ByteVocab.from_tokenizer(tokenizer)
    assert vocab.pieces[tokenizer.token_to_id("À")] == "À".encode()
    assert vocab.unencodable == b"\xc0"
    assert vocab.decode(vocab.encode("aÀb").ids) == "aÀb".encode()


def test_a_size_smaller_than_the_tokenizer_is_refused(tokenizers):
    with pytest.raises(InputError, match=r"the model has 300 token ids but its tokenizer uses ids up to 315 for text"):
        ByteVocab.from_tokenizer(tokenizers["gpt2"], size=300)


def test_control_tokens_may_lie_beyond_the_models_ids(tokenizers, vocabs):
    """Gemma 3's text models have no id for the image token that their tokenizer adds."""
    whole = vocabs["gpt2"]
    vocab = ByteVocab.from_tokenizer(tokenizers["gpt2"], size=len(whole) - 1)
    assert vocab.pieces == whole.pieces[:-1]
    assert vocab.encode("a <|im_end|>").ids.tolist() == whole.encode("a <|im_end|>").ids.tolist()


def test_unigram_that_fails_on_unknown_characters_is_refused():
    tokenizer = Tokenizer(models.Unigram([("a", 0.0)]))
    tokenizer.decoder = decoders.Metaspace()
    with pytest.raises(InputError, match="neither an unknown token nor byte fallback"):
        ByteVocab.from_tokenizer(tokenizer)


def test_a_tokenizer_that_loses_text_is_refused():
    tokenizer = byte_level(num_merges=20)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    said = re.escape("does not round-trip: the text 'Hello, world! 3 + 4 = 7' (b'Hello, world! 3 + 4 = 7')")
    with pytest.raises(InputError, match=f"{said} is encoded as .* whose bytes are b'Hello,world!3\\+4=7'"):
        ByteVocab.from_tokenizer(tokenizer)


def test_pieces_with_other_bytes_than_the_text_are_refused():
    """The decoder is byte-level but the pre-tokenizer is not: spaces are not in the table."""
    tokenizer = byte_level(num_merges=20)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "isolated")
    with pytest.raises(InputError, match="does not round-trip"):
        ByteVocab.from_tokenizer(tokenizer)


def test_an_unused_id_carries_no_bytes():
    tokenizer = byte_level(num_merges=20, special=(), ordinary=())
    vocabulary = json.loads(tokenizer.to_str())["model"]["vocab"] | {"Ġfar": 400}
    vocab = ByteVocab.from_tokenizer(edited(tokenizer, vocab=vocabulary))
    assert len(vocab) == 401
    assert vocab.pieces[400] == b" far"
    assert set(vocab.pieces[len(vocabulary) : 400]) == {b""}


def without_entries(missing: bytes) -> Tokenizer:
    """A byte-level tokenizer whose alphabet lacks some bytes, as SmolLM2's does."""
    alphabet = [BYTE_TO_CHAR[byte] for byte in range(256) if byte not in missing]
    vocabulary = {piece: index for index, piece in enumerate([*alphabet, "ab"])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[("a", "b")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def test_bytes_without_an_entry_belong_to_no_token():
    vocab = ByteVocab.from_tokenizer(without_entries(b"\x04\xf1\xff"))
    assert vocab.unencodable == b"\x04\xf1\xff"
    data = b"ab\x04\x04ab\xff" + "\U00050000".encode() + b"c\xf1"  # U+50000 begins with 0xf1
    ids, ends, spans, _ = vocab.encode(data)
    assert [vocab.pieces[token] for token in ids] == [b"ab", b"ab", b"\x90", b"\x80", b"\x80", b"c"]
    assert ends.tolist() == [2, 6, 9, 10, 11, 12]
    assert spans.tolist() == [[2, 4], [6, 8], [12, 13]]


def test_a_complete_vocabulary_has_no_unencodable_bytes():
    vocab = ByteVocab.from_tokenizer(without_entries(b""))
    assert vocab.unencodable == b""
    assert vocab.encode(bytes(range(256))).unencodable_spans.shape == (0, 2)
