"""A headless Chromium, for tests and pictures of pages."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

OPTIONS = (
    *("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
PATIENCE_MS = 600_000
"""A machine that does much else takes minutes to start a browser, and to show a page."""


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser: CHROMIUM names the program, by default the one of the distribution."""
    from playwright.sync_api import sync_playwright

    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    assert program is not None, "install Chromium (apt-get install chromium), or name it in CHROMIUM"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=OPTIONS, chromium_sandbox=False, timeout=PATIENCE_MS
        )
        yield browser
        browser.close()
