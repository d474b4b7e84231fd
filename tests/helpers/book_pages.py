"""The smoke book and the browser that opens it, for tests of its pages; they are skipped without either."""

import os
from pathlib import Path

import browsers  # noqa: F401 - without a browser nothing of a page can be tested
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
SITE = Path(os.environ.get("AFD_BOOK", ROOT / "book" / "_build" / "smoke" / "_build" / "html"))
PAGES = sorted(p.relative_to(SITE).as_posix() for p in SITE.rglob("*.html") if "_static" not in p.parts)
# Sphinx writes these by itself, and they hold no text of ours
OWN = [page for page in PAGES if page not in ("genindex.html", "search.html")]

if not PAGES:
    pytest.skip("no smoke book: `make smoke` builds it", allow_module_level=True)


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


def changes(page, box, before, *, seconds=10):
    """Return whether a figure shows something else within some seconds."""
    for _ in range(10 * seconds):
        if state(box) != before:
            return True
        page.wait_for_timeout(100)
    return False
