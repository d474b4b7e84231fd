"""Hostile and harmless texts by every route of the book into a real browser: none runs, all are read.

A small book is made by the book's own code: a notebook is executed and judged by the gate, built and judged
again.
"""

import base64
import csv
import io
import json
import shutil

import gate
import nbformat
import publish
import pytest
import render
from browsers import CHROMIUM, FLAGS, OWN_SCHEMES, playwright, scroll_through
from hostile_texts import HARMLESS, HOST, HOSTILE, MARKUP

from afd_study.errors import visible

TEXTS = [*HOSTILE.values(), *HARMLESS]
PAGE = "chapters/hostile"
HEAD = (
    "# What others have written\n\n"
    + "This page shows what others have written, as they have written it. " * 6
)
COMMON = f"""import sys; sys.path[:0] = [{str(publish.render.ROOT / "tests" / "helpers")!r}]
from hostile_cells import *"""
CELLS = [
    COMMON,
    "texts()",
    "columns()",
    "ledger()",
    "printed()",
    "stills()",
    "moving()",
]

THEME = ("[PST]", "[togglebutton]")  # what the theme itself says to the console
HOOKS = """() => {
    window.hits = [];
    for (const name of ["alert", "confirm", "prompt", "print", "open"]) {
        window[name] = (...words) => { window.hits.push(name + ": " + words.join(" ")); };
    }
    document.addEventListener("securitypolicyviolation", (event) => window.hits.push(event.blockedURI));
}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built pages; a payload that passes as markup, or a harmless text that does not pass, ends here."""
    workspace = tmp_path_factory.mktemp("hostile")
    for folder in ("_static", "_ext"):
        shutil.copytree(publish.BOOK / folder, workspace / folder)
    shutil.copy(publish.BOOK / "references.bib", workspace)
    (workspace / "_toc.yml").write_text(f"format: jb-book\nroot: intro\nchapters:\n- file: {PAGE}\n")
    for name in publish.INCLUDED:
        (workspace / name).write_text("")
    (workspace / "intro.md").write_text(HEAD.replace("What", "Where", 1))
    cells = [nbformat.v4.new_markdown_cell(HEAD), *map(nbformat.v4.new_code_cell, CELLS)]
    source = workspace / "source.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), source)
    render.execute(render.Chapter("hostile", source, workspace / f"{PAGE}.ipynb", {}, "any"))
    return publish.build(workspace, ["intro", PAGE])


@pytest.fixture(scope="module")
def driver():
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def opened(driver, address, *, guarded):
    """Open a page that records what ran and what was asked for; unguarded, its security policy is off."""
    context = driver.new_context(viewport={"width": 1440, "height": 900}, bypass_csp=not guarded)
    page = context.new_page()
    page.asked, page.said = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("console", lambda message: message.text.startswith(THEME) or page.said.append(message.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.on("dialog", lambda dialog: (page.said.append(dialog.message), dialog.dismiss()))
    page.add_init_script(f"({HOOKS})()")
    page.goto(address, wait_until="load")
    return page


@pytest.fixture(scope="module", params=[True, False], ids=["with the policy", "without the policy"])
def page(request, driver, site):
    """The page of texts; even without its policy nothing may happen."""
    tab = opened(driver, (site / f"{PAGE}.html").as_uri(), guarded=request.param)
    scroll_through(tab)
    yield tab
    tab.context.close()


def ran(page):
    """Return all that ran, failed or was asked of others."""
    foreign = [url for url in page.asked if not url.startswith(OWN_SCHEMES)]
    return page.evaluate("window.hits"), page.evaluate("window.ran"), page.said, foreign


TOUCHED = """where => [...document.querySelectorAll(where)].forEach(node => {
    for (const kind of ["mouseover", "click"]) {
        node.dispatchEvent(new MouseEvent(kind, { bubbles: true, cancelable: true, view: window }));
    }
})"""
NOTHING = ([], None, [], [])


def squeezed(words):
    """Return words as a browser shows them where line breaks and blanks are not kept."""
    return [" ".join(word.split()) for word in words]


SQUEEZED = squeezed(map(visible, TEXTS))


def test_there_are_enough_texts():
    assert len(HOSTILE) >= 40 and len(HARMLESS) >= 20 and len(set(TEXTS)) == len(TEXTS)


def test_nothing_runs_and_nobody_is_asked(page):
    """As loaded, and after the mouse was over every figure and on every link of the article."""
    page.evaluate(
        TOUCHED, ".afd-figure :is(.legendtoggle, .xtick, .slider-rail-touch-rect, .updatemenu-button)"
    )
    page.wait_for_timeout(900)  # a legend waits for a second click
    links = "[...document.querySelectorAll('.bd-article a:not([download])')].map(node => node.href)"
    assert [link for link in page.evaluate(links) if HOST in link or "script:" in link] == []
    assert ran(page) == NOTHING


def test_texts_in_tables_are_read_as_they_are(page):
    rows = page.evaluate(
        "[...document.querySelectorAll('.afd-texts tbody tr')].map(r => [...r.cells].map(c => c.innerText))"
    )
    assert len(rows) == len(TEXTS)
    for cells, text in zip(rows, TEXTS, strict=True):
        assert len(cells) == 6 and {cell.strip() for cell in cells} == {visible(text).strip()}


def test_names_of_columns_and_captions_are_read_as_they_are(page):
    shown = "[...document.querySelectorAll('.afd-shown:not(.afd-texts) thead th')].map(c => c.innerText)"
    headings = squeezed(page.evaluate(shown))
    assert set(SQUEEZED) <= set(headings)
    captions = "[...document.querySelectorAll('.afd-shown > p')].map(c => c.innerText)"
    assert set(SQUEEZED) <= set(squeezed(page.evaluate(captions)))


def test_claims_are_read_as_they_are(page):
    cells = page.evaluate("[...document.querySelectorAll('#claims ~ * td, td')].map(c => c.innerText)")
    whole = squeezed(cells)
    for text in map(visible, TEXTS):
        assert squeezed([f"{text} ({text}; effect: {text})"])[0] in whole, text


def test_printed_texts_are_read_as_they_are(page):
    prints = page.evaluate("[...document.querySelectorAll('.output.stream')].map(c => c.innerText).join('')")
    for text in TEXTS:
        assert f"[{visible(text)}]" in prints, text


POSITIONS = """async () => {
    const said = [];
    for (const box of [...document.querySelectorAll('.afd-figure')].filter(box => box.layout.sliders)) {
        for (const k of box.layout.sliders[0].steps.keys()) {
            await Plotly.relayout(box, { 'sliders[0].active': k });
            said.push(box.querySelector('.slider-label').textContent);
        }
    }
    return said;
}"""


def test_names_in_moving_figures_are_read_as_they_are(page):
    """Names of responses at ticks, of settings on buttons, and of a slider's position."""
    shown = "[...document.querySelectorAll('.afd-figure :is(.xtick, .updatemenu-button) text')]"
    words = squeezed(page.evaluate(f"{shown}.map(word => word.textContent)"))
    assert {f"{text} (0)" for text in SQUEEZED} <= set(words)
    buttons = [text for start in range(0, len(TEXTS), 8) for text in SQUEEZED[start : start + 3]]
    assert set(buttons) <= set(words)
    assert set(squeezed(f"λ = {text}" for text in SQUEEZED)) <= set(squeezed(page.evaluate(POSITIONS)))
    assert page.locator(".afd-figure :is(a, mjx-container, foreignObject)").count() == 0


def test_pictures_are_described_by_the_text_itself(page):
    said = page.evaluate("[...document.querySelectorAll('.cell_output img')].map(picture => picture.alt)")
    assert set(SQUEEZED) <= set(squeezed(said))


def test_no_cell_of_a_download_is_a_formula_and_numbers_stay_numbers(page):
    links = page.locator("p.afd-csv a").all()
    cells = {cell for link in links for row in rows_of(link.get_attribute("href")) for cell in row}
    signs = tuple("=+-@＝\r\t")
    assert [cell for cell in cells if cell.lstrip(" \n").startswith(signs) and not is_number(cell)] == []
    assert {"-1.5", "one = 1", "'=)", "'=cmd|' /C calc'!A0"} <= cells
    plain = {visible(text) for text in TEXTS}
    assert {text for text in plain if text not in cells and f"'{text}" not in cells} == set()


def rows_of(href):
    text = base64.b64decode(href.partition(",")[2]).decode()
    return csv.reader(io.StringIO(text, newline=""))


def is_number(cell):
    try:
        float(cell)
    except ValueError:
        return False
    return True


def test_what_became_markup_is_refused_and_does_nothing(driver, site):
    """The page as it would be if every other guard had failed: the gate names it, and the policy stops it."""
    whole = (site / "intro.html").read_text(encoding="utf-8")
    before, heading, after = whole.rpartition("</h1>")  # the first one is of the printed page
    raw = site / "raw.html"
    passed = []
    for name, text in MARKUP.items():
        raw.write_text(f"{before}{heading}{text}{after}", encoding="utf-8", errors="surrogatepass")
        page = opened(driver, raw.as_uri(), guarded=True)
        for control in page.locator(".bd-article :is(a:not(.headerlink, [download]), button)").all()[:3]:
            control.dispatch_event("click")
        page.wait_for_timeout(50)
        hits, marks, _, foreign = ran(page)
        calls = [hit for hit in hits if hit.startswith(("alert", "confirm", "prompt", "print", "open"))]
        if calls or marks or not page.url.startswith("file:"):
            passed.append((name, calls, marks, foreign))
        page.context.close()
    assert passed == []
    raw.write_text(f"{before}{heading}{MARKUP['image']}{after}", encoding="utf-8")
    page = opened(driver, raw.as_uri(), guarded=False)
    page.wait_for_function("() => window.hits.length > 0", timeout=10_000)  # else nothing was tested above
    page.context.close()
    raw.unlink()


@pytest.mark.parametrize("name", [name for name in HOSTILE if name.startswith("markup: ")])
def test_the_gate_refuses_raw_markup(name):
    output = nbformat.v4.new_output("display_data", {"text/html": HOSTILE[name]})
    cell = nbformat.v4.new_code_cell("show()", execution_count=1, outputs=[output])
    faults = gate.notebook_faults(nbformat.v4.new_notebook(cells=[cell]), "a")
    words = {"markup: attribute alone", "markup: clobbering", "markup: null in a name"}
    assert bool(faults) != (name in words), json.dumps(HOSTILE[name])
