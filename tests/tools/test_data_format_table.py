"""tools/data_format_table.py: the table shows what `train` and `sft` make of each format."""

from __future__ import annotations

from tests.tools.test_fetch_real_models import load_script

tool = load_script("data_format_table")


def test_the_table_is_what_the_formats_are_read_as() -> None:
    page = (tool.ROOT / tool.PAGE).read_text(encoding="utf-8")
    assert tool.updated(page) == page, "run tools/data_format_table.py"


def test_every_format_is_there() -> None:
    from crossdistill.train.data_format import DataFormat

    assert {DataFormat.of(list(row), "") for _, row, _ in tool.EXAMPLES if "input_ids" not in row} == set(DataFormat)
