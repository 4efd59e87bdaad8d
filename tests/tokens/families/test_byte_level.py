"""The byte table of byte-level BPE."""

from tokenizers import pre_tokenizers

from crossdistill.tokens.families.byte_level import BYTE_TO_CHAR, CHAR_TO_BYTE, bytes_to_piece, piece_to_bytes


def test_the_table_is_a_bijection_onto_the_librarys_alphabet():
    assert sorted(BYTE_TO_CHAR) == list(range(256))
    assert sorted(CHAR_TO_BYTE) == sorted(pre_tokenizers.ByteLevel.alphabet())


def test_the_table_agrees_with_the_library_on_every_byte_of_text():
    pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    for start in range(0, 0x1000, 0x40):
        text = "".join(map(chr, range(start, start + 0x40)))
        ((piece, _),) = pre_tokenizer.pre_tokenize_str(text)
        assert piece_to_bytes(piece) == text.encode()
        assert bytes_to_piece(text.encode()) == piece


def test_known_entries():
    assert bytes_to_piece(b" a\n\x00\xad~") == "ĠaĊĀŃ~"
    assert piece_to_bytes("ĠaĊĀŃ~") == b" a\n\x00\xad~"


def test_a_piece_with_a_character_outside_the_table_has_the_bytes_of_its_text():
    assert piece_to_bytes("a b") == b"a b"
    assert piece_to_bytes("▁a") == "▁a".encode()
