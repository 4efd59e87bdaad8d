import pytest

from crossdistill.report.format import display, plain, whole_characters

EURO = "€".encode()  # e2 82 ac


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"", ""),
        (b" a\n\tb", "␣a⏎⇥b"),
        ("né 東".encode(), "né␣東"),
        (EURO[:2], r"\xe2\x82"),
        (b"a" + EURO[2:], r"a\xac"),
        (b"\x00\x1b\x7f\r", r"\x00\x1b\x7f\x0d"),
        ("\u202e".encode(), r"\xe2\x80\xae"),  # would turn the rest of the line around
        ("\u0301".encode(), "◌\u0301"),
        (b"\\frac", "\\frac"),
        (b"\xed\xa0\x80", r"\xed\xa0\x80"),  # a surrogate is not text
    ],
)
def test_display(data: bytes, shown: str) -> None:
    assert display(data) == shown


def test_plain_keeps_lines_and_disarms_escapes() -> None:
    assert plain("a b\n\tc\x1b[31m") == "a b\n\tc\\x1b[31m"
    assert plain("\ud800") == r"\xed\xa0\x80"


@pytest.mark.parametrize(
    ("start", "end", "characters"),
    [(0, 1, None), (1, 2, "€"), (2, 3, "€"), (1, 3, "€"), (3, 4, "€"), (1, 4, None), (0, 2, "a€"), (4, 5, None)],
)
def test_whole_characters(start: int, end: int, characters: str | None) -> None:
    assert whole_characters(b"a" + EURO + b"b", start, end) == characters


def test_bytes_that_are_never_text_have_no_characters() -> None:
    assert whole_characters(b"\xff\xfe", 0, 1) is None
    assert whole_characters(EURO[:2], 0, 1) is None
    assert whole_characters("\u200d".encode(), 0, 1) is None  # it is text, but nothing that one could see
