"""Letters with known verdicts."""

import pytest

from crossdistill.eval.grading.choice import ChoiceGrader
from crossdistill.eval.grading.extraction import last_letter
from crossdistill.eval.grading.verdict import Verdict
from crossdistill.eval.problem import Problem
from tests.eval.grading.recorded import rows


def test_responses_with_known_letters() -> None:
    table = rows("choices")
    assert len(table) > 90
    found = ChoiceGrader("ABCD").grade((Problem("", "", gold), response) for gold, response, _ in table)
    expected = [(None if letter == "-" else letter, letter == gold) for gold, _, letter in table]
    said = [(verdict.extracted, verdict.correct) for verdict in found]
    assert not [rest for rest in zip(table, said, expected, strict=True) if rest[1] != rest[2]]


@pytest.mark.parametrize("letter", "ABCDEFGHIJ")
def test_every_letter_of_ten(letter: str) -> None:
    for text in (
        f"Answer: {letter}",
        f"({letter})",
        f"**{letter}**",
        rf"\boxed{{{letter}}}",
        f"the answer is {letter}.",
    ):
        assert last_letter(text, "ABCDEFGHIJ") == letter
        assert last_letter(text, [other for other in "ABCDEFGHIJ" if other != letter]) is None


def test_why_no_letter_was_read() -> None:
    [verdict] = ChoiceGrader().grade([(Problem("", "", "A"), "A good question.")])
    assert verdict == Verdict(correct=False, extracted=None, reason="no letter is chosen")
