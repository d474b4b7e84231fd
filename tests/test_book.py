"""The book's gate and publisher: what failed is refused by name, and a published book is never half-new."""

import base64
import hashlib
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import gate
import nbformat
import pandas as pd
import pytest
import render
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from afd_study.figures.tables import show_texts

EXTENSION = Path(gate.__file__).parent / "_ext" / "offline_book.py"  # Sphinx alone has its folder on the path
_spec = importlib.util.spec_from_file_location("offline_book", EXTENSION)
offline_book = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(offline_book)
SOURCE = "from afd_study.study.notebook_parameters import check_parameters\n\ncheck_parameters(globals())"


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


PAGES = ["README.md", "CONTRIBUTING.md"]
PAGES += [f"book/{name}.md" for name in ("intro", "notation", "rerun", "references")]


@pytest.mark.parametrize("name", PAGES)
def test_lines_of_prose_are_short(root, name):
    """All but tables, pictures and code."""
    text = re.sub(
        r"^```.*?^```", "", (root / name).read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
    )
    lines = [line for line in text.splitlines() if not line.startswith(("|", "!["))]
    assert max(map(len, lines)) <= 110


def test_parameters_on_the_page_are_those_that_ran():
    declared = (
        'task: str = "harmless"  # what is asked\nseed: int = 0  # first\nshares: list[float] = [0.0, 1.0]'
    )
    injected = '# Parameters\ntask = "helpful"\nshares = [0.5]\n'
    merged = render.merged_parameters(declared, injected)
    assert merged == declared.replace('"harmless"', '"helpful"').replace("[0.0, 1.0]", "[0.5]")


def test_a_key_changes_with_source_parameters_and_data(tmp_path, monkeypatch):
    monkeypatch.setattr(render, "NOTEBOOKS", tmp_path)
    source, data = tmp_path / "a.ipynb", tmp_path / "data"
    source.write_text("1", encoding="utf-8")
    data.mkdir()
    (data / "x.jsonl").write_text("1", encoding="utf-8")
    keys = [render._key(source, {"seed": 0, "hh_rlhf": "data"})]
    keys.append(render._key(source, {"seed": 1, "hh_rlhf": "data"}))
    keys.append(render._key(source, {"seed": 0}))
    (data / "x.jsonl").write_text("2", encoding="utf-8")
    keys.append(render._key(source, {"seed": 0, "hh_rlhf": "data"}))
    source.write_text("2", encoding="utf-8")
    keys.append(render._key(source, {"seed": 0, "hh_rlhf": "data"}))
    assert len(set(keys)) == len(keys)
    assert keys[-1] == render._key(source, {"hh_rlhf": "data", "seed": 0})


def test_two_chapters_from_one_notebook_have_titles_of_their_own(tmp_path):
    chapters = [render.chapter(name, tmp_path, {}) for name in ("04_harmless", "05_helpful")]
    source = nbformat.read(chapters[0].source, as_version=4).cells[0].source
    headings = [render.retitled(source, chapter.title).splitlines()[0] for chapter in chapters]
    assert headings == [f"# {chapter.title}" for chapter in chapters] and len(set(headings)) == 2
    assert render.retitled(source, "A").splitlines()[1:] == source.splitlines()[1:]
    keys = {render._key(chapters[0].source, {}, title) for title in ("", "A", "B")}
    assert len(keys) == 3


# --- the publisher, on a small book of its own


@pytest.fixture(scope="module")
def small_book(tmp_path_factory, root):
    """A copy of the book with one small notebook in place of the real ones, and no study to run first."""
    home = tmp_path_factory.mktemp("small")
    skip = shutil.ignore_patterns("_build", "chapters", "__pycache__")
    shutil.copytree(root / "book", home / "book", ignore=skip)
    shutil.copytree(root / "afd_study", home / "afd_study", ignore=skip)
    for name in ("_config.yml", "constraints.txt"):
        shutil.copy(root / name, home / name)
    publisher = home / "book" / "publish.py"
    text = publisher.read_text(encoding="utf-8")
    assert "\ndef prepare(" in text
    text = text.replace("\ndef publish(", "\ndef _no_study(*settings): pass\n\ndef publish(")
    publisher.write_text(text.replace("            prepare(", "            _no_study("), encoding="utf-8")
    (home / "notebooks").mkdir()
    toc = {"format": "jb-book", "root": "intro", "chapters": []}
    toc["chapters"] = [
        {"file": f"{name}"} for name in ("notation", "rerun", "log", "references", "chapters/one")
    ]
    (home / "book" / "_toc.yml").write_text(json.dumps(toc), encoding="utf-8")
    page = home / "book" / "intro.md"  # it names chapters that are not in this book
    text = page.read_text(encoding="utf-8")
    page.write_text(re.sub(r"\[([^]]*)\]\(chapters/\w+\)", r"\1", text), encoding="utf-8")
    write(home, "print(task, 1)")
    return home


def write(home, last_cell):
    parameters = new_code_cell('task: str = "a"  # what is asked', metadata={"tags": ["parameters"]})
    text = "# One chapter\n\n" + "It is long enough to be a page. " * 10 + "\n\n$$\\KL{a}{b}$$"
    cells = [new_markdown_cell(text), parameters, new_code_cell(SOURCE), new_code_cell(last_cell)]
    notebook = new_notebook(cells=cells)
    notebook.metadata.kernelspec = {"display_name": "Python 3", "language": "python", "name": "python3"}
    nbformat.write(notebook, home / "notebooks" / "one.ipynb")


def publish(home, *options):
    command = [sys.executable, str(home / "book" / "publish.py"), "--jobs", "1", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_publish_then_nothing_to_do_then_a_failure_that_changes_nothing(small_book):
    """One book through its life: made, left alone, refused twice, made again."""
    site = small_book / "book" / "_build" / "html"
    done = publish(small_book)
    assert done.returncode == 0, done.stderr
    page = (site / "chapters" / "one.html").read_text(encoding="utf-8")
    assert "a 1" in page and "One chapter" in (site / "chapters" / "one.html").read_text(encoding="utf-8")
    assert "<h1>Alignment from Demonstrations" in (site / "index.html").read_text(encoding="utf-8")
    before = {path: path.stat().st_mtime_ns for path in site.rglob("*") if path.is_file()}

    again = publish(small_book)
    assert again.returncode == 0 and "1 as they were, 0 to run" in again.stdout
    assert before == {path: path.stat().st_mtime_ns for path in site.rglob("*") if path.is_file()}

    write(small_book, "print(task, 2)\nraise RuntimeError('the cell that fails')")
    failed = publish(small_book)
    assert failed.returncode == 1
    assert "notebooks/one.ipynb, cell 4: RuntimeError: the cell that fails" in failed.stderr
    assert "Traceback" in failed.stderr
    assert before == {path: path.stat().st_mtime_ns for path in site.rglob("*") if path.is_file()}
    assert not list((small_book / "book" / "chapters").glob("*.running*"))

    write(small_book, "print(task, 3)")
    log = small_book / "book" / "log.md"
    kept = log.read_text(encoding="utf-8")
    log.write_text(kept + "\n[nowhere](missing.md)\n", encoding="utf-8")
    refused = publish(small_book)
    assert refused.returncode == 1 and "missing.md" in refused.stderr
    assert before == {path: path.stat().st_mtime_ns for path in site.rglob("*") if path.is_file()}

    log.write_text(kept, encoding="utf-8")
    assert publish(small_book).returncode == 0
    assert "a 3" in (site / "chapters" / "one.html").read_text(encoding="utf-8")


def test_no_page_loads_anything_from_another_host(small_book):
    """Every script, style, image and font of the built pages is the site's own."""
    site = small_book / "book" / "_build" / "html"
    if not site.is_dir():
        assert publish(small_book).returncode == 0
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        for part in text.split("<")[1:]:
            if part.startswith(("script", "link", "img", "iframe")):
                tag = part.split(">")[0]
                assert "//" not in tag.replace("://localhost", ""), f"{page.name}: <{tag}>"
    for name in ("mathjax/tex-mml-svg.js", "plotly/plotly.min.js"):
        assert (site / "_static" / name).stat().st_size > 1e6


def test_a_missing_data_folder_or_notebook_is_named(small_book):
    done = publish(small_book, "--hh-rlhf", "nowhere/at/all")
    assert done.returncode == 1 and "there is no folder nowhere/at/all" in done.stderr
    with pytest.raises(render.RenderError, match="no notebooks/nothing.ipynb"):
        render.chapter("nothing", small_book, {})
