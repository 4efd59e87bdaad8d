"""The overlap of vocabularies, by bytes and by string."""

from types import SimpleNamespace

import pytest

from crossdistill.inspection.overlap import overlap
from tests.oracles.inspection import string_overlap


def vocabulary(*pieces: bytes):
    return SimpleNamespace(pieces=pieces)


def test_by_hand():
    student = vocabulary(b"a", b" the", b"\xc3\xa9", b"\xc3", b"", b"a")
    teacher = vocabulary(b"a", b" the", b"\xc3\xa9", "Ã".encode(), b"", b"z")
    ours = {"a": 0, "Ġthe": 1, "Ã©": 2, "Ã": 3, "<s>": 4, "<0x61>": 5}
    theirs = {"a": 0, "▁the": 1, "é": 2, "Ã": 3, "<s>": 4, "z": 5}
    found = overlap(student, teacher, ours, theirs)
    assert (found.student_entries, found.teacher_entries, found.shared) == (4, 5, 3)
    assert found.without_partner == 1  # the single byte
    names = found.by_string
    assert (names.matches, names.false, names.missed) == (3, 1, 1)  # a, the, Ã; Ã has other bytes; é is missed
    assert names.false_examples == ("Ã",)
    assert names.missed_examples == (b"\xc3\xa9",)


def test_a_name_with_bytes_on_one_side_alone_is_a_false_match():
    found = overlap(vocabulary(b""), vocabulary(b"<think>"), {"<think>": 0}, {"<think>": 0})
    assert (found.by_string.matches, found.by_string.false) == (1, 1)


def test_without_names():
    assert overlap(vocabulary(b"a"), vocabulary(b"a")).by_string is None


@pytest.mark.parametrize(("student", "teacher"), [("gpt2", "gemma"), ("llama2", "qwen"), ("qwen", "llama3")])
def test_counts_match_the_definition(tokenizers, vocabs, student, teacher):
    sides = vocabs[student], vocabs[teacher]
    names = tokenizers[student].get_vocab(), tokenizers[teacher].get_vocab()
    found, expected = overlap(*sides, *names), string_overlap(*sides, *names)
    assert found.shared == expected.pop("shared")
    assert {key: getattr(found.by_string, key) for key in expected} == expected
    assert expected["missed"] > 0 or student == "qwen"
