"""Bytes, numbers and names as a reader sees them."""

from typing import Any

import pytest

from crossdistill.report import format
from crossdistill.report.format import display, model_name, plain, whole_characters

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


@pytest.mark.parametrize(
    ("model", "name"), [("org/model", "org/model"), ("/a/b/student", "student"), ("./runs/x/model", "model")]
)
def test_a_model_is_named_without_its_path(model: str, name: str) -> None:
    assert model_name(model) == name


@pytest.mark.parametrize(
    ("function", "value", "shown"),
    [
        (format.nats, -1.234, "−1.23"),
        (format.nats, -0.001, "0.00"),
        (format.nats, None, "–"),
        (format.nats, float("nan"), "–"),
        (format.signed, 0.5, "+0.50"),
        (format.signed, -10.0, "−10.00"),
        (format.signed, 0.001, "0.00"),
        (format.count, 1234567, "1,234,567"),
        (format.percent, 0.5, "50.0 %"),
        (format.percent, 0.0, "0.0 %"),
        (format.percent, 1e-6, "< 0.1 %"),
        (format.percent, 0.99999, "> 99.9 %"),
        (format.percent, 1.0, "100.0 %"),
        (format.si, 999, "999"),
        (format.si, 999.6, "1 k"),
        (format.si, 3.42e15, "3.42 P"),
        (format.duration, 5.25, "5.25 s"),
        (format.duration, 59.9 + 60, "2 min 00 s"),
        (format.duration, 7384, "2 h 03 min"),
        (format.duration, "soon", "–"),
        (format.tint, 0.04, ""),
        (format.tint, 0.5, "up2"),
        (format.tint, -7.0, "down4"),
    ],
)
def test_number(function: Any, value: Any, shown: str) -> None:
    assert function(value) == shown
