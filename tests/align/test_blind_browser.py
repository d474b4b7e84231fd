"""The blind page in a real browser, as a file: worked by keyboard alone, with hostile texts, and read back.

Skipped, with the reason, where there is no browser.
"""

from collections import Counter
from pathlib import Path

import pytest
from browsers import CHROMIUM, FLAGS, OWN_SCHEMES, playwright
from hostile_texts import HARMLESS, HOSTILE

from afd_study.align.blind_page import BlindPair, write_blind_page
from afd_study.align.labels import read_key, read_labels
from afd_study.errors import visible

TEXTS = [*HOSTILE.values(), *HARMLESS]
PAIRS = [BlindPair(f"{k} {text}", text, f"{text} {k}") for k, text in enumerate(TEXTS)]
WIDTHS = (390, 1440)
HOOKS = """() => {
    window.hits = [];
    for (const name of ["alert", "prompt", "print", "open"]) {
        window[name] = (...words) => { window.hits.push(name + ": " + words.join(" ")); };
    }
    document.addEventListener("securitypolicyviolation", (event) => window.hits.push(event.blockedURI));
}"""
ON_SHOW = """() => Object.fromEntries(
    ['prompt', 'first', 'second'].map(id => [id, document.getElementById(id).textContent]))"""
CLICK_THROUGH = f"""() => {{
    const pages = [];
    while (document.getElementById('finish').hidden) {{
        pages.push(({ON_SHOW})());
        document.getElementById('choose-same').click();
    }}
    return pages;
}}"""
PRESSED = "() => [...document.querySelectorAll('[aria-pressed=true]')].map(node => node.id)"
OVER_EDGE = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
SERIOUS = """async () => {
    const { violations } = await axe.run(document, { resultTypes: ['violations'] });
    return violations.filter(each => ['serious', 'critical'].includes(each.impact))
        .map(each => [each.id, each.nodes.map(node => node.target).slice(0, 3)]);
}"""


@pytest.fixture(scope="module")
def driver():
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def written(tmp_path):
    return write_blind_page(tmp_path, PAIRS, seed=4, most_pairs=6)


def opened(driver, written, *, width=1440, mode="light", script="", guarded=True):
    """Open the page in a fresh profile; what ran, failed or was asked of others stands in `page.faults`."""
    context = driver.new_context(
        viewport={"width": width, "height": 900}, color_scheme=mode, bypass_csp=not guarded
    )
    page = context.new_page()
    page.faults = []
    page.on("request", lambda r: r.url.startswith(OWN_SCHEMES) or page.faults.append(r.url))
    page.on("console", lambda message: page.faults.append(message.text))
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.add_init_script(f"({HOOKS})(); {script}")
    page.goto(written.page.as_uri(), wait_until="load")
    return page


def begin(page):
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")


def press(page, key):
    page.wait_for_timeout(260)  # what follows a pair at once counts as a slip
    page.keyboard.press(key)


def title(page):
    return page.locator("h1:visible").inner_text()


def harmed(page):
    return page.faults, page.evaluate("window.hits"), page.evaluate("window.ran")


def save_by_keyboard(page, file):
    with page.expect_download() as download:
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
    assert download.value.suggested_filename == "blind_labels.json"
    download.value.save_as(file)


def sides_of(each):
    """Return what the page has to show of a pair of the key."""
    pair, other = PAIRS[each.row], "second" if each.pick == "first" else "first"
    return {"prompt": visible(pair.prompt), each.pick: visible(pair.pick), other: visible(pair.plain)}


@pytest.mark.parametrize("guarded", [True, False], ids=["with the policy", "without the policy"])
def test_every_hostile_text_is_shown_as_it_is_and_nothing_runs(driver, tmp_path, guarded):
    written = write_blind_page(tmp_path, PAIRS, seed=0, most_pairs=len(PAIRS))
    page = opened(driver, written, guarded=guarded)
    begin(page)
    assert page.evaluate(CLICK_THROUGH) == [sides_of(each) for each in read_key(written.key).pairs]
    assert harmed(page) == ([], [], None)
    page.context.close()


def test_all_pairs_by_keyboard_saved_and_read_back(driver, written, tmp_path):
    """The result is that of the keys that were pressed."""
    page, key = opened(driver, written), read_key(written.key)
    begin(page)
    keys = {"first": ("1", "ArrowLeft"), "second": ("2", "ArrowRight"), "same": ("0", " ")}
    wins = Counter()
    for place, side in enumerate(key.pairs):
        answer = ("first", "second", "same")[place % 3]
        wins["same" if answer == "same" else "pick" if answer == side.pick else "plain"] += 1
        assert title(page) == f"Pair {place + 1} of 6" and page.evaluate(ON_SHOW) == sides_of(side)
        press(page, keys[answer][place % 2])
    assert title(page) == "All pairs have an answer"
    save_by_keyboard(page, tmp_path / "labels.json")
    result = read_labels(tmp_path / "labels.json", written.key)
    assert (result.n_picks, result.n_plain, result.n_same) == (wins["pick"], wins["plain"], wins["same"])
    assert harmed(page) == ([], [], None)
    page.context.close()


def test_back_changes_an_answer_and_slips_do_not_count(driver, written):
    page = opened(driver, written)
    press(page, "1")
    assert title(page) == "Which response is better?"  # keys count on pairs alone
    begin(page)
    press(page, "1")
    page.keyboard.press("1")  # at once
    assert title(page) == "Pair 2 of 6"
    press(page, "Alt+ArrowLeft")
    press(page, "Control+1")
    assert title(page) == "Pair 2 of 6"
    press(page, "2")
    page.keyboard.press("Backspace")
    page.keyboard.press("Backspace")
    assert title(page) == "Pair 1 of 6" and page.evaluate(PRESSED) == ["choose-first"]
    press(page, "0")
    assert title(page) == "Pair 3 of 6" and page.locator("#count").inner_text() == "2 of 6 answered"
    page.keyboard.press("Backspace")
    assert page.evaluate(PRESSED) == ["choose-second"]
    page.keyboard.press("Backspace")
    assert page.evaluate(PRESSED) == ["choose-same"]
    page.keyboard.press("Backspace")
    assert title(page) == "Which response is better?" and harmed(page) == ([], [], None)
    page.context.close()


def test_answers_outlive_the_page_where_the_browser_keeps_them(driver, written):
    page = opened(driver, written)
    begin(page)
    press(page, "1")
    page.reload()
    assert "kept 1 of 6 answers" in page.locator("#kept").inner_text()
    begin(page)
    assert title(page) == "Pair 2 of 6"
    page.reload()
    page.on("dialog", lambda dialog: dialog.accept())
    page.locator("#discard").click()
    begin(page)
    assert title(page) == "Pair 1 of 6"
    page.context.close()


BLOCKED = """Object.defineProperty(
    window, 'localStorage', { get() { throw new DOMException('no', 'SecurityError'); } });"""
DAMAGED = ("null", "[", "7", '{"1": "third", "99": "first", "__proto__": {"2": "first"}}')


def test_it_works_where_storage_is_blocked_and_says_so(driver, written, tmp_path):
    page = opened(driver, written, script=BLOCKED)
    assert "keeps no answers" in page.locator("#kept").inner_text()
    begin(page)
    for _ in range(6):
        press(page, "2")
    save_by_keyboard(page, tmp_path / "labels.json")
    assert read_labels(tmp_path / "labels.json", written.key).n_first == 0
    assert harmed(page) == ([], [], None)
    page.context.close()


@pytest.mark.parametrize("record", DAMAGED)
def test_a_damaged_record_counts_for_nothing(driver, written, record):
    script = f"localStorage.setItem('afd-blind-{written.digest}', {record!r});"
    page = opened(driver, written, script=script)
    assert page.locator("#begin").inner_text() == "Begin"
    begin(page)
    assert title(page) == "Pair 1 of 6" and harmed(page) == ([], [], None)
    page.context.close()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("mode", ["light", "dark"])
def test_each_screen_fits_and_axe_names_nothing_serious(driver, written, width, mode):
    package = pytest.importorskip(
        "axe_playwright_python", reason="no axe-core: it comes with the extra `dev`"
    )
    source = (Path(package.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
    page = opened(driver, written, width=width, mode=mode)
    page.evaluate(source)

    def check():
        assert page.evaluate(OVER_EDGE) <= 0 and page.evaluate(SERIOUS) == [], title(page)

    check()
    begin(page)
    check()
    press(page, "1")
    page.keyboard.press("Backspace")
    check()  # with a choice that is marked
    for _ in range(6):
        press(page, "1")
    check()
    page.context.close()


def test_choices_are_at_hand_beside_texts_of_any_length(driver, tmp_path):
    """The bar of choices is on screen with a text of many screens, and a long word breaks."""
    pair = BlindPair("w" * 5000, "word " * 20_000, "short")
    page = opened(driver, write_blind_page(tmp_path, [pair], seed=0), width=390)
    begin(page)
    box = page.locator("#choose-same").bounding_box()
    assert 0 < box["y"] and box["y"] + box["height"] <= 900 and page.evaluate(OVER_EDGE) <= 0
    page.context.close()
