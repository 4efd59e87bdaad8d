"""Hidden tests of LiveCodeBench are read without unpickling anything but a text."""

import base64
import json
import pickle
import zlib
from collections import OrderedDict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdistill.eval.tasks.contest_tests import pickled_text, unpacked_tests

TESTS = [{"input": "2 2\n", "output": "4\n", "testtype": "stdin"}]


def packed(value: object, protocol: int | None = None) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(value, protocol))).decode()


def wrapped(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data)).decode()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol(protocol):
    assert unpacked_tests(packed(json.dumps(TESTS), protocol)) == TESTS


def test_plain_json():
    assert unpacked_tests(json.dumps(TESTS)) == TESTS


@given(st.text(), st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_every_text(text, protocol):
    data = pickle.dumps(text, protocol)
    assert pickled_text(data) == pickle.loads(data) == text


def test_a_text_that_is_larger_than_a_frame():
    text = "x" * 200_000
    assert pickled_text(pickle.dumps(text)) == text


class Attack:
    """Unpickled, it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.write_text, (self.path, "harm"))


def test_a_program_in_a_pickle_is_not_run(tmp_path):
    harm = tmp_path / "harm"
    text = packed(Attack(harm))
    with pytest.raises(ValueError, match="their pickle does more than name a text"):
        unpacked_tests(text)
    assert not harm.exists()
    pickle.loads(zlib.decompress(base64.b64decode(text)))
    assert harm.exists()  # it would have been run


@pytest.mark.parametrize(
    "value", [TESTS, ["a", "b"], b"bytes", 7, None, ("text",), OrderedDict(a="text"), len, 2**4000]
)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_anything_but_a_text_is_refused(value, protocol):
    with pytest.raises(ValueError, match="their pickle"):
        pickled_text(pickle.dumps(value, protocol))


@pytest.mark.parametrize(
    "data",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"S'text'\n.",  # STRING of protocol 0, whose quotes Python evaluates
        b"Vone\nVtwo\n.",
        b"Vtext\n0.",
        b"P123\n.",
        b"\x80\x05\x95",
        pickle.dumps("text")[:-1] + b"\x94" * 10_000 + b".",
        b"Vtext\n",
        b"",
    ],
)
def test_pickles_by_hand_are_refused(data):
    with pytest.raises(ValueError):
        pickled_text(data)


def test_a_bomb_is_refused_before_it_is_unpacked(monkeypatch):
    bomb = wrapped(b"0" * 50_000_000)
    assert len(bomb) < 100_000
    with pytest.raises(ValueError, match=r"^they are larger than 1000000 bytes$"):
        unpacked_tests(bomb, max_bytes=1_000_000)


def test_the_limit_itself_is_allowed():
    data = pickle.dumps(json.dumps(TESTS))
    assert unpacked_tests(wrapped(data), max_bytes=len(data)) == TESTS
    with pytest.raises(ValueError, match="larger than"):
        unpacked_tests(wrapped(data), max_bytes=len(data) - 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no base64!", "neither JSON nor base64"),
        (base64.b64encode(b"not zlib").decode(), "not compressed by zlib"),
        (base64.b64encode(zlib.compress(pickle.dumps("[]"))[:-6]).decode(), "cut off"),
        (packed("[1, 2"), "Expecting"),
        ('[{"input": ', "Expecting"),
    ],
)
def test_broken(text, message):
    with pytest.raises(ValueError, match=message):
        unpacked_tests(text)
