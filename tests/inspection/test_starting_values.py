from itertools import product

import pytest

from crossdistill.inspection.starting_values import FEWEST_LARGE, STARTING_VALUES, markdown_table, starting_values
from tests.snippets import ROOT


@pytest.mark.parametrize(("is_large", "is_lora"), list(product([False, True], repeat=2)))
def test_every_class_has_one_default(is_large: bool, is_lora: bool) -> None:
    defaults = [
        values
        for values in STARTING_VALUES
        if values.is_default and values.is_large is is_large and (values.rank is not None) is is_lora
    ]
    assert len(defaults) == 1
    assert starting_values(FEWEST_LARGE - (not is_large), is_lora) is defaults[0]
    assert defaults[0].length is not None
    assert defaults[0].steps is not None


def test_every_source_is_an_address_a_page_or_the_paper() -> None:
    for values in STARTING_VALUES:
        if values.source.startswith("docs/"):
            assert (ROOT / values.source).is_file()
        else:
            assert values.source.startswith(("https://", "Breaking the Tokenizer Barrier"))


def test_the_page_has_the_table() -> None:
    assert markdown_table() in (ROOT / "docs" / "starting.md").read_text(encoding="utf-8")
