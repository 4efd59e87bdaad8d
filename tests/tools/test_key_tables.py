"""tools/key_tables.py: the pages list every key of every file, with its type, default and meaning."""

from __future__ import annotations

import re

import pytest

from crossdistill.keys.key import Key
from crossdistill.runs.keys import TRAIN
from tests.tools.test_fetch_real_models import load_script

tool = load_script("key_tables")
PAGE, API = ("docs/keys.md", "docs/api.md")


def built(page: str) -> str:
    text: str = tool.on_page_markdown((tool.ROOT / page).read_text(encoding="utf-8"))
    return text


@pytest.fixture(scope="module")
def keys() -> str:
    return built(PAGE)


@pytest.mark.parametrize("name", tool.FILES)
def test_every_key_of_every_file_is_on_the_page(name: str, keys: str) -> None:
    for table in tool.FILES[name]:
        for key in table.keys:
            row = re.search(rf"^\| `{key.name}` \| (.+?) \| (.+?) \| (.+) \|$", keys, flags=re.MULTILINE)
            assert row and row[3].strip(), key.name
    assert "<!--" not in keys


def test_ours_come_before_those_of_the_libraries(keys: str) -> None:
    titles = [
        "### `[train]`\n",
        "### `[train]`, TRL's own",
        "### `[train]`, transformers' own",
        "### `[lora]`, peft's own",
    ]
    places = [keys.index(title) for title in titles]
    assert places == sorted(places)


def test_a_row_says_type_default_and_meaning() -> None:
    keys = [Key("a", "int | None", "None", "One | of <two> `x|y`."), Key("b", "str", None, "*B*.")]
    assert tool.as_markdown(keys).splitlines()[2:] == [
        r"| `a` | `int | None` | `None` | One \| of \<two\> `x|y`. |",
        r"| `b` | `str` | must be given | \*B\*. |",
    ]


def test_the_api_lists_the_fields_of_configurations() -> None:
    page = built(API)
    for name in (key.name for key in TRAIN.keys if key.is_ours):
        assert f"| `{name}` |" in page
    for name in ("objective", "student", "rates", "max_new_tokens", "limit"):
        assert f"| `{name}` |" in page
    assert "| `weight_decay` |" not in page  # a link leads to TRL's and transformers'


def test_an_unknown_file_is_an_error() -> None:
    with pytest.raises(KeyError, match="tarin"):
        tool.on_page_markdown("<!-- keys of tarin -->")


def test_the_hook_is_called_when_the_pages_are_built() -> None:
    assert "hooks: [tools/key_tables.py]" in (tool.ROOT / "mkdocs.yml").read_text(encoding="utf-8")
