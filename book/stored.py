"""The notebooks' stored outputs: `write` runs the notebooks and stores what they show, `check` compares.

    python book/stored.py write [--jobs 2] [NAME ...]
    python book/stored.py check [--jobs 2] [NAME ...]

Notebooks run with their own defaults, which name the smoke profile. A cell tagged `nbval-ignore-output` shows
something that differs between machines or is large (figures, times). It has to run, and its output is not
stored. Every other cell's output is stored, and has to be the same on every machine.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import gate
import nbformat
import neutral
import render

IGNORED = "nbval-ignore-output"
NEUTRAL = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def main() -> int:
    """Write or check by the command line's settings; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("action", choices=["write", "check"])
    parser.add_argument("names", nargs="*", help="notebooks by name, without suffix (default: all)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_intermixed_args()  # before Python 3.12 parse_args takes no name after an option
    notebooks = sorted(render.NOTEBOOKS.glob("*.ipynb"))
    stems = [path.stem for path in notebooks]
    if missing := set(options.names) - set(stems):
        print(f"no such notebook: {sorted(missing)}; there are {stems}", file=sys.stderr)
        return 1
    if not notebooks:
        print("notebooks/ holds no notebook: nothing to do")
        return 0
    notebooks = [path for path in notebooks if not options.names or path.stem in options.names]
    return write(notebooks, options.jobs) if options.action == "write" else check(notebooks, options.jobs)


def write(notebooks: list[Path], jobs: int) -> int:
    """Run notebooks with their own defaults and store their outputs in place; return the exit status."""
    status = 0
    with ProcessPoolExecutor(max_workers=jobs, mp_context=get_context("spawn")) as pool:
        for path, faults in zip(notebooks, pool.map(store, notebooks), strict=True):
            print("\n".join([f"notebooks/{path.name}: {'not stored' if faults else 'stored'}", *faults]))
            status = status or int(bool(faults))
    return status


def store(path: Path) -> list[str]:
    """Run one notebook and store its outputs in place, unless it has faults; return the faults."""
    with tempfile.TemporaryDirectory(prefix="afd") as folder:
        try:
            notebook = render.run_notebook(path, Path(folder) / path.name, {})
        except render.RenderError as failure:
            return [str(failure)]
    faults = gate.notebook_faults(notebook, path.stem)
    if not faults:
        beside = path.with_suffix(".running")
        nbformat.write(stripped(notebook), beside)
        beside.replace(path)
    return faults


def stripped(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return the notebook without what differs between machines: times, versions and ignored outputs."""
    notebook.metadata = nbformat.from_dict(NEUTRAL)
    for cell in notebook.cells:
        tags = list(cell.metadata.get("tags", []))
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        if cell.cell_type == "code" and IGNORED in tags:
            cell.outputs = []
    return notebook


def check(notebooks: list[Path], jobs: int) -> int:
    """Run notebooks under nbval: every cell has to run, and every stored output has to come out again."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--nbval",
        "--nbval-current-env",
        "-p",
        "no:cacheprovider",
    ]
    workers = min(jobs, len(notebooks))
    command += ["-n", str(workers if workers > 1 else 0), "--dist", "loadfile", "--nbval-cell-timeout", "600"]
    with neutral.settings():
        return subprocess.run([*command, *map(str, notebooks)], cwd=render.ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
