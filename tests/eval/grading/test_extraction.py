"""Boxes against a slow reading of them, and texts that would make a careless pattern run for hours."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdistill.eval.grading.extraction import boxes, last_answer, last_letter
from crossdistill.eval.grading.notation import same
from crossdistill.eval.grading.program import find_program
from tests.oracles.boxes import slow_boxes

PARTS = st.lists(
    st.sampled_from([r"\boxed{", r"\fbox{", r"\boxed {", "{", "}", r"\{", r"\}", r"\\", "a", " ", "1", "$"])
)


@given(PARTS.map("".join))
def test_boxes_as_slowly_read(text: str) -> None:
    assert [content for _, content in boxes(text)] == slow_boxes(text)


@pytest.mark.parametrize(
    "unit",
    ["{", "}", r"\boxed{", r"\boxed ", "#### ", "####", "answer ", "Answer: ", "answer is $", "answer is 1",
     "the answer is 1,234 + ", "(A) or ", "A, ", "**", "*_`([", "\\",
     " ", "\t", "\n", "```python\n", "~~~ ", "```", "1,", "12", "1 2/3 ", "= ", "x=", "a ", r"\text{a", "1 million "],
)  # fmt: skip
def test_a_repeated_text_takes_linear_time(unit: str) -> None:
    """A model that degenerates writes such texts; with a pattern of quadratic cost this test would not end."""
    text = unit * (100_000 // len(unit))
    last_answer(text)
    last_letter(text, "ABCD")
    find_program(text)
    same("5", text[:1000])
