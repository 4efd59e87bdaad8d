"""Ends in the original text if a normaliser rewrote it: by hand, by definition, and the amount of work."""

import math
import re
import unicodedata
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, normalizers

from crossdistill.tokens.normalisation import ends_in_original, spans_of
from tests.oracles import normalisation as oracle

# rules of a SentencePiece character map: the longest match wins, and part of a rule may be another rule
_MAP = {"ab": "x", "abc": "yy", "b": "bb", "ca": "", "é": "e", "  ": " "}
_PATTERN = re.compile("|".join(sorted(map(re.escape, _MAP), key=len, reverse=True)))


def _of(rewrite: Callable[[str], str]) -> Callable[[str], bytes]:
    return lambda text: rewrite(text).encode()


LOCAL = {
    "nothing": _of(str),
    "nfc": _of(lambda text: unicodedata.normalize("NFC", text)),
    "nfd": _of(lambda text: unicodedata.normalize("NFD", text)),
    "nfkc": _of(lambda text: unicodedata.normalize("NFKC", text)),
    "case fold": _of(str.casefold),
    "collapse": _of(lambda text: re.sub(" +", " ", text)),
    "without spaces": _of(lambda text: text.replace(" ", "")),
    "delete": _of(lambda text: text.replace(" ", "").replace("\u0301", "")),
    "first words": _of(lambda text: re.sub(r"(?<!\w)(a+)", "<\\1>", text)),  # looks at the text before
    "map": _of(lambda text: _PATTERN.sub(lambda match: _MAP[match.group()], text)),
    "bert": _of(
        normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase()]).normalize_str
    ),
    "t5": _of(normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), "▁")]).normalize_str),
}
"""What they do at a place depends on what is near, so that the borders by the definition are independent."""
GLOBAL = {
    "lower": _of(str.lower),  # the last sigma of a word has a form of its own: "bΣ" alone and in "bΣΑ" differ
    "strip": _of(str.strip),
    "prefix": _of(lambda text: "▁" + text),
    "sorted": _of(lambda text: "".join(sorted(text))),
    "reversed": _of(lambda text: text[::-1]),
    "every second": _of(lambda text: text[::2]),
    "pairs": _of(lambda text: text.replace("aa", "a")),
}
NORMALISERS = LOCAL | GLOBAL


@pytest.mark.parametrize(
    ("text", "name", "ends", "expected"),
    [
        ("abc", "nfc", [1, 2, 3], [1, 2, 3]),  # nothing rewritten
        ("ae\u0301b", "nfc", [1, 3, 4], [1, 4, 5]),  # a, é, b: 3 bytes become 2
        ("ae\u0301b", "nfc", [2, 3, 4], [0, 4, 5]),  # a + the first byte of é: an end at 1 would be a false border
        ("ae\u0301b", "nfc", [1, 2, 3, 4], [1, 1, 4, 5]),  # é in two bytes: the first has no end of its own
        ("e\u0301", "nfc", [1, 2], [0, 3]),  # ... also at the very start
        ("xé", "nfc", [1, 2, 3], [1, 2, 3]),  # an unchanged character may be cut inside
        ("\u1112\u1161\u11abx", "nfc", [3, 4], [9, 10]),  # letters that compose although none is a combining character
        ("\u212b!", "nfc", [2, 3], [3, 4]),  # one character becomes another
        (" a b ", "without spaces", [1, 2], [3, 5]),  # deleted text belongs to the token before it
        (
            "ae\u0301\u0301b",
            "nfc",
            [1, 3, 5, 6],
            [1, 4, 6, 7],
        ),  # a mark that composes with nothing is a cluster of its own
        ("Α\u0323\u0301\u0323", "nfc", [2, 4, 6], [0, 0, 8]),  # two equal marks: which one moved is unknown
        ("bΣΑ", "lower", [1, 3, 5], [0, 0, 5]),  # alone, "bΣ" has the other form
        ("a\u0345\u0301b", "nfc", [2, 4, 5], [0, 5, 6]),  # a mark composes over another mark
        (" a b", "strip", [1, 2, 3], [2, 3, 4]),  # the single characters do not add up to the whole: " " and "a b" do
        ("cab", "sorted", [1, 3], [0, 3]),  # no character is a cluster of its own: one border, at the end
    ],
)
def test_ends_by_hand(text, name, ends, expected):
    assert ends_in_original(text, NORMALISERS[name], np.array(ends)).tolist() == expected


_ALPHABET = "aabbc  eéΣσΑ\u0301\u0301\u0323\u0345\u0327\u1112\u1161\u11ab\u212bﬁ①ß界"
texts = st.text(st.sampled_from(_ALPHABET) | st.characters(exclude_categories=("Cs",)), min_size=1, max_size=24)


@pytest.mark.parametrize("name", NORMALISERS)
@given(text=texts)
def test_spans_make_both_texts(name, text):
    check_spans(name, text)


def check_spans(name: str, text: str) -> None:
    data, normal = text.encode(), NORMALISERS[name](text)
    start = normal_start = 0
    for span in spans_of(text, NORMALISERS[name]):
        part, normal_part = data[start:][: span.num_bytes], normal[normal_start:][: span.num_normal_bytes]
        assert NORMALISERS[name](part.decode()) == normal_part
        assert span.unchanged == (part == normal_part)
        start, normal_start = start + span.num_bytes, normal_start + span.num_normal_bytes
    assert (start, normal_start) == (len(data), len(normal))


@pytest.mark.parametrize("name", LOCAL)
@given(text=texts)
def test_no_end_is_false(name, text):
    """With one token per byte, an end is at a true border, at the same byte of an unchanged span, or repeated."""
    check_no_end_is_false(name, text)


@pytest.mark.parametrize("name", [*LOCAL, "lower"])
@given(text=texts)
def test_never_coarser_than_the_slow_twin(name, text):
    every_end = np.arange(1, len(NORMALISERS[name](text)) + 1)
    slow = oracle.ends_in_original(text, NORMALISERS[name], every_end.tolist())
    assert (ends_in_original(text, NORMALISERS[name], every_end) >= slow).all()


def check_no_end_is_false(name: str, text: str) -> None:
    every_end = range(1, len(NORMALISERS[name](text)) + 1)
    true = {after: before for before, after in sorted(oracle.true_borders(text, NORMALISERS[name]))}
    same = _ends_in_unchanged_spans(text, NORMALISERS[name])
    previous = 0
    ends = ends_in_original(text, NORMALISERS[name], np.array(every_end)).tolist()
    for end, normal_end in zip(ends, every_end, strict=True):
        assert end in (previous, true.get(normal_end), same.get(normal_end))
        previous = end
    assert not ends or previous == len(text.encode())


def _ends_in_unchanged_spans(text: str, normalise: Callable[[str], bytes]) -> dict[int, int]:
    ends: dict[int, int] = {}
    start = normal_start = 0
    for span in spans_of(text, normalise):
        if span.unchanged:
            ends.update({normal_start + byte: start + byte for byte in range(1, span.num_bytes)})
        start, normal_start = start + span.num_bytes, normal_start + span.num_normal_bytes
    return ends


WORDS = "the quick brown fox " * 50
LONG = {
    "one change in much text": ("nfc", WORDS, "e\u0301", WORDS),
    "a change in every word": ("lower", "Every Word Here ", "", ""),
    "composing letters": ("nfc", "\u1112\u1161\u11ab", "", ""),
    "one mark again and again": ("nfc", "\u0301", "", ""),
    "marks that change places": ("nfc", "\u0323\u0301", "", ""),
    "marks that change places far away": ("nfc", "\u0301" * 30, "\u0323", ""),
    "two runs of marks": ("nfc", "\u0301", "", "\u0323"),
    "two runs of marks in text": ("nfc", WORDS + "\u0301" * 200, "", "\u0323" * 200 + WORDS),
    "a run of spaces": ("collapse", " ", "", "b"),
    "edges": ("strip", " a", "", "a "),
    "a dummy prefix": ("prefix", "abc ", "", ""),
    "no order that stays": ("sorted", "hgfedcba", "", ""),
}


def _work(name: str, text: str) -> int:
    """Number of characters that the normaliser is called with."""
    work = 0

    def counting(part: str) -> bytes:
        nonlocal work
        work += len(part)
        return NORMALISERS[name](part)

    list(spans_of(text, counting))
    return work


@pytest.mark.parametrize("case", LONG)
def test_work_is_near_linear(case):
    name, left, middle, right = LONG[case]
    text = left * (3_000 // len(left + right)) + middle + right * (3_000 // len(left + right))
    assert _work(name, text) < 8 * len(text) * math.log2(len(text))


@pytest.mark.parametrize("case", LONG)
def test_spans_of_long_texts_make_both(case):
    name, left, middle, right = LONG[case]
    check_spans(name, left * 40 + middle + right * 40)


def test_unchanged_text_is_settled_at_once():
    assert len(list(spans_of(WORDS * 10, NORMALISERS["nfc"]))) == 1
    assert len(list(spans_of(WORDS * 100 + "e\u0301" + WORDS * 100, NORMALISERS["nfc"]))) < 300  # of 200,000 characters


def test_empty():
    assert ends_in_original("", NORMALISERS["nfc"], np.zeros(0, dtype=np.int64)).tolist() == []
    assert ends_in_original("\u0301", NORMALISERS["delete"], np.zeros(0, dtype=np.int64)).tolist() == []
