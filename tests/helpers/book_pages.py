"""The smoke book and the browser that opens it, for tests of its pages; they are skipped without either."""

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
SITE = Path(os.environ.get("AFD_BOOK", ROOT / "book" / "_build" / "smoke" / "_build" / "html"))
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
PAGES = sorted(p.relative_to(SITE).as_posix() for p in SITE.rglob("*.html") if "_static" not in p.parts)
# Sphinx writes these by itself, and they hold no text of ours
OWN = [page for page in PAGES if page not in ("genindex.html", "search.html")]

if CHROMIUM is None:
    pytest.skip("no Chromium: `apt-get install chromium`, or name one in CHROMIUM", allow_module_level=True)
if not PAGES:
    pytest.skip("no smoke book: `make smoke` builds it", allow_module_level=True)
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
    page.wait_for_function(drawn, timeout=60_000)


def figures():
    """Return (page, position) of every interactive figure of the book."""
    counts = {page: (SITE / page).read_text(encoding="utf-8").count('class="afd-figure"') for page in OWN}
    return [(page, k) for page, count in counts.items() for k in range(count) if page != "index.html"]


SHOWN = """node => {
    const drawn = node.querySelector('.main-svg').outerHTML;
    return drawn + JSON.stringify((node._fullLayout.sliders || []).map((slider) => slider.active));
}"""


def state(box):
    """Return what a figure shows, as text: all that is drawn, and where its sliders stand."""
    return box.evaluate(SHOWN)
