"""Ends in the original where a normaliser rewrote the text: worked by hand."""

import unicodedata

import numpy as np
import pytest

from crossdistill.tokens.normalisation import ends_in_original


def nfc(text: str) -> bytes:
    return unicodedata.normalize("NFC", text).encode()


def without_spaces(text: str) -> bytes:
    return text.replace(" ", "").encode()


def stripped(text: str) -> bytes:
    return text.strip().encode()


def sorted_letters(text: str) -> bytes:
    return "".join(sorted(text)).encode()


@pytest.mark.parametrize(
    ("text", "normalise", "ends", "expected"),
    [
        ("abc", nfc, [1, 2, 3], [1, 2, 3]),  # nothing rewritten
        ("ae\u0301b", nfc, [1, 3, 4], [1, 4, 5]),  # a, é, b: 3 bytes become 2
        ("ae\u0301b", nfc, [2, 3, 4], [0, 4, 5]),  # a + the first byte of é: to end it at 1 would be a false border
        ("ae\u0301b", nfc, [1, 2, 3, 4], [1, 1, 4, 5]),  # é in two bytes: the first has no end of its own
        ("e\u0301", nfc, [1, 2], [0, 3]),  # ... also at the very start
        ("xé", nfc, [1, 2, 3], [1, 2, 3]),  # an unchanged character may be cut inside
        ("\u1112\u1161\u11abx", nfc, [3, 4], [9, 10]),  # letters that compose though none combines
        ("\u212b!", nfc, [2, 3], [3, 4]),  # one character becomes another
        (" a b ", without_spaces, [1, 2], [3, 5]),  # what vanishes belongs to the token before it
        ("a\u0345\u0301b", nfc, [2, 4, 5], [0, 5, 6]),  # a mark composes over another mark
        (" a b", stripped, [1, 2, 3], [2, 3, 4]),  # the characters alone do not make the whole: " " and "a b" do
        ("cab", sorted_letters, [1, 3], [0, 3]),  # no character stands alone: one border, at the end
    ],
)
def test_ends_by_hand(text, normalise, ends, expected):
    assert ends_in_original(text, normalise, np.array(ends)).tolist() == expected
