"""Responses that a student can write, and pairs of tokenisations of the same bytes."""

from collections.abc import Callable
from typing import Any

from hypothesis import example
from hypothesis import strategies as st

from tests.tokenizers_in_process import CORPUS, ORDINARY, SPECIAL

_WORDS = sorted({word for text in CORPUS for word in text.split(" ")})
# text that a normaliser rewrites, that SentencePiece reads differently, or that is not one character
_REWRITTEN = [
    "e\u0301",  # NFD
    "\u1112\u1161\u11ab",  # Hangul letters that compose although none is a combining character
    "\u212b",  # NFC turns it into another character
    "\u0301",  # composes with the character before it
    "▁",
    "▁▁",
    *SPECIAL,
    *ORDINARY,
    "<0x0A>",
    "<unk>",
]
_PLAIN = ["a", "e", "the", " ", "  ", " a", "👩‍🚀", "🤗", "\n\n", "\t", "\r\n", "\x00", "\x7f", "\ufeff", "\u2028"]
_BROKEN = [
    b"\xf0\x9f",
    b" \xf0\x9f",
    b"\x97",
    b"\xc3",
    b"\xe4\xbd",
    b"\xed\xa0\x80",
    b"\xff",
    b"\xc0\x80",
    b"\xf4\x90\x80\x80",
]

_snippets = st.sampled_from(_WORDS) | st.sampled_from(_REWRITTEN) | st.sampled_from(_PLAIN) | st.text(max_size=3)
words = st.lists(_snippets, max_size=12).map("".join)
_mixed_bytes = st.lists(_snippets.map(str.encode) | st.sampled_from(_BROKEN), max_size=12).map(b"".join)
responses = st.binary(max_size=40) | st.text(max_size=20).map(str.encode) | words.map(str.encode) | _mixed_bytes
"""Bytes: random ones, random text, and words mixed with broken UTF-8."""

HARD = (
    b"",
    "a▁b  ▁▁".encode(),
    "▁e\u0301 and e\u0301▁<think>e\u0301".encode(),
    "한\u1112\u1161\u11ab\u212b<|im_end|> «réponse»思考".encode(),
    "Great job 🤗! The answer is 界".encode()[:-1],
    b"so \xf0\x9f far, so \xf0\x9f\x98 good\x00",
    "<0x0A><unk>\n\n👩‍🚀".encode(),
)


def hard_examples(test: Callable[..., Any]) -> Callable[..., Any]:
    """Always run a property of `data` on these responses too: random ones rarely combine all of this."""
    for data in HARD:
        test = example(data=data)(test)
    return test


texts_with_surrogates = st.text(st.characters(exclude_categories=()), max_size=20)


@st.composite
def two_tokenisations(draw: st.DrawFn, zero_width: bool = False) -> tuple[bytes, list[int], list[int]]:
    """Some bytes, and the ends of two tokenisations of them."""
    data = draw(st.binary(min_size=1, max_size=30))
    return data, draw(_ends(len(data), zero_width)), draw(_ends(len(data), zero_width))


def _ends(total: int, zero_width: bool) -> st.SearchStrategy[list[int]]:
    inner = st.lists(st.integers(0 if zero_width else 1, total), unique=not zero_width, max_size=15)
    return inner.map(lambda cuts: sorted([cut for cut in cuts if zero_width or cut < total] + [total]))
