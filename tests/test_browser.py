"""The smoke book in a real browser: nothing from outside, no error, maths typeset, figures that answer.

`make browser` builds that book and runs these tests. They are skipped, with the reason, where there is no
browser or no book. AFD_BOOK names another built book, CHROMIUM another browser.
"""

import base64
import functools
import http.server
import re
import threading

import pytest
from book_pages import OWN, PAGES, SITE, changes, figures, state
from browsers import CHROMIUM, FLAGS, bring_into_view, playwright, scroll_through


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves the book and prints nothing."""

    def log_message(self, *parts):
        pass


@pytest.fixture(scope="module")
def address():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(SITE)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def opened(browser, address):
    """A tab that records what it asked other hosts for, what failed, and what its console said."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.faults = []
    page.on("request", lambda r: _is_foreign(r.url, address) and page.faults.append(f"asked for {r.url}"))
    page.on("response", lambda r: r.status >= 400 and page.faults.append(f"{r.status} for {r.url}"))
    page.on("requestfailed", lambda r: page.faults.append(f"failed: {r.url}"))
    page.on("console", lambda m: m.type == "error" and page.faults.append(f"console: {m.text}"))
    page.on("pageerror", lambda error: page.faults.append(f"error: {error}"))
    yield page
    page.close()


def _is_foreign(url, address):
    return not url.startswith((address, "data:", "blob:"))


@pytest.mark.parametrize("name", PAGES)
def test_the_page_loads_by_itself_and_without_error(opened, address, name):
    opened.goto(address + name, wait_until="load")
    scroll_through(opened)
    assert opened.faults == []
    assert opened.locator("h1").first.inner_text().strip()


HIDDEN = """() => [...document.querySelectorAll('.bd-article table')]
    .filter(table => table.parentElement.scrollWidth > table.parentElement.clientWidth + 2)
    .map(table => table.innerText.slice(0, 80))"""


@pytest.mark.parametrize("name", OWN)
def test_no_table_hides_columns_behind_a_scroll_bar(opened, address, name):
    opened.set_viewport_size({"width": 1300, "height": 900})
    opened.goto(address + name, wait_until="load")
    opened.wait_for_timeout(300)  # formulae in cells are typeset by then, or the table is narrower
    assert opened.evaluate(HIDDEN) == []


@pytest.mark.parametrize("name", OWN)
def test_maths_is_typeset(opened, address, name):
    opened.goto(address + name, wait_until="load")
    formulae = opened.locator(".math").count()
    if formulae:
        opened.wait_for_function(
            "wanted => document.querySelectorAll('mjx-container').length >= wanted",
            arg=formulae,
            timeout=60_000,
        )
    assert opened.locator("mjx-merror, [data-mjx-error]").count() == 0
    text = opened.locator("article").inner_text()
    assert not re.search(r"\\\(|\\\[|\\frac|\\mathbb|\$\$", text), "maths that was not typeset"


def test_some_page_has_maths(opened, address):
    """Otherwise the test above could pass without looking at anything."""
    assert any('class="math' in (SITE / page).read_text(encoding="utf-8") for page in OWN)


# in the order in which they are tried: a slider, a menu, buttons, a legend
CONTROLS = (".slider-rail-touch-rect", ".updatemenu-header", ".updatemenu-button", ".legendtoggle")


@pytest.mark.parametrize(("name", "position"), figures())
def test_a_control_changes_the_figure(opened, address, name, position):
    """Each figure answers to its slider, menu or legend, whichever it has; one without any is a still."""
    opened.goto(address + name, wait_until="load")
    scroll_through(opened)
    box = opened.locator(".afd-figure").nth(position)
    bring_into_view(box)
    present = [control for control in CONTROLS if box.locator(control).count()]
    if not present:
        pytest.skip(f"figure {position + 1} of {name} has no control")
    before = state(box)
    use(opened, box, present[0])
    assert changes(opened, box, before), f"{present[0]} of figure {position + 1} on {name} changes nothing"
    assert opened.faults == []


def use(page, box, control):
    """Work a control as a hand would: far along a slider, the last entry of a menu, a legend's last line."""
    target = box.locator(control)
    if "slider" in control:
        edges = target.first.bounding_box()
        page.mouse.click(edges["x"] + 0.9 * edges["width"], edges["y"] + edges["height"] / 2)
    elif control == ".updatemenu-header":
        target.first.click(force=True)
        box.locator(".updatemenu-dropdown-button").last.click(force=True)
    else:
        target.last.click(force=True)


def test_the_reader_may_change_the_theme(opened, address):
    """On a dark page a figure keeps its colours and lies on a light sheet."""
    if not figures():
        pytest.skip("the book has no interactive figure yet")
    name, position = figures()[0]
    opened.goto(address + name, wait_until="load")
    scroll_through(opened)
    opened.locator(".theme-switch-button:visible").first.click()
    assert opened.locator("html").get_attribute("data-theme") == "dark"
    box = opened.locator(".afd-figure").nth(position)
    assert box.evaluate("node => getComputedStyle(node).backgroundColor") == "rgb(255, 255, 255)"
    assert opened.faults == []


def test_search_finds_a_word_of_the_book(opened, address):
    opened.goto(address + "search.html?q=demonstrations", wait_until="load")
    opened.wait_for_function(
        "() => document.querySelectorAll('#search-results li').length > 0", timeout=30_000
    )
    assert opened.faults == []


@pytest.mark.parametrize("name", OWN)
def test_every_figure_has_its_table_beside_it(opened, address, name):
    """A link behind each figure, of which the CSV has a header and a row at least, without any request."""
    opened.goto(address + name, wait_until="load")
    figures = opened.locator(".cell_output img, .afd-figure").count()
    links = [each.get_attribute("href") for each in opened.locator("p.afd-csv a").all()]
    assert len(links) == figures
    for href in links:
        kind, _, encoded = href.partition(",")
        assert kind == "data:text/csv;charset=utf-8;base64"
        assert len(base64.b64decode(encoded).decode().splitlines()) > 1
