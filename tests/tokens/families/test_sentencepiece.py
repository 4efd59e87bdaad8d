"""Entries of SentencePiece-style vocabularies."""

import pytest

from crossdistill.tokens.families.sentencepiece import byte_piece, byte_token_value, piece_to_bytes, text_to_bytes


def test_every_byte_has_its_fallback_entry():
    assert [byte_token_value(byte_piece(byte)) for byte in range(256)] == list(range(256))
    assert byte_piece(10) == "<0x0A>"


@pytest.mark.parametrize(
    ("piece", "data"),
    [
        ("▁the", b" the"),
        ("▁▁▁", b"   "),
        ("é", b"\xc3\xa9"),
        ("<0xE2>", b"\xe2"),
        ("<0xe2>", b"\xe2"),
        ("<0xE2>a", b"<0xE2>a"),
        ("<0xG0>", b"<0xG0>"),
        ("<0x1F>\n", b"<0x1F>\n"),
    ],
)
def test_bytes_of_an_entry(piece, data):
    assert piece_to_bytes(piece) == data


def test_text_that_looks_like_a_fallback_entry_is_text():
    assert text_to_bytes("<0xE2>▁") == b"<0xE2> "
