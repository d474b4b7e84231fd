"""The book's gate: what failed, and what would run in a reader's browser, is refused by name; words pass."""

import base64
import hashlib
import importlib.util
from pathlib import Path

import gate
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from afd_study.figures.tables import show_texts

EXTENSION = Path(gate.__file__).parent / "_ext" / "offline_book.py"  # Sphinx alone has its folder on the path
_spec = importlib.util.spec_from_file_location("offline_book", EXTENSION)
offline_book = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(offline_book)


def executed(*outputs, count=1, **metadata):
    cell = new_code_cell("show()", execution_count=count, outputs=list(outputs))
    return new_notebook(cells=[new_markdown_cell("# Title"), cell], metadata=metadata)


def test_a_faultless_notebook_passes():
    shown = new_output(
        "display_data", {"text/plain": "0.5", "text/html": "<table><tr><td>&lt;b&gt;</td></tr></table>"}
    )
    assert gate.notebook_faults(executed(shown), "a") == []


@pytest.mark.parametrize(
    ("notebook", "message"),
    [
        (executed(count=None), "a, cell 2: was not executed"),
        (executed(new_output("error", ename="ValueError", evalue="no")), "a, cell 2: raised ValueError: no"),
        (executed(papermill={"exception": True}), "a: papermill records that it failed"),
        (executed(widgets={"state": {}}), "a: holds widget state"),
        (
            executed(new_output("display_data", {"application/vnd.jupyter.widget-view+json": {}})),
            "a, cell 2: shows a widget",
        ),
        (
            executed(new_output("display_data", {"text/html": "<div><SCRIPT>alert(1)</script></div>"})),
            "a, cell 2: has an output that runs",
        ),
        (
            executed(new_output("display_data", {"text/html": "<img src=x onerror=alert(1)>"})),
            "a, cell 2: has an output that runs",
        ),
        (
            executed(new_output("display_data", {"image/png": "iVBO"})),
            "a, cell 2: shows a figure without its",
        ),
        (
            executed(new_output("stream", name="stderr", text="see /" + "home/me/x.py:3: Warning")),
            "a, cell 2: prints a path of this machine",
        ),
    ],
)
def test_each_fault_is_named_with_notebook_and_cell(notebook, message):
    assert any(fault.startswith(message) for fault in gate.notebook_faults(notebook, "a"))


HARMLESS = [
    "one = 1",
    "javascript:",
    "type javascript:alert(1) into the bar",
    "<script>",
    "the <iframe> element, the <object> element",
    "it goes on = forever",
    "onclick=go()",
    "<img src=x onerror=alert(1)>",
    "a < b, c > d & e <f",
    "vbscript:msgbox",
    "data:text/html,hello",
    "https://example.org/x.js",
    "//example.org/x.js",
    "url(https://example.org/a.png)",
    "<!-- <script> -->",
    "<meta http-equiv=refresh>",
    "</script><svg/onload=alert(1)>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "'\" onmouseover='x'",
    "Look at /home/me/.bashrc, then at /tmp/x and /root/y",
    "<base href=//example.org>",
    "one\non = two",
]


@pytest.mark.parametrize("text", HARMLESS)
def test_words_of_a_dialogue_are_text_whatever_they_say(text):
    """The gate judges markup: what `show_texts` has escaped passes, and so does a heading or a caption."""
    for frame in (pd.DataFrame({"words": [text]}), pd.DataFrame({text: ["words"]})):
        shown = show_texts(frame, caption=text)
        bundle = {"text/html": shown._repr_html_(), "text/plain": repr(shown)}
        assert gate.notebook_faults(executed(new_output("display_data", bundle)), "a") == []


HOSTILE = [
    "<script>alert(1)</script>",
    "<SCRIPT src=//example.org/x.js></script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "<details open ontoggle = alert(1)>",
    "<a href=javascript:alert(1)>x</a>",
    "<a href='java&#10;script:alert(1)'>x</a>",
    "<a href=' &#1;JaVaScRiPt&colon;alert(1)'>x</a>",
    "<a href='data:text/html,<script>alert(1)</script>'>x</a>",
    "<iframe srcdoc='x'></iframe>",
    "<object data=x></object>",
    "<embed src=x>",
    "<base href=https://example.org/>",
    "<img src=https://example.org/x.png>",
    "<img srcset='a.png 1x, //example.org/x.png 2x'>",
    "<link rel=stylesheet href=https://example.org/x.css>",
    "<form action=javascript:alert(1)><button>x</button></form>",
    "<button formaction=javascript:alert(1)>x</button>",
    "<meta http-equiv=refresh content='0;url=//example.org'>",
    "<p style='background:url(https://example.org/x.png)'>x</p>",
    "<style>@import '//example.org/x.css'</style>",
    "<svg><a><animate attributeName=href values=javascript:alert(1) /></a></svg>",
    "<!--><img src=x onerror=alert(1)>-->",
    "<textarea><img title='</textarea><img src=x onerror=alert(1)>'>",
    "<img src=x onerror=alert(1) ",
    "<a title='</a><img src=x onerror=alert(1)>",
    "<svg><image href='https://example.org/x.png'/></svg>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
]


@pytest.mark.parametrize("kind", ["text/html", "text/markdown"])
@pytest.mark.parametrize("text", HOSTILE)
def test_markup_that_runs_or_loads_is_refused(text, kind):
    faults = gate.notebook_faults(executed(new_output("display_data", {kind: [text]})), "a")
    assert len(faults) == 1 and faults[0].startswith("a, cell 2: has an output that runs")


def test_a_figure_with_its_table_passes():
    both = [
        new_output("display_data", {"image/png": "iVBO"}),
        new_output("display_data", {"text/csv": "a\n1\n"}),
    ]
    assert gate.notebook_faults(executed(*both), "a") == []


GUARDED = offline_book.guarded('<head><meta charset="utf-8" /></head>')


def test_pages_must_exist_be_long_enough_and_carry_their_heading(tmp_path):
    page = tmp_path / "page.html"
    assert "was not built" in gate.page_faults(page, "A title")[0]
    text = "many words " * 50
    whole = f"{GUARDED}<article><h1>1. A <em>title</em><a>#</a></h1><p>{text}</p></article>"
    page.write_text(whole, encoding="utf-8")
    assert gate.page_faults(page, "A title") == []
    assert "lacks its heading" in gate.page_faults(page, "Another title")[0]
    page.write_text(f"{GUARDED}<article><h1>A title</h1></article><footer>{text}</footer>", encoding="utf-8")
    assert "too few for a page" in gate.page_faults(page, "A title")[0]
    for unsafe in ("<img src=x onerror=f()>", "<script src=//example.org/x.js></script>"):
        page.write_text(whole + unsafe, encoding="utf-8")
        assert "page.html: has a" in gate.page_faults(page, "A title")[0]
    page.write_text(whole.replace(GUARDED, ""), encoding="utf-8")
    assert "no security policy" in gate.page_faults(page, "A title")[0]


def test_the_policy_allows_the_heads_scripts_by_hash_and_none_in_the_text():
    page = (
        '<head><meta charset="utf-8" /><script>let a = 1;</script><script src="x.js"></script></head><body>'
    )
    page += "<script>alert(1)</script></body>"
    guarded = offline_book.guarded(page)
    digests = {
        body: base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        for body in ("let a = 1;", "alert(1)")
    }
    assert (
        guarded.count("'sha256-") == 1 and f"script-src 'self' 'sha256-{digests['let a = 1;']}';" in guarded
    )
    assert digests["alert(1)"] in offline_book.guarded(page, whole=True)
    assert offline_book.guarded(guarded) == guarded
    assert "unsafe-eval" not in guarded and "http" not in guarded.replace("http-equiv", "")
    with pytest.raises(ValueError, match="encoding"):
        offline_book.guarded("<head></head>")


def test_names_and_roles_of_the_theme_are_put_right():
    page = (
        '<button class="btn search-button-field x" title="Search" aria-label="Search">Search</button>'
        '<button class="btn btn-sm search-button" aria-label="Search"></button>'
        '<summary aria-label="Toggle hidden content">Show</summary><div role="doc-biblioentry"></div>'
        '<div id="pst-primary-sidebar" class="a b"></div>'
    )
    right = offline_book.audible(page)
    assert right.count("aria-label") == 2 and '<button class="btn btn-sm search-button" aria-label' in right
    assert "<summary>Show" in right and 'role="listitem"' in right and 'role="complementary"' in right
    assert offline_book.audible(right) == right
