"""tools/finding_tables.py: the tables are up to date, and every sentence is one."""

from __future__ import annotations

import re

import pytest

from tests.tools.test_fetch_real_models import load_script

tool = load_script("finding_tables")


def test_the_tables_are_those_of_the_findings() -> None:
    page = (tool.ROOT / tool.PAGE).read_text(encoding="utf-8")
    assert tool.updated(page) == page, "run tools/finding_tables.py"


def test_a_page_without_its_place_for_a_table_is_refused() -> None:
    with pytest.raises(tool.PageError, match="no place for the table 'refusal'"):
        tool.updated("# Refusals\n")


def test_every_sentence_ends_and_every_harm_is_a_clause() -> None:
    for kind in tool.kinds():
        assert re.search(r"\.$|[.:] ?\{\w+\}$", kind.sentence), kind.name
        assert kind.harm and not kind.harm.endswith("."), kind.name
        assert re.fullmatch(r"[a-z0-9_]+", kind.name), kind.name


def test_placeholders_are_in_italics_and_markup_is_escaped() -> None:
    assert tool._shown("the {side}'s <s> {name!r} of {size:,} {{a}}.") == "the *side*'s \\<s\\> *name* of *size* {a}."
