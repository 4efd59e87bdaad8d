"""The cases of the matrix: strings that other libraries fail on, bytes of every kind, the shipped corpus."""

from typing import NamedTuple

from crossdistill.inspection.documents import corpus

NUM_REPETITIONS = 10_000
_LONG = 500  # bytes; longer cases run on the canonical ids only


class Case(NamedTuple):
    """Bytes that a student emits; `group` is the row of the table that they count in."""

    group: str
    name: str
    data: bytes

    @property
    def is_long(self) -> bool:
        return len(self.data) > _LONG


def _case(group: str, name: str, text: str) -> Case:
    return Case(group, name, text.encode("utf-8"))


PEERS = "strings that peers fail on"
_KNOWN = [
    _case(PEERS, "mathematical signs", "Since x ≈ 3.14159 and y ≥ 2√2, we get ∑ xᵢ ≤ 100."),
    _case(PEERS, "line breaks", "First, add.\nThen 3 + 4 = 7.\nAnswer: 7"),
    _case(PEERS, "emoji", "Great job 🤗! The answer is 12."),
    _case(PEERS, "Chinese", "答案是：你好，世界。结果为 42。"),
    Case(PEERS, "half an emoji in the middle", b"Great job \xf0\x9f and then the answer is 12, which is right."),
    _case(PEERS, "think tags", "<think>\nWait, 3 + 4 = 7.\n</think>\n\nSo it is 7."),
    _case(PEERS, "text that spells special tokens", "<|im_end|> <|endoftext|></s><eos>[SEP]<end_of_turn> go on"),
]

_CUT = "cut inside a character"
_WHOLE = "The 答案 is 🤗 naïve."
_CUTS = [
    Case(_CUT, "at the end", "Good 🤗".encode()[:-1]),
    Case(_CUT, "two bytes missing", "结果为世".encode()[:-2]),
    Case(_CUT, "at the start", "🤗 fine".encode()[2:]),
    Case(_CUT, "at both ends", "é答案é".encode()[1:-1]),
    *(Case(_CUT, f"prefix of {size} bytes", _WHOLE.encode()[:size]) for size in (5, 6, 8, 15, 17, 21)),
]

_INVALID = "bytes that are not UTF-8"
_INVALIDS = [
    Case(_INVALID, "0xFF in the middle", b"one \xff two \xfe\xff three"),
    Case(_INVALID, "bare continuation bytes", b"one \x80\x81 two \xbf"),
    Case(_INVALID, "overlong slash", b"one \xc0\xaf two"),
    Case(_INVALID, "unpaired surrogate", "one \ud83d two \udc00.".encode("utf-8", "surrogatepass")),
    Case(_INVALID, "surrogate pair in CESU-8", "one \ud83e\udd17 two".encode("utf-8", "surrogatepass")),
    Case(_INVALID, "beyond U+10FFFF", b"one \xf4\x90\x80\x80 two"),
    Case(_INVALID, "every byte", bytes(range(256))),
    Case(_INVALID, "every byte, backwards", bytes(reversed(range(256)))),
    Case(_INVALID, "emoji without its second byte", b"I \xf0\xa4\x97 do, \xe4\xbd\xa0 too"),
]

BROKEN = (_CUT, _INVALID)
_CONTROL = "control characters and odd white space"
_CONTROLS = [
    _case(_CONTROL, "NUL", "a\x00b\x00\x00 c"),
    _case(_CONTROL, "C0 and DEL", "x\x01\x02\x1b[31mred\x7f\x0b\x0c."),
    _case(_CONTROL, "C1", "a\x80\x85b\x9f"),
    _case(_CONTROL, "line ends of all kinds", "one\r\ntwo\rthree\n\nfour\u2028five\u2029six"),
    _case(_CONTROL, "spaces of all kinds", "a\u00a0b\u2009c\u3000d\u202fe\ufefff"),
    _case(_CONTROL, "white space at the edges", "  \n\tfirst  and   last \n  "),
    _case(_CONTROL, "white space alone", " \n \t  \n\n   "),
    _case(_CONTROL, "byte order mark", "\ufeffHello"),
]

_UNICODE = "normal forms and joiners"
_UNICODES = [
    _case(_UNICODE, "NFC", "caf\u00e9 na\u00efve \u1ed3 \uac00\uac01"),
    _case(_UNICODE, "NFD", "cafe\u0301 nai\u0308ve o\u0302\u0300 \u1100\u1161\u11a8"),
    _case(_UNICODE, "NFD beside NFC", "e\u0301\u00e9e\u0301 and \u00e9x e\u0301x"),
    _case(_UNICODE, "marks out of order", "a\u0301\u0323 a\u0323\u0301 q\u0307\u0323"),
    _case(_UNICODE, "a mark after a space", "x \u0301y \u0301"),
    _case(_UNICODE, "a mark first", "\u0301abc"),
    _case(_UNICODE, "many marks", "Z\u0351\u036b\u0343\u036a\u0302\u036b\u033d\u034f\u0334 a\u0310\u030f\u0303 lgo"),
    _case(_UNICODE, "compatibility forms", "ﬁne ½ ① Ａ１ ㎏ x² ℕ Ω \u2126 \u212b"),
    _case(_UNICODE, "singletons and exclusions", "\u0958 \u2adc \u0340 \u0374 \u037e"),
    _case(_UNICODE, "zero-width joiners", "👩\u200d🚀 👨\u200d👩\u200d👧\u200d👦 क्\u200dष ن\u200cد"),
    _case(_UNICODE, "flags and skin tones", "🇩🇪🇫🇷 👍🏽 ✈️ 1️⃣ 🏴\U000e0067\U000e0062\U000e007f"),
    _case(_UNICODE, "zero-width space and soft hyphen", "zero\u200bwidth soft\u00adhyphen word\u2060joiner"),
    _case(_UNICODE, "literal U+2581", "a\u2581b \u2581 \u2581\u2581c"),
    _case(_UNICODE, "the byte table of GPT-2", "Ġhello Ċ Ã©"),
    _case(_UNICODE, "names of byte entries", "<0x0A> <0xE4><0xBD> ##ing"),
    _case(_UNICODE, "beyond the basic plane", "𝕏 𝔘𝔫𝔦 𠮷野家 𒀀𒁀 \U0010fffd"),
    _case(_UNICODE, "private use", "a\ue000b\uf8ffc"),
    _case(_UNICODE, "case that changes size", "İstanbul ẞ ŉ ǰ Ω"),
    _case(_UNICODE, "right to left", "abc \u202e\u05d0\u05d1\u202c שָׁלוֹם مَرْحَبًا"),
]

_REPEATED = f"{NUM_REPETITIONS:,} repetitions"
_REPETITIONS = [
    *(_case(_REPEATED, repr(char), char * NUM_REPETITIONS) for char in "a \n.0"),
    _case(_REPEATED, "你, a third as often", "你" * (NUM_REPETITIONS // 3)),
    _case(_REPEATED, "🤗, a quarter as often", "🤗" * (NUM_REPETITIONS // 4)),
    Case(_REPEATED, "0x80", b"\x80" * NUM_REPETITIONS),
]

_ENDS = "one character and nothing"
_SMALL = [
    Case(_ENDS, "nothing", b""),
    *(_case(_ENDS, repr(text), text) for text in ("a", " ", "\n", "é", "你", "🤗", "\u2581")),
    Case(_ENDS, "0xF0", b"\xf0"),
]


def cases() -> list[Case]:
    """All of them; names are unique within a group."""
    shipped = [Case(document.category, document.name, document.data) for document in corpus()]
    return [*_KNOWN, *_CUTS, *_INVALIDS, *_CONTROLS, *_UNICODES, *_REPETITIONS, *_SMALL, *shipped]
