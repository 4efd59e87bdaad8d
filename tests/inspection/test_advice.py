"""The words about each objective."""

from collections import Counter
from dataclasses import dataclass

import pytest

from crossdistill.inspection import Measure
from crossdistill.inspection.advice import advice, general_advice
from crossdistill.inspection.overlap import Overlap
from crossdistill.objectives import Objective, available, get
from crossdistill.objectives.uld import ULD
from crossdistill.signal import Signal

# 30 chunks 1:1, ten 2:1 and five 1:3 of 55 student tokens, 90 of 100 bytes in them
TOTAL = Measure(
    bytes=100,
    supervised_bytes=90,
    student_tokens=55,
    one_to_one_tokens=30,
    chunks=Counter({(1, 1): 30, (2, 1): 10, (1, 3): 5}),
)
SOME = Overlap(student_entries=1200, teacher_entries=900, shared=800, without_partner=400, by_string=None)


def reason(name: str, **options: object) -> str:
    (found,) = advice(TOTAL, [get(name, **options)])
    return found.reason


def test_every_objective_has_words_of_its_own():
    assert [entry.objective for entry in advice(TOTAL)] == list(available())
    assert {entry.objective: entry.signal for entry in advice(TOTAL)} == {
        name: get(name).signal.value for name in available()
    }
    assert not [name for name in available() if type(get(name)).describe is Objective.describe]


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
        ("expected", "90.0 % of the bytes: from all tokens whose probability"),
        ("escd", "at the starts of 45 chunks, and asks the student to complete"),
        ("bld", "the next byte, 90.0 % of the bytes"),
    ],
)
def test_the_words_are_about_the_pair(name, words):
    assert words in reason(name)


@pytest.mark.parametrize(
    ("name", "options", "words", "gone"),
    [
        ("alm", {"debias": False}, "in 45 chunks; needs the teacher's log-probability", "debias"),
        ("strict", {"top_k": 8}, "the shared ones among the teacher's 8 most likely entries there", "with top_k"),
        ("strict", {"top_k": 8, "chosen_by": "student"}, "the student's 8 most likely shared entries", "with top_k"),
        ("escd", {"child_weight": 0.0}, "at the starts of 45 chunks; needs", "complete"),
        ("strict", {"top_k": 8, "tail": True}, "8 most likely entries there, and all else as one entry", "with top_k"),
        (
            "strict",
            {"top_k": 8, "chosen_by": "student", "tail": True, "teacher_top_k": 20},
            "if the teacher names them among its 20, and all else as one entry; needs",
            "with top_k",
        ),
        ("simct", {"unit": False}, "shared entries, at the starts of 45 chunks; needs", "candidates"),
        ("simct", {"one_to_one": True}, "shared entries, at 30 1:1 chunks; needs", "candidates"),
        ("gold", {"hybrid": False}, "all entries by rank, in 45 chunks", "by name"),
        ("cdm", {"max_distance": 0.0}, "maps tokens to shared entries, in 45 chunks", "similar"),
    ],
)
def test_the_words_are_about_the_options(name, options, words, gone):
    assert words in reason(name, **options)
    assert gone not in reason(name, **options)


@pytest.mark.parametrize(
    ("name", "words"), [("dpca", "every teacher gives"), ("cdm", "as a server gives them"), ("bpm", "in this process")]
)
def test_the_teacher_that_it_needs_is_named(name, words):
    assert words in reason(name)


def test_an_objective_of_ones_own_is_described_too():
    (entry,) = advice(TOTAL, [Foreign()])
    assert (entry.objective, entry.signal) == ("foreign", Signal.DENSE.value)
    assert entry.reason.startswith("supervises at most 90.0 % of the bytes, in 45 chunks; needs the teacher's whole")


@dataclass(frozen=True)
class Foreign(ULD):
    name = "foreign"
    describe = Objective.describe


def test_what_is_shared_is_counted():
    assert "800 of the student's 1,200 entries" in general_advice(TOTAL, SOME)
    none = Overlap(student_entries=3, teacher_entries=4, shared=0, without_partner=3, by_string=None)
    words = general_advice(TOTAL, none)
    assert "share no entry" in words
    assert "would take bpm with a teacher in this process, and dpca with one that gives less" in words
