"""A real browser for tests of pages; they are skipped, with the reason, where there is none."""

import os
import shutil

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
OWN_SCHEMES = ("file:", "data:", "blob:", "about:")

if CHROMIUM is None:
    pytest.skip("no Chromium: `apt-get install chromium`, or name one in CHROMIUM", allow_module_level=True)
playwright = pytest.importorskip("playwright.sync_api")


def scroll_through(page):
    """Go down the page a screen at a time, as a reader does, and wait until every figure is drawn."""
    page.evaluate(
        """async () => {
            for (let y = 0; y <= document.body.scrollHeight; y += 600) {
                window.scrollTo(0, y);
                await new Promise((done) => setTimeout(done, 60));
            }
        }"""
    )
    drawn = "() => document.querySelectorAll('.afd-figure:not([data-drawn])').length === 0"
    page.wait_for_function(drawn, timeout=60_000, polling=100)  # a tab that draws nothing tells no frames


def bring_into_view(box):
    """Scroll to a figure without waiting for two frames alike, which a busy machine may not draw in time."""
    box.evaluate("node => node.scrollIntoView({ block: 'center', behavior: 'instant' })")
