"""What is said of each objective, and that it is the choice that a run makes."""

from collections import Counter

import pytest

from crossdistill.inspection import Measure
from crossdistill.inspection.advice import USES, advice, choices, general_advice
from crossdistill.inspection.choice import choose
from crossdistill.inspection.overlap import Overlap, overlap
from crossdistill.objectives import VocabPair, available, get
from crossdistill.signal import Signal
from tests.objectives.cases import LETTERS_APART, vocab

# 30 chunks 1:1, ten 2:1 and five 1:3 of 55 student tokens, 90 of 100 bytes in them
TOTAL = Measure(
    bytes=100,
    supervised_bytes=90,
    student_tokens=55,
    one_to_one_tokens=30,
    chunks=Counter({(1, 1): 30, (2, 1): 10, (1, 3): 5}),
)
SOME = Overlap(student_entries=1200, teacher_entries=900, shared=800, without_partner=400, by_string=None)


def said_of(name: str) -> str:
    (found,) = [entry for entry in advice(TOTAL) if entry.objective == name]
    return found.reason


def test_every_objective_has_words_of_its_own():
    assert set(USES) == set(available())
    assert [entry.objective for entry in advice(TOTAL)] == list(available())
    assert {entry.objective: entry.signal for entry in advice(TOTAL)} == {
        name: get(name).signal.value for name in available()
    }


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("strict", "1:1 chunks alone, 54.5 % of the student's tokens"),
        ("shared_vocab", "shared entries, at the starts of 45 chunks"),
        ("simct", "15 of these, not 1:1"),
        ("gold", "the other entries by rank"),
        ("cdm", "similar spelling"),
        ("uld", "no entry need be shared"),
        ("multilevel_ot", "no entry need be shared"),
        ("gkd", "one vocabulary alone"),
        ("dpca", "90.0 % of the bytes; 36.4 % of the student's tokens share"),
        ("alm", "90.0 % of the bytes in 45 chunks"),
        ("bpm", "every student token, 90.0 % of the bytes"),
        ("bld", "the next byte, 90.0 % of the bytes"),
    ],
)
def test_the_words_are_about_the_pair(name, words):
    assert words in said_of(name)


@pytest.mark.parametrize(
    ("name", "words"), [("dpca", "every teacher gives"), ("cdm", "as a server gives them"), ("bpm", "in this process")]
)
def test_the_teacher_that_it_needs_is_named(name, words):
    assert words in said_of(name)


def test_what_is_shared_is_counted():
    assert "800 of the student's 1,200 entries" in general_advice(TOTAL, SOME)
    none = Overlap(student_entries=3, teacher_entries=4, shared=0, without_partner=3, by_string=None)
    told = general_advice(TOTAL, none)
    assert "share no entry" in told
    assert "would take bpm with a teacher in this process, dpca with one that names" in told


def measure(one_to_one: int) -> Measure:
    return Measure(student_tokens=100, one_to_one_tokens=one_to_one)


@pytest.mark.parametrize("one_to_one", [0, 49, 50, 100])
@pytest.mark.parametrize("kind", ["two", "one", "apart"])
def test_what_auto_would_take_is_what_it_takes(vocabs, kind, one_to_one):
    sides = {
        "two": (vocabs["gpt2"], vocabs["gemma"]),
        "one": (vocabs["gpt2"], vocabs["gpt2"]),
        "apart": (vocab(LETTERS_APART[0]), vocab(LETTERS_APART[1])),
    }[kind]
    pair, total = VocabPair(*sides), measure(one_to_one)
    told = choices(total, overlap(*sides))
    for words, signal in zip(told, (Signal.DENSE, Signal.TOPK, Signal.SAMPLED), strict=True):
        choice = choose(signal, None, pair, lambda: total)
        assert words.split(" ")[0] == choice.objective
        for option, value in choice.options.items():
            assert f"{option} = {value}" in words
    assert all(words in general_advice(total, overlap(*sides)) for words in told)
