"""The smoke book's pages as files, on a phone and on a desk, light and dark: readable, and nothing gets out.

Skipped, with the reason, as tests/test_browser.py is. AFD_BOOK names another built book.
"""

import re
from pathlib import Path

import pytest
from book_pages import OWN, SITE, changes, figures, state
from browsers import CHROMIUM, FLAGS, OWN_SCHEMES, bring_into_view, playwright, scroll_through

WIDTHS = (390, 1440)
MODES = ("light", "dark")
PAGES = [page for page in OWN if page != "intro.html"]  # index.html is its copy
CHAPTERS = [page for page in PAGES if page.startswith("chapters/")]
LEAST_CONTRAST = 4.5  # WCAG 2.2, AA, of text of usual size


@pytest.fixture(scope="module")
def driver():
    with playwright.sync_playwright() as started:
        yield started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)


@pytest.fixture(
    scope="module", params=[(w, m) for w in WIDTHS for m in MODES], ids=lambda p: f"{p[0]}-{p[1]}"
)
def reader(request, driver):
    """A tab of one width and mode, which opens pages as files."""
    width, mode = request.param
    context = driver.new_context(
        viewport={"width": width, "height": 900}, color_scheme=mode, has_touch=width < 600
    )
    page = context.new_page()
    page.faults, page.mode, page.asked, page.observed = [], mode, [], {}
    page.on("request", lambda r: page.asked.append(r.url))
    page.on("console", lambda m: m.type == "error" and page.faults.append(m.text))
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    yield page
    context.close()


def visit(reader, name, folder=SITE):
    del reader.faults[:], reader.asked[:]
    reader.goto((folder / name).as_uri(), wait_until="load")
    scroll_through(reader)
    assert reader.locator("html").get_attribute("data-theme") == reader.mode


BUTTONS = """() => [...document.querySelectorAll('.modebar-btn, button, [data-title]')]
    .map(node => (node.dataset.title || node.title || node.innerText || '').toLowerCase())"""


# contrast of the words of links and cells with what lies behind them; figures are pictures and have their own
FAINT = """least => {
    const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
    const parts = colour => [numbers(colour), numbers(colour)[3] ?? 1];
    const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
        .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
        .reduce((sum, v, k) => sum + v * [.2126, .7152, .0722][k], 0);
    const ground = node => {
        for (let each = node; each; each = each.parentElement) {
            const [colour, alpha] = parts(getComputedStyle(each).backgroundColor);
            if (alpha > .5) { return colour; }
        }
        return [255, 255, 255];
    };
    return [...document.querySelectorAll('.bd-article :is(a, td, th, p, li, h1, h2, h3, em)')]
        .filter(node => node.innerText && node.innerText.trim() && node.getClientRects().length
            && !node.closest('.afd-figure, .math, mjx-container') && !node.matches('.headerlink'))
        .map(node => {
            const [one, two] = [light(parts(getComputedStyle(node).color)[0]), light(ground(node))];
            const ratio = (Math.max(one, two) + .05) / (Math.min(one, two) + .05);
            return [Number(ratio.toFixed(2)), node.innerText.slice(0, 40)];
        })
        .filter(([ratio]) => ratio < least);
}"""


OFF_SCREEN = """() => [...document.querySelectorAll('.bd-article table')].flatMap(table => {
    const names = [...table.querySelectorAll('thead th')].map(cell => cell.innerText.trim());
    return [...table.querySelectorAll('tbody td')]
        .filter(cell => /^(yes|no|open|–|supported|contradicted|inconclusive)$/.test(cell.innerText.trim()))
        .filter(cell => cell.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
        .map(cell => cell.innerText);
})"""


CUT = """() => [...document.querySelectorAll('.bd-article pre')]
    .filter(block => block.scrollWidth > block.clientWidth + 1).map(block => block.innerText.slice(0, 60))"""
WIDER = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
# what hinders a reader who listens, has no mouse, or sees little: a list of rules that the web's makers keep
AXE = """async () => {
    const { violations } = await axe.run(document, { resultTypes: ['violations'] });
    return violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')
        .map(({ id, nodes }) => [id, nodes.length, nodes[0].target.join(' '), nodes[0].html.slice(0, 120)]);
}"""
SAID = "() => [...document.querySelectorAll('.cell_output img')].map(picture => picture.alt)"


def axe_source():
    """Return axe-core as its package brings it; the tests that ask it are skipped without."""
    package = pytest.importorskip(
        "axe_playwright_python", reason="no axe-core: it comes with the extra `dev`"
    )
    return (Path(package.__file__).parent / "axe.min.js").read_text(encoding="utf-8")


def observed(reader, name):
    """Visit a page once and return what there is to judge; it takes seconds, and several tests judge it."""
    if name not in reader.observed:
        visit(reader, name)
        reader.observed[name] = {
            "faults": list(reader.faults),
            "asked": list(reader.asked),
            "bars": reader.locator(".modebar-btn").count(),
            "buttons": reader.evaluate(BUTTONS),
            "faint": reader.evaluate(FAINT, LEAST_CONTRAST),
            "pictures": reader.evaluate(SAID),
            "off screen": reader.evaluate(OFF_SCREEN),
            "cut": reader.evaluate(CUT),
            "wider": reader.evaluate(WIDER),
        }
    return reader.observed[name]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_works_as_a_file_and_asks_nobody(reader, name):
    page = observed(reader, name)
    assert page["faults"] == []
    assert [url for url in page["asked"] if not url.startswith(OWN_SCHEMES)] == []


@pytest.mark.parametrize("name", sorted({name for name, _ in figures()}))
def test_no_button_shares_or_uploads(reader, name):
    page = observed(reader, name)
    outward = r"share|cloud|plotly|studio|send|upload"
    assert [text for text in page["buttons"] if re.search(outward, text)] == []
    assert (page["bars"] > 0) == (reader.viewport_size["width"] > 600)  # a phone has no bar


@pytest.mark.parametrize("name", PAGES)
def test_words_stand_out_from_their_ground(reader, name):
    assert observed(reader, name)["faint"] == []


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_picture_says_what_it_shows(reader, name):
    words = observed(reader, name)["pictures"]
    assert [text for text in words if len(text) < 20 or ".png" in text] == []


@pytest.mark.parametrize("name", PAGES)
def test_verdicts_are_on_the_screen(reader, name):
    page = observed(reader, name)
    assert page["off screen"] == []
    assert page["wider"] <= 1


@pytest.mark.parametrize("name", [*PAGES, "search.html"])
def test_axe_names_nothing_serious_or_critical(reader, name):
    source = axe_source()
    visit(reader, name)
    reader.evaluate(source)
    assert reader.evaluate(AXE) == []


@pytest.mark.parametrize("name", PAGES)
def test_no_line_of_code_is_cut_off(reader, name):
    assert observed(reader, name)["cut"] == []


PAYLOADS = (
    '<img src="x.png" onerror="window.ran = 1"><svg onload="window.ran = 2"></svg>'
    "<script>window.ran = 3</script>"
    '<a id="hostile" href="javascript:window.ran = 4">go on</a><img src="https://example.org/x.png">'
    '<link rel="stylesheet" href="https://example.org/x.css"><script src="https://example.org/x.js"></script>'
    '<iframe src="https://example.org/"></iframe><details open ontoggle="window.ran = 5">x</details>'
    '<form id="sent" action="https://example.org/"><button id="send">send</button></form>'
)


def test_what_became_markup_by_mistake_does_nothing(reader):
    """The page as it would be if every other guard had failed: the policy stops all of it."""
    page = SITE / "_static" / "hostile.html"  # no page of the book to other tests
    whole = (SITE / "chapters" / "10_claims.html").read_text(encoding="utf-8")
    before, heading, after = whole.rpartition("</h1>")  # the first one is of the printed page
    page.write_text(before + heading + PAYLOADS + after, encoding="utf-8")
    answered = []
    reader.on("response", lambda response: answered.append(response.url))
    try:
        visit(reader, "_static/hostile.html")
        for control in ("#hostile", "#send"):
            reader.locator(control).evaluate("node => node.click()")
        reader.wait_for_timeout(200)
    finally:
        page.unlink()
    assert reader.evaluate("window.ran") is None
    assert reader.url.startswith("file:")
    assert [url for url in answered if not url.startswith(OWN_SCHEMES)] == []


def test_every_setting_of_the_main_figure_can_be_tapped(reader):
    visit(reader, "chapters/04_harmless.html")
    box = reader.locator(".afd-figure").first
    bring_into_view(box)
    reader.mouse.move(*[box.bounding_box()[side] + 20 for side in "xy"])  # a bar appears under the mouse
    before = state(box)
    place = box.locator(".updatemenu-button").last.bounding_box()
    centre = place["x"] + place["width"] / 2, place["y"] + place["height"] / 2
    under = (
        "([x, y]) => document.elementFromPoint(x, y).closest('.updatemenu-button, .modebar')?.classList[0]"
    )
    assert reader.evaluate(under, centre) == "updatemenu-button"
    (reader.touchscreen.tap if reader.viewport_size["width"] < 600 else reader.mouse.click)(*centre)
    assert changes(reader, box, before)
    reader.wait_for_timeout(900)  # the transition is over, and the axis has its last width
    width = box.evaluate("node => node._fullLayout.xaxis._length")
    assert width > 0.6 * box.bounding_box()["width"]


def test_titles_differ_and_chapters_have_their_numbers():
    titles = []
    for name in PAGES:
        text = (SITE / name).read_text(encoding="utf-8")
        titles.append(re.search(r"<title>(.*?) &#8212;", text).group(1).casefold())
        number = re.match(r"chapters/(\d+)_", name)
        if number:
            heading = re.search(r"<h1>(.*?)</h1>", text.partition("<article")[2], re.DOTALL).group(1)
            assert re.sub(r"<[^>]*>", "", heading).startswith(f"{int(number.group(1))}. "), name
    assert len(set(titles)) == len(titles)


def test_a_page_of_text_is_light(reader):
    """Without maths and figures a page and all that it loads take 1.0 MB (2.5 with fontawesome's script)."""
    visit(reader, "rerun.html")
    files = {url.partition("?")[0].removeprefix("file://") for url in reader.asked if url.startswith("file:")}
    sizes = {name: (SITE / name).stat().st_size for name in files if "mathjax" not in name}
    assert sum(sizes.values()) < 1_100_000, sizes
