"""Pages in a headless Chromium, wide and on a phone: nothing is loaded, nothing is cut off, everything can be read.

With CROSSDISTILL_SCREENSHOTS set to a folder, each page is left there as a picture, to be looked at.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tools.chromium import PATIENCE_MS

pytestmark = pytest.mark.browser

PAGES = ("report", "inspection", "alignment", "comparison", "cost", "arena")
WIDTHS = {"wide": 1400, "phone": 390}
SCHEMES = ("light", "dark")
MIN_TEXT_PX = 12
# what is folded, or left out of the layout while it is out of sight
SHOW_ALL = """
() => {
    for (const details of document.querySelectorAll("details")) details.open = true;
    for (const block of document.querySelectorAll(".long")) block.style.contentVisibility = "visible";
}
"""
# the smallest text that is shown, with the scale of the drawing that it stands in
SMALL_TEXT = """
minimum => {
    const found = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement;
        if (!walker.currentNode.data.trim() || !element.checkVisibility() || /^(SCRIPT|STYLE)$/.test(element.tagName))
            continue;
        const matrix = element.ownerSVGElement ? element.getScreenCTM() : null;
        const size = parseFloat(getComputedStyle(element).fontSize) * (matrix ? Math.hypot(matrix.a, matrix.b) : 1);
        if (size < minimum - 0.01) found.push(`${walker.currentNode.data.trim().slice(0, 40)}: ${size.toFixed(1)} px`);
    }
    return found;
}
"""
# elements that reach beyond the right edge and do not lie in a box that scrolls
TOO_WIDE = """
() => [...document.querySelectorAll("main *, footer *")]
    .filter(element => element.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5)
    .filter(element => !element.closest(".scroll, .contents ol, pre"))
    .map(element => element.outerHTML.slice(0, 120))
"""
# words of Latin letters that are broken inside; a break after a hyphen, slash or underscore parts words, and one longer
# than a phone is wide cannot be shown whole
BROKEN_WORDS = """
() => {
    const found = [];
    const range = document.createRange();
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const node = walker.currentNode;
        if (!node.parentElement.checkVisibility() || node.parentElement.closest("svg, script, style"))
            continue;
        for (const word of node.data.matchAll(/(?<![\\p{L}\\d])[\\p{Script=Latin}\\d]{2,30}(?![\\p{L}\\d])/gu)) {
            range.setStart(node, word.index);
            range.setEnd(node, word.index + word[0].length);
            const lines = new Set([...range.getClientRects()].map(box => Math.round(box.top)));
            if (lines.size > 1) found.push(word[0]);
        }
    }
    return found;
}
"""
# texts of a drawing, or labels of chunks, that lie on each other or are cut off at the drawing's edge
OVERLAPS = """
() => {
    const found = [];
    const collide = (one, other) =>
        Math.min(one.right, other.right) - Math.max(one.left, other.left) > 1 &&
        Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top) > 3;
    const compare = (labels, reach) => {
        const boxes = labels.map(label => label.getBoundingClientRect());
        for (let i = 0; i < labels.length; i++)
            for (let k = i + 1; k < Math.min(labels.length, i + 1 + reach); k++)
                if (collide(boxes[i], boxes[k])) found.push(`${labels[i].textContent} on ${labels[k].textContent}`);
    };
    for (const drawing of document.querySelectorAll("svg")) {
        const edge = drawing.getBoundingClientRect();
        const texts = [...drawing.querySelectorAll("text")];
        compare(texts, texts.length);
        for (const text of texts) {
            const box = text.getBoundingClientRect();
            const beyond = [edge.left - box.left, box.right - edge.right, edge.top - box.top, box.bottom - edge.bottom];
            if (Math.max(...beyond) > 2)
                found.push(`${text.textContent} is cut`);
        }
    }
    compare([...document.querySelectorAll(".kind")].filter(label => label.checkVisibility()), 3);
    return found;
}
"""
# boxes that scroll sideways and do not look so
UNMARKED_SCROLL = """
() => [...document.querySelectorAll("main *")]
    .filter(element => element.scrollWidth > element.clientWidth + 1)
    .filter(element => /auto|scroll/.test(getComputedStyle(element).overflowX))
    .filter(element => !getComputedStyle(element).backgroundImage.includes("gradient"))
    .map(element => element.outerHTML.slice(0, 120))
"""


@dataclass
class Shown:
    """A page that is open, and what it did while it was opened."""

    page: Any
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@pytest.fixture(params=SCHEMES)
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=WIDTHS)
def width(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=PAGES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def shown(browser: Any, written: dict[str, Path], name: str, width: str, scheme: str) -> Iterator[Shown]:
    size = {"width": WIDTHS[width], "height": 844}
    context = browser.new_context(viewport=size, color_scheme=scheme, is_mobile=width == "phone", offline=True)
    context.set_default_timeout(PATIENCE_MS)
    seen = Shown(context.new_page())
    seen.page.on("request", lambda request: seen.requests.append(request.url))
    seen.page.on("console", lambda message: seen.complaints.append(message.text))
    seen.page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    seen.page.goto(written[name].as_uri())
    seen.page.evaluate(SHOW_ALL)
    yield seen
    context.close()


def test_a_page_can_be_read(shown: Shown, written: dict[str, Path], name: str, width: str, scheme: str) -> None:
    if folder := os.environ.get("CROSSDISTILL_SCREENSHOTS"):
        shown.page.screenshot(path=Path(folder) / f"{name}-{width}-{scheme}.png", full_page=True)
    assert shown.requests == [written[name].as_uri()]
    assert shown.complaints == []
    assert shown.page.evaluate(TOO_WIDE) == []
    scrolled, seen = shown.page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert scrolled <= seen
    assert shown.page.evaluate(SMALL_TEXT, MIN_TEXT_PX) == []
    assert shown.page.evaluate(BROKEN_WORDS) == []
    assert shown.page.evaluate(OVERLAPS) == []
    assert shown.page.evaluate(UNMARKED_SCROLL) == []


# --- the checks above are themselves checked

SVG = "<svg viewBox='0 0 200 50' width='200'>{}</svg>"
SCROLLING = '<div style="overflow-x: auto"><p style="width: 2000px">wide</p></div>'
MARKED = (UNMARKED_SCROLL, None, None)


@pytest.mark.parametrize(
    ("body", "script", "argument", "found"),
    [
        ("<p style='font-size: 11px'>small</p>", SMALL_TEXT, MIN_TEXT_PX, "small: 11.0 px"),
        ("<p style='font-size: 12px'>fine</p>", SMALL_TEXT, MIN_TEXT_PX, None),
        (
            "<svg viewBox='0 0 200 10' width='100'><text font-size='14'>half</text></svg>",
            SMALL_TEXT,
            12,
            "half: 7.0 px",
        ),
        ("<main><p style='width: 2000px'>wide</p></main>", TOO_WIDE, None, '<p style="width: 2000px">wide</p>'),
        ("<main class='scroll'><p style='width: 2000px'>scrolls</p></main>", TOO_WIDE, None, None),
        ("<p style='width: 2em; overflow-wrap: anywhere'>broken</p>", BROKEN_WORDS, None, "broken"),
        ("<p style='width: 2em'>not-broken</p>", BROKEN_WORDS, None, None),
        (SVG.format("<text y='15'>one</text><text y='16' x='5'>two</text>"), OVERLAPS, None, "one on two"),
        (SVG.format("<text y='15'>one</text><text y='40'>two</text>"), OVERLAPS, None, None),
        (SVG.format("<text y='15' x='190'>one</text>"), OVERLAPS, None, "one is cut"),
        (f"<main>{SCROLLING}</main>", UNMARKED_SCROLL, None, SCROLLING),
        (f"<main>{SCROLLING}</main>".replace("auto", "auto; background: linear-gradient(red, blue)"), *MARKED),
    ],
)
def test_what_cannot_be_read_is_found(browser: Any, body: str, script: str, argument: Any, found: str | None) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.set_default_timeout(PATIENCE_MS)
    page.set_content(body)
    assert page.evaluate(script, argument) == ([] if found is None else [found])
    page.close()


def test_a_request_and_an_error_are_seen(browser: Any) -> None:
    page = browser.new_page()
    seen: list[str] = []
    page.on("request", lambda request: seen.append(request.url))
    page.on("console", lambda message: seen.append(message.type))
    page.route("**", lambda route: route.abort())
    page.set_content("<img src='http://example.invalid/a.png'><script>console.error('no')</script>")
    assert {"http://example.invalid/a.png", "error"} <= set(seen)
    page.close()
