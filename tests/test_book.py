"""The publisher: notebooks run with neutral settings, and a published book is never half-new."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import gate
import nbformat
import neutral
import pytest
import render
import stored
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

SOURCE = "from afd_study.study.notebook_parameters import check_parameters\n\ncheck_parameters(globals())"

CITED = re.compile(r"\{cite:[pt]\}`([^`]+)`")


PAGES = ["README.md", "CONTRIBUTING.md", "SECURITY.md"]
PAGES += [f"book/{name}.md" for name in ("intro", "notation", "rerun", "references")]


@pytest.mark.parametrize("name", PAGES)
def test_lines_of_prose_are_short(root, name):
    """All but tables, pictures and code."""
    text = re.sub(
        r"^```.*?^```", "", (root / name).read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
    )
    lines = [line for line in text.splitlines() if not line.startswith(("|", "!["))]
    assert max(map(len, lines)) <= 110


def test_every_work_is_cited_and_every_citation_has_its_work(root):
    """An entry that nobody cites stands on the page of references without a reason."""
    entries = re.findall(r"^@\w+\{([^,]+),", (root / "book" / "references.bib").read_text(), re.MULTILINE)
    notebooks = [nbformat.read(path, as_version=4).cells for path in (root / "notebooks").glob("*.ipynb")]
    texts = [cell.source for cells in notebooks for cell in cells if cell.cell_type == "markdown"]
    texts += [path.read_text(encoding="utf-8") for path in (root / "book").glob("*.md")]
    cited = {key.strip() for text in texts for keys in CITED.findall(text) for key in keys.split(",")}
    assert cited == set(entries) and len(entries) == len(set(entries))


def test_parameters_on_the_page_are_those_that_ran():
    declared = (
        'task: str = "harmless"  # what is asked\nseed: int = 0  # first\nshares: list[float] = [0.0, 1.0]'
    )
    injected = '# Parameters\ntask = "helpful"\nshares = [0.5]\n'
    merged = render.merged_parameters(declared, injected)
    assert merged == declared.replace('"harmless"', '"helpful"').replace("[0.0, 1.0]", "[0.5]")


def test_printed_commands_of_a_terminal_are_spelled_out():
    stream = nbformat.v4.new_output("stream", text="a\x1b[2Jb\rc\u202ed\ttab\n")
    value = nbformat.v4.new_output("execute_result", {"text/plain": "\x07", "text/html": "&#7;"})
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("show()", outputs=[stream, value])])
    stream, value = render._tidied(notebook, {}).cells[0].outputs
    assert stream.text == "a<U+001B>[2Jb<U+000D>c<U+202E>d\ttab\n"
    assert value.data == {"text/plain": "<U+0007>", "text/html": "&#7;"}


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


# --- nothing of the reader's settings reaches a page

ASKS = """
import sys
import matplotlib
import plotly.io
figure_text, backend = matplotlib.rcParams["text.usetex"], matplotlib.rcParams["backend"]
print([sys.executable, figure_text, "inline" in backend, plotly.io.renderers.default])
"""
RUNS = """
import json, sys, pathlib, render
notebook = render.run_notebook(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), {})
print(json.dumps(notebook.cells[-1].outputs[0].text))
"""


def shown_under(folder, **variables):
    """Run a notebook that prints what decides its figures, under those variables; return what it prints."""
    source = folder / "asks a question.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell(ASKS)]), source)
    command = [sys.executable, "-c", RUNS, str(source), str(folder / "out.ipynb")]
    path = os.pathsep.join([str(Path(gate.__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, **variables}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def test_a_readers_settings_do_not_reach_the_book(tmp_path):
    kernel, long, config = (
        tmp_path / "share/kernels/python3",
        tmp_path / ("t" * 90),
        tmp_path / "matplotlibrc",
    )
    for folder in (kernel, long):
        folder.mkdir(parents=True)
    foreign = {"argv": ["/bin/false"], "display_name": "Foreign", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(foreign), encoding="utf-8")
    config.write_text("text.usetex: True\nfont.size: 40\n", encoding="utf-8")
    plain = shown_under(tmp_path)
    hostile = shown_under(
        tmp_path,
        PLOTLY_RENDERER="browser",
        MATPLOTLIBRC=str(config),
        MPLBACKEND="agg",
        JUPYTER_PATH=str(tmp_path / "share"),
        TMPDIR=str(long),
    )
    assert hostile == plain and plain.startswith(f"['{sys.executable}', False, True")


def test_matplotlib_finds_room_for_its_fonts_where_the_home_has_none(monkeypatch, tmp_path):
    """Else it says so in a cell, with paths of this machine, and the gate refuses the page."""
    (tmp_path / "file").touch()
    for home in (tmp_path / "file", tmp_path / "file" / "home"):
        assert neutral.environment(tmp_path, {"HOME": str(home)})["MPLCONFIGDIR"] == str(
            tmp_path / "matplotlib"
        )
    assert "MPLCONFIGDIR" not in neutral.environment(tmp_path, {"HOME": str(tmp_path / "home")})
    inside = {"HOME": str(tmp_path / "file"), "MPLCONFIGDIR": "/mine"}
    assert neutral.environment(tmp_path, inside)["MPLCONFIGDIR"] == "/mine"
    monkeypatch.setattr(neutral.Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert neutral.environment(tmp_path, {})["MPLCONFIGDIR"] == str(tmp_path / "matplotlib")


def test_the_neutral_variables_are_set_and_put_back(monkeypatch, tmp_path):
    for name, value in {"PLOTLY_RENDERER": "pdf", "JUPYTER_PATH": "/x", "IPYTHONDIR": "/y"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MPLCONFIGDIR", "/fonts")
    before = dict(os.environ)
    with neutral.settings():
        assert "PLOTLY_RENDERER" not in os.environ and "JUPYTER_PATH" not in os.environ
        assert os.environ["IPYTHONDIR"] != "/y" and os.environ["MPLCONFIGDIR"] == "/fonts"
        assert os.environ["PATH"] == before["PATH"]
    assert dict(os.environ) == before
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("t" * 90)))
    assert neutral.short_place((str(tmp_path),)) == str(tmp_path)
    with pytest.raises(OSError, match="set TMPDIR to a shorter one"):
        neutral.short_place(())


@pytest.mark.parametrize("words", [["write", "--jobs", "1", "one"], ["write", "one", "--jobs", "1"]])
def test_names_of_notebooks_may_follow_an_option(words, monkeypatch, tmp_path):
    monkeypatch.setattr(render, "NOTEBOOKS", tmp_path)
    (tmp_path / "one.ipynb").touch()
    (tmp_path / "two.ipynb").touch()
    calls = []
    monkeypatch.setattr(stored, "write", lambda notebooks, jobs: calls.append((notebooks, jobs)) or 0)
    monkeypatch.setattr(sys, "argv", ["stored.py", *words])
    assert stored.main() == 0 and calls == [([tmp_path / "one.ipynb"], 1)]


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
