"""The documentation in a headless Chromium, from files and without a network: formulas are set, search finds."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.snippets import ROOT

pytestmark = pytest.mark.browser

DOCS = ROOT / "docs"
PAGES = sorted(str(path.relative_to(DOCS).with_suffix("")) for path in DOCS.rglob("*.md"))
# formulas that were not set, or that KaTeX could not read
UNSET = """
() => [...document.querySelectorAll(".arithmatex")]
    .filter(formula => !formula.querySelector(".katex-html") || formula.querySelector(".katex-error"))
    .map(formula => formula.textContent.slice(0, 80))
"""
# faces of KaTeX that the page uses and that could not be loaded
LOST_FONTS = """
async () => {
    await document.fonts.ready;
    return [...document.fonts].filter(face => face.status === "error").map(face => face.family + face.style);
}
"""


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as `make docs` builds it."""
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    folder = tmp_path_factory.mktemp("site")
    build(load_config(str(ROOT / "mkdocs.yml"), strict=True, site_dir=str(folder)))
    return folder


class Reader:
    """A page without a network, with what it asked for and what it complained about."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.asked: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("requestfailed", lambda request: self.complaints.append(request.url))
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def elsewhere(self) -> list[str]:
        return [url for url in self.asked if not url.startswith(("file://", "data:"))]


@pytest.fixture
def reader(browser: Any) -> Iterator[Reader]:
    context = browser.new_context(viewport={"width": 1200, "height": 844}, offline=True)
    context.set_default_timeout(120_000)  # large pages on a busy machine
    yield Reader(context.new_page())
    context.close()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_needs_no_network_and_its_formulas_are_set(site: Path, reader: Reader, name: str) -> None:
    reader.page.goto((site / f"{name}.html").as_uri())
    written = re.search(r"\$\$.+?\$\$", re.sub(r"`[^`]*`", "", (DOCS / f"{name}.md").read_text()), flags=re.DOTALL)
    if written:
        assert reader.page.locator(".katex-display").count() > 0
    assert reader.page.evaluate(UNSET) == []
    assert reader.page.evaluate(LOST_FONTS) == []
    assert reader.elsewhere() == []
    assert reader.complaints == []


def test_search_finds_without_a_server(site: Path, reader: Reader) -> None:
    reader.page.goto((site / "index.html").as_uri())
    reader.page.locator(".md-search__input").first.click()
    reader.page.keyboard.type("synchronisation point")
    first = reader.page.locator(".md-search-result__link").first
    first.wait_for()
    assert "synchronisation" in reader.page.locator(".md-search-result__list").inner_text().lower()
    first.click()
    reader.page.wait_for_url(lambda url: "index.html" not in url)
    assert reader.elsewhere() == []
    assert reader.complaints == []


def test_a_formula_that_is_not_set_is_found(reader: Reader) -> None:
    reader.page.set_content(r"<span class='arithmatex'>\(x\)</span>")
    assert reader.page.evaluate(UNSET) == [r"\(x\)"]
