"""The pictures of `make screenshots`."""

import struct
from pathlib import Path
from typing import Any

import pytest

from tools.screenshots import MOST_PIXELS, take_pictures

pytestmark = pytest.mark.browser


def size_of(picture: Path) -> tuple[int, ...]:
    return struct.unpack(">II", picture.read_bytes()[16:24])  # in the header of a PNG


def test_each_page_is_pictured_wide_and_on_a_phone_light_and_dark(browser: Any, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<meta name='viewport' content='width=device-width'><p style='height: 20000px'>long</p>")
    take_pictures(browser, [page], tmp_path / "pictures")
    found = {path.name: size_of(path) for path in (tmp_path / "pictures").iterdir()}
    assert found == {
        f"page-{width}-{scheme}.png": (width, MOST_PIXELS) for width in (1400, 390) for scheme in ("light", "dark")
    }
