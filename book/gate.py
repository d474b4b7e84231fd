"""What may be published: executed notebooks without a fault, and pages that hold what they should.

Sphinx publishes a notebook that failed half-way, red banner included, and a green build can leave a page
empty. These functions list faults; a notebook or page with an empty list may be published.
"""

import re
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path

from markup import markup_faults
from nbformat import NotebookNode

# a page shorter than this (in characters of text) has lost its content
SHORTEST_PAGE = 300
WIDGETS = "application/vnd.jupyter.widget"
POLICY = re.compile(r"""<meta http-equiv="Content-Security-Policy" content="default-src 'none'; [^"]+" />""")
MARKUP = ("text/html", "image/svg+xml", "text/markdown")  # kinds of output that reach the page as markup
# figures.tables.show_texts marks its tables so: their cells are data, in which a path is a text like others
TEXTS = re.compile(r'\A\s*<div class="[^"]*\bafd-texts\b')
MACHINE_PATH = re.compile(r"(?<![\w.:/])/(?:home|root|tmp|Users|work|var/folders|opt|usr/lib)/[\w.-]+")
HEADING = re.compile(r"^#[ \t]+(.+?)[ \t]*$", re.MULTILINE)


def notebook_faults(notebook: NotebookNode, name: str) -> list[str]:
    """Return why an executed notebook may not be published, naming notebook and cell (from 1)."""
    faults = []
    if notebook.metadata.get("papermill", {}).get("exception"):
        faults.append(f"{name}: papermill records that it failed")
    if notebook.metadata.get("widgets"):
        faults.append(f"{name}: holds widget state, which needs the network (use plain tqdm)")
    for number, cell in enumerate(notebook.cells, start=1):
        if cell.cell_type == "code":
            faults += [f"{name}, cell {number}: {fault}" for fault in _cell_faults(cell)]
    return faults


def _cell_faults(cell: NotebookNode) -> list[str]:
    """Return what is wrong with one code cell."""
    faults = []
    if cell.source.strip() and cell.execution_count is None:
        faults.append("was not executed")
    if cell.metadata.get("papermill", {}).get("exception"):
        faults.append("papermill records an exception")
    for output in cell.outputs:
        faults += _output_faults(output)
    kinds = [kind for output in cell.outputs for kind in output.get("data", {})]
    if kinds.count("image/png") > kinds.count("text/csv"):
        faults.append("shows a figure without its table (figures of afd_study.figures bring theirs)")
    return faults


def _output_faults(output: NotebookNode) -> list[str]:
    """Return what is wrong with one output."""
    if output.output_type == "error":
        return [f"raised {output.ename}: {output.evalue}"]
    faults = []
    bundle = output.get("data", {})
    if any(kind.startswith(WIDGETS) for kind in bundle):
        faults.append("shows a widget, which needs the network (use plain tqdm)")
    markup = [text for kind in MARKUP for text in markup_faults(_joined(bundle, kind))]
    markup += ["a script"] if "application/javascript" in bundle else []
    if markup:
        remedy = "print it, or show a table or a figure"
        faults.append(f"has an output that runs in the reader's browser, {markup[0]} ({remedy})")
    plain = "" if TEXTS.match(_joined(bundle, "text/html")) else _joined(bundle, "text/plain")
    path = MACHINE_PATH.search(_joined(output, "text") + plain)
    if path:
        faults.append(f"prints a path of this machine: {path.group()}")
    return faults


def _joined(content: Mapping[str, object], kind: str) -> str:
    """Return a text of an output, which a notebook's file may hold as a list of lines."""
    value = content.get(kind, "")
    return "".join(map(str, value)) if isinstance(value, list) else str(value)


def heading(source: Path) -> str:
    """Return the first top heading of a Markdown page or notebook, or an empty string."""
    if source.suffix == ".ipynb":
        import nbformat

        cells = nbformat.read(source, as_version=4).cells
        text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    else:
        text = source.read_text(encoding="utf-8")
    match = HEADING.search(text)
    return match.group(1) if match else ""


class _Page(HTMLParser):
    """Collects the text of a page's article and of its h1."""

    def __init__(self) -> None:
        super().__init__()
        self.article, self.h1 = "", ""
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("article", "h1", "script", "style"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            del self._open[len(self._open) - 1 - self._open[::-1].index(tag) :]

    def handle_data(self, data: str) -> None:
        if "article" in self._open and not {"script", "style"} & set(self._open):
            self.article += data
            self.h1 += data if "h1" in self._open else ""


def page_faults(page: Path, title: str) -> list[str]:
    """Return why a built page may not be published.

    It is missing or too short, lacks its heading or its security policy, or has something that runs in its
    markup, or that another host would be asked for.
    """
    if not page.is_file():
        return [f"{page.name}: was not built"]
    text = page.read_text(encoding="utf-8")
    parser = _Page()
    parser.feed(text)
    faults = [f"{page.name}: has {fault}" for fault in markup_faults(text, own_scripts=True)]
    if not POLICY.search(text):
        faults.append(f"{page.name}: has no security policy (book/_ext/offline_book.py puts it there)")
    if not title or _letters(title) not in _letters(parser.h1):
        faults.append(f"{page.name}: lacks its heading '{title}' (it has '{parser.h1.strip()}')")
    if len(parser.article.split()) == 0 or len(parser.article) < SHORTEST_PAGE:
        faults.append(f"{page.name}: holds {len(parser.article)} characters, too few for a page")
    return faults


def _letters(text: str) -> str:
    """Return the letters and digits of a heading, without markup, numbers' dots and typographic quotes."""
    return re.sub(r"[\W_]+", "", text).lower()
