"""tools/objective_tables.py: the tables are up to date, and a page that contradicts its objective is refused."""

from __future__ import annotations

import pytest

from tests.tools.test_fetch_real_models import load_script

tool = load_script("objective_tables")

ALM = {"signal": "dense; sampled with `debias = false`", "given text": "yes"}
DPCA = {
    "signal": 'sampled; dense with `credit = "marginal"`; top k with `credit = "marginal", top_k = 64`',
    "given text": "no",
}


def test_the_tables_are_those_of_the_pages() -> None:
    page = (tool.ROOT / tool.PAGE).read_text(encoding="utf-8")
    assert tool.updated(page) == page, "run tools/objective_tables.py"


def test_a_page_without_its_place_for_a_table_is_refused() -> None:
    with pytest.raises(tool.PageError, match="no place for the table 'comparison'"):
        tool.updated("# Objectives\n")


@pytest.mark.parametrize(("name", "rows"), [("alm", ALM), ("dpca", DPCA)])
def test_facts_that_hold_are_accepted(name: str, rows: dict[str, str]) -> None:
    tool.check_facts(name, rows)


@pytest.mark.parametrize(
    ("name", "rows", "message"),
    [
        ("alm", ALM | {"signal": "sampled"}, "by default the signal of alm is dense"),
        (
            "alm",
            ALM | {"signal": "dense; top k with `debias = false`"},
            "with `debias = false` the signal of alm is sam",
        ),
        ("alm", ALM | {"given text": "no"}, "whether alm holds on given text: yes, not 'no'"),
        ("dpca", DPCA | {"given text": "yes"}, "whether dpca holds on given text: no, not 'yes'"),
    ],
)
def test_facts_that_do_not_hold_are_refused(name: str, rows: dict[str, str], message: str) -> None:
    with pytest.raises(tool.PageError, match=message):
        tool.check_facts(name, rows)


def test_a_page_that_lacks_a_row_is_refused() -> None:
    with pytest.raises(tool.PageError, match="lacks compares, cost, exact, given text, when to use"):
        tool.glance("| at a glance | |\n|---|---|\n| signal | dense |\n\ntext\n")
    with pytest.raises(tool.PageError, match="no table"):
        tool.glance("# alm\n")
