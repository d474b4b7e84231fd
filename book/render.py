"""From notebooks/ to executed chapters: which notebook runs with which parameters, and whether it has to run.

A chapter's key is a hash of everything that can change it: the notebook, its parameters, the package's
sources, the pinned packages and the files of a data folder. The key is written into the executed notebook.
That notebook exists only if it passed the gate, so an equal key means that there is nothing to do.
"""

import ast
import hashlib
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import gate
import nbformat
import neutral
import papermill
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from papermill.exceptions import PapermillExecutionError

from afd_study.errors import visible

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
FOLDERS = ("hh_rlhf",)  # parameters that name a folder, relative to NOTEBOOKS, where the kernels run
NEEDS_DATA = "needs-data"  # the tag of cells that a page without a data folder does not show
TRIES = 2  # a kernel that dies while starting gets one more chance; a cell that raises gets none

# begun first: the others fill the other cores meanwhile
LONGEST = ("03_covering_and_seeking", "03b_free_feature")


class Rendering(NamedTuple):
    """How a notebook becomes a chapter: parameters that are fixed, and the heading of the page."""

    notebook: str
    parameters: Mapping[str, object] = {}
    title: str = ""  # empty: the notebook's own


# Chapters that are not simply the notebook of their name.
RENDERED: Mapping[str, Rendering] = {
    "04_harmless": Rendering("04_experiment", {"task": "harmless"}, "Harmless: a controlled world"),
    "05_helpful": Rendering("04_experiment", {"task": "helpful"}, "Helpful: a second controlled world"),
}


class IpcKernelManager(AsyncKernelManager):
    """A kernel of this interpreter, reached through sockets in the file system: no ports to race for."""

    transport = "ipc"

    def __init__(self, *words: Any, **settings: Any) -> None:
        super().__init__(*words, **settings)
        self._sockets = tempfile.TemporaryDirectory(prefix="afd", dir=neutral.short_place())
        self.connection_file = str(Path(self._sockets.name) / "connection.json")
        self.ip = str(Path(self._sockets.name) / "kernel")  # short: a socket's path may have 107 characters

    @property
    def kernel_spec(self) -> KernelSpec:
        """A kernel of this very interpreter, whatever `python3` means to an installed Jupyter."""
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=command, display_name="Python 3", language="python")


class RenderError(Exception):
    """A notebook that failed or may not be published; its text names notebook, cell and reason."""


@dataclass(frozen=True)
class Chapter:
    """One executed notebook of the book: its source, its parameters, where it goes, its key and its title."""

    name: str
    source: Path
    target: Path
    parameters: Mapping[str, object]
    key: str
    title: str = ""

    def is_current(self) -> bool:
        """Tell whether the executed notebook exists and was made from this source with these settings."""
        try:
            metadata = nbformat.read(self.target, as_version=4).metadata
        except (OSError, ValueError, nbformat.reader.NotJSONError):
            return False
        return bool(metadata.get("afd", {}).get("key") == self.key)


def chapter(name: str, folder: Path, settings: Mapping[str, object]) -> Chapter:
    """Return the chapter `name` of the table of contents, with those `settings` that its notebook declares.

    Raises RenderError when there is no such notebook, or a fixed parameter that it does not declare.
    """
    notebook, fixed, title = RENDERED.get(name, Rendering(name))
    source = NOTEBOOKS / f"{notebook}.ipynb"
    if not source.is_file():
        raise RenderError(f"_toc.yml names chapters/{name}, but there is no notebooks/{source.name}")
    declared = papermill.inspect_notebook(str(source))
    unknown = [key for key in fixed if key not in declared]
    if unknown:
        raise RenderError(f"notebooks/{source.name} does not declare {unknown}, set for {name} in render.py")
    own = {key: value for key, value in settings.items() if key in declared and value is not None}
    parameters = {**own, **fixed}
    key = _key(source, parameters, title)
    return Chapter(name, source, folder / f"{name}.ipynb", parameters, key, title)


def digest(paths: Iterable[Path], base: Path) -> str:
    """Return one hash of the names (relative to `base`) and contents of `paths`."""
    total = hashlib.sha256()
    for path in sorted(paths):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"{os.path.relpath(path, base)}={content}\n".encode())
    return total.hexdigest()


def code_digest() -> str:
    """Return the hash of code and frozen results: package, results, pinned packages, version of Python."""
    package = [path for path in (ROOT / "afd_study").rglob("*") if path.suffix in (".py", ".yaml")]
    frozen = [path for path in (ROOT / "book" / "results").rglob("*") if path.suffix in (".csv", ".json")]
    return digest([*package, *frozen, ROOT / "constraints.txt"], ROOT) + platform.python_version()


def _key(source: Path, parameters: Mapping[str, object], title: str = "") -> str:
    """Return the key of a chapter; a data folder counts with its files' contents, not only its name."""
    settings = json.dumps(parameters, sort_keys=True, default=str) + title
    folders = [NOTEBOOKS / str(parameters[name]) for name in FOLDERS if parameters.get(name)]
    data = [digest((path for path in folder.rglob("*") if path.is_file()), folder) for folder in folders]
    parts = [hashlib.sha256(source.read_bytes()).hexdigest(), settings, code_digest(), *data]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def execute(chapter: Chapter) -> float:
    """Run a chapter's notebook and put the result in its place; return the seconds that it took.

    The result is written beside the target and renamed when it has passed the gate. So the target is always
    a whole notebook without faults. Raises RenderError with notebook, cell and traceback.
    """
    started = time.perf_counter()
    chapter.target.parent.mkdir(parents=True, exist_ok=True)
    beside = chapter.target.with_suffix(".running.ipynb")
    try:
        notebook = run_notebook(chapter.source, beside, chapter.parameters)
        faults = gate.notebook_faults(notebook, chapter.name)
        if faults:
            raise RenderError("\n".join(faults))
        if not any(chapter.parameters.get(name) for name in FOLDERS):
            notebook.cells = [
                cell for cell in notebook.cells if NEEDS_DATA not in cell.metadata.get("tags", [])
            ]
        seconds = time.perf_counter() - started
        if chapter.title:
            notebook.cells[0].source = retitled(notebook.cells[0].source, chapter.title)
        nbformat.write(_tidied(notebook, {"key": chapter.key, "seconds": round(seconds, 1)}), beside)
        beside.replace(chapter.target)
    finally:
        beside.unlink(missing_ok=True)
    return seconds


def retitled(source: str, title: str) -> str:
    r"""Return a notebook's first cell under another heading.

    >>> retitled("# An experiment\n\nText.", "Helpful")
    '# Helpful\n\nText.'
    """
    _, _, text = source.partition("\n")
    return f"# {title}\n{text}"


def run_notebook(source: Path, target: Path, parameters: Mapping[str, object]) -> nbformat.NotebookNode:
    """Run a notebook into `target`; try again if its kernel died, which is seldom the notebook's fault.

    Raises RenderError with notebook, cell and traceback.
    """
    for attempt in range(TRIES):
        try:
            with neutral.settings():
                return _papermill(source, target, parameters)
        except PapermillExecutionError as failure:
            # papermill adds a cell when it has parameters: count as the source does
            cell = failure.cell_index + 1 - bool(parameters)
            settings = f" with {dict(parameters)}" if parameters else ""
            text = f"notebooks/{source.name}{settings}, cell {cell}: {failure.ename}: {failure.evalue}"
            raise RenderError(f"{text}\n" + "\n".join(failure.traceback)) from None
        except RuntimeError as failure:  # nbclient's DeadKernelError and a kernel that never answered
            if attempt + 1 == TRIES:
                raise RenderError(f"notebooks/{source.name}: its kernel died: {failure}") from failure
    raise AssertionError("unreachable")


def _papermill(source: Path, target: Path, parameters: Mapping[str, object]) -> nbformat.NotebookNode:
    return papermill.execute_notebook(
        str(source),
        str(target),
        parameters=dict(parameters),
        kernel_name="python3",
        cwd=str(NOTEBOOKS),
        progress_bar=False,
        kernel_manager_class=IpcKernelManager,
        extra_arguments=["--log-level=50"],  # a kernel that is shut down reports it as an error
        start_timeout=120,
    )


def _tidied(notebook: nbformat.NotebookNode, record: dict[str, object]) -> nbformat.NotebookNode:
    """Return the notebook without times and paths of this run, and with its parameters in one cell."""
    notebook.metadata = nbformat.NotebookNode(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={"name": "python"},
        afd=record,
    )
    injected = [cell for cell in notebook.cells if "injected-parameters" in cell.metadata.get("tags", [])]
    notebook.cells = [cell for cell in notebook.cells if cell not in injected]
    for cell in notebook.cells:
        tags = list(cell.metadata.get("tags", []))
        cell.metadata = nbformat.NotebookNode({"tags": tags} if tags else {})
        for output in cell.get("outputs", []):
            _spell_out(output)
        if "parameters" in tags and injected:
            cell.source = merged_parameters(cell.source, injected[0].source)
    return notebook


def _spell_out(output: nbformat.NotebookNode) -> None:
    """Spell out what was printed and can't be seen: an escape sequence, a carriage return, reordered text."""
    if "text" in output:
        output.text = visible(output.text)
    if "text/plain" in output.get("data", {}):
        output.data["text/plain"] = visible(output.data["text/plain"])


def merged_parameters(declared: str, injected: str) -> str:
    """Return the parameters cell with injected values in place of defaults, so that the page shows what ran.

    >>> print(merged_parameters("seed: int = 0  # first seed", "seed = 3"))
    seed: int = 3  # first seed
    """
    values = {
        target.id: _as_source(ast.literal_eval(node.value))
        for node in ast.parse(injected).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    lines = declared.encode().splitlines()  # ast counts columns in bytes
    for node in ast.parse(declared).body:
        if not isinstance(node, ast.AnnAssign) or node.value is None or not isinstance(node.target, ast.Name):
            continue
        value, row = node.value, node.value.lineno - 1
        if node.target.id in values and value.end_lineno == value.lineno:
            new = values[node.target.id].encode()
            lines[row] = lines[row][: value.col_offset] + new + lines[row][value.end_col_offset :]
    return b"\n".join(lines).decode()


def _as_source(value: object) -> str:
    """Return a plain value as Python source, strings in double quotes like the sources'."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def execute_all(chapters: list[Chapter], jobs: int) -> dict[str, float]:
    """Run chapters, `jobs` at a time; return seconds by name. Raises RenderError naming all that failed."""
    os.environ.setdefault("TQDM_DISABLE", "1")
    threads = str(max(1, (os.cpu_count() or 1) // max(1, min(jobs, len(chapters)))))
    os.environ.setdefault("OMP_NUM_THREADS", threads)
    seconds: dict[str, float] = {}
    failures: list[str] = []
    chapters = sorted(chapters, key=lambda item: item.name not in LONGEST)  # a stable sort
    with ProcessPoolExecutor(max_workers=jobs, mp_context=get_context("spawn")) as pool:
        running: dict[Future[float], str] = {pool.submit(execute, item): item.name for item in chapters}
        for done in as_completed(running):
            name = running[done]
            try:
                seconds[name] = done.result()
                print(f"  {name}: {seconds[name]:.0f} s", flush=True)
            except BrokenExecutor as failure:
                failures.append(f"{name}: the process that ran it was killed ({failure})")
            except RenderError as failure:
                failures.append(str(failure))
                print(f"  {name}: failed", flush=True)
    if failures:
        raise RenderError("\n\n".join(failures))
    return seconds
