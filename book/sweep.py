"""Sweeps run the same notebooks at every point of a grid of tasks, seeds and settings, and join their tables.

    python book/sweep.py SWEEP.yaml [--on slurm] [snakemake's own options, such as --cores 4 or -n]

book/sweeps/example.yaml says what a sweep file holds. Points share the store: each step is computed once.
"""

import argparse
import ast
import fcntl
import hashlib
import itertools
import json
import os
import re
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import papermill
import render
from pydantic import Field, NonNegativeInt, ValidationError

from afd_study.errors import AfdError, DataError, SpecError, unknown_name
from afd_study.figures.figure_data import CSV_MIME, of_plotly, slug
from afd_study.figures.mime import MIME_TYPE, harmless_csv
from afd_study.plain_yaml import read_yaml
from afd_study.settings import Settings
from afd_study.study.notebook_parameters import refuse_unread
from afd_study.study.spec import load_spec

HERE = Path(__file__).resolve().parent
SWEEPS, MADE = HERE / "sweeps", HERE / "_build" / "sweeps"


class Sweep(Settings):
    """The content of a sweep file; every combination of `tasks`, `seeds` and the grid's values is a point."""

    notebooks: tuple[str, ...] = Field(min_length=1)
    tasks: tuple[str, ...] = ()
    seeds: tuple[NonNegativeInt, ...] = ()
    grid: dict[str, tuple[Any, ...]] = {}
    fixed: dict[str, Any] = {}  # equal at all points


@dataclass(frozen=True)
class Point:
    """One notebook to run, what is varied, and the notebook's parameters."""

    notebook: str
    varied: Mapping[str, Any]
    parameters: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The point's folder, such as 04_experiment-harmless-0-0.5-3fa9c1d2; other parameters, other name."""
        words = re.sub(r"[^\w.]+", "-", "-".join([self.notebook, *map(str, self.varied.values())]))[:80]
        text = json.dumps(self.parameters, sort_keys=True, default=str).encode()
        return f"{words}-{hashlib.blake2b(text, digest_size=4).hexdigest()}"


def load(file: Path) -> dict[str, Point]:
    """Return a sweep's points by name, ordered by notebook, task, seed, and the grid's values in turn.

    Raises SpecError for a file that cannot be read, and for a name that no notebook or spec knows.
    """
    content = read_yaml(_text(file), f"the sweep {file.name}")
    try:
        sweep = Sweep.model_validate(content)
    except ValidationError as fault:
        for key in content if isinstance(content, dict) else ():
            if key not in Sweep.model_fields:
                raise unknown_name(f"key of {file.name}", key, Sweep.model_fields) from None
        reasons = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in fault.errors())
        raise SpecError(
            f"{file.name}: {reasons}; book/sweeps/example.yaml shows what a sweep holds"
        ) from None
    always: dict[str, tuple[Any, ...]] = {"task": sweep.tasks, "seed": sweep.seeds}
    axes = {name: values for name, values in always.items() if values}
    for name in sweep.grid.keys() & {*axes, *sweep.fixed} | sweep.fixed.keys() & axes:
        raise SpecError(f"{file.name} gives '{name}' in two places: leave one of them out")
    axes |= sweep.grid
    for name, values in axes.items():
        if repeated := [value for value in values if values.count(value) > 1]:
            raise SpecError(f"{file.name} gives {name} = {str(repeated[0])[:60]!r} twice: give it once")
    points = []
    for notebook, *chosen in itertools.product(sweep.notebooks, *axes.values()):
        varied = dict(zip(axes, chosen, strict=True))
        points.append(Point(notebook, varied, parameters(notebook, {**sweep.fixed, **varied})))
    if not points:
        raise SpecError(f"{file.name} has no point: a list of its grid is empty")
    return {point.name: point for point in points}


def _text(file: Path) -> str:
    """Return a file's text; SpecError where it cannot be read, is no file, or no UTF-8."""
    try:
        if file.exists() and not file.is_file():
            raise SpecError(f"the sweep {file} is no file: name a YAML file such as book/sweeps/example.yaml")
        return file.read_text(encoding="utf-8")
    except OSError as fault:
        raise SpecError(f"the sweep {file} cannot be read: {fault.strerror or fault}; name a file") from None
    except UnicodeDecodeError as fault:
        raise SpecError(f"the sweep {file} is no UTF-8 (byte {fault.start}): save it as UTF-8") from None


def parameters(notebook: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a notebook's parameters: its own by name, and others in `overrides`, if it has that.

    Raises SpecError, before hours of work, for an unknown notebook, parameter or setting.
    """
    declared = _declared(notebook)
    own = {name: value for name, value in settings.items() if name in declared}
    others = {name: value for name, value in settings.items() if name not in declared}
    if "overrides" in declared:
        own["overrides"] = {**own.get("overrides", {}), **others}
        defaults = {name: ast.literal_eval(declared[name]["default"]) for name in ("task", "profile")}
        task, profile = (own.get(name, default) for name, default in defaults.items())
        load_spec(task, profile, own["overrides"])
    elif others:
        raise unknown_name(f"parameter of notebooks/{notebook}.ipynb", next(iter(others)), declared)
    return own


@cache
def _declared(notebook: str) -> dict[str, Any]:
    known = sorted(path.stem for path in render.NOTEBOOKS.glob("*.ipynb"))
    if notebook not in known:
        raise unknown_name("notebook", notebook, known)
    path = render.NOTEBOOKS / f"{notebook}.ipynb"
    cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    refuse_unread(cells, where=f"notebooks/{path.name}")
    return dict(papermill.inspect_notebook(str(path)))


@cache
def made_of(notebook: str) -> str:
    """Return the hash of what a notebook depends on; when it changes, Snakemake runs the points again."""
    return render.chapter(notebook, MADE, {}).key


def run_point(point: Point, folder: Path) -> None:
    """Run a point's notebook into `folder`, and write each table that its figures bring beside it as CSV.

    Raises RenderError with notebook, cell and traceback.
    """
    os.environ["TQDM_DISABLE"] = "1"
    chapter = render.chapter(point.notebook, folder, point.parameters)
    render.execute(chapter)
    for name, csv in tables(nbformat.read(chapter.target, as_version=4)).items():
        (folder / f"{name}.csv").write_text(csv, encoding="utf-8")


def tables(notebook: nbformat.NotebookNode) -> dict[str, str]:
    """Return the CSV of an executed notebook's figures by cell, place in it and caption (13.1-training).

    Tables are opened in spreadsheets: no cell of them is a formula.
    """
    by_name: dict[str, str] = {}
    for number, cell in enumerate(notebook.cells, start=1):
        bundles = [output for output in cell.get("outputs", []) if "data" in output]
        figures = [
            (item.data[CSV_MIME], item.metadata.get(CSV_MIME)) for item in bundles if CSV_MIME in item.data
        ]
        plots = [item.data[MIME_TYPE] for item in bundles if MIME_TYPE in item.data]
        figures += [(of_plotly(plot), plot.get("layout", {}).get("meta")) for plot in plots]
        for place, (csv, about) in enumerate(figures, start=1):
            by_name[f"{number:02d}.{place}-{slug((about or {}).get('caption', 'figure'))}"] = harmless_csv(
                csv
            )
    return by_name


def gather(points: Mapping[str, Point], folder: Path, target: Path) -> None:
    """Join each table over all points, with the point and the varied settings in front; write the points too.

    If a table already has such a column (task, seed), that column stays as it is.
    """
    rows = [{"point": name, "notebook": point.notebook, **point.varied} for name, point in points.items()]
    names: dict[tuple[str, str], str] = {}
    frames: dict[tuple[str, str], list[pd.DataFrame]] = {}
    for row in rows:
        for path in sorted((folder / row["point"]).glob("*.csv")):
            table = pd.read_csv(path, dtype=str, keep_default_na=False)  # as written, digit for digit
            front = {key: str(value) for key, value in row.items() if key not in table}
            place = (row["notebook"], path.stem.partition("-")[0])  # the caption may differ with the point
            names.setdefault(place, path.name)
            frames.setdefault(place, []).append(pd.concat([pd.DataFrame(front, table.index), table], axis=1))
    for notebook, number in frames:
        (target / notebook).mkdir(parents=True, exist_ok=True)
        whole = pd.concat(frames[notebook, number], ignore_index=True)
        _write(whole, target / notebook / names[notebook, number])
    _write(pd.DataFrame(rows), target / "points.csv")


def _write(table: pd.DataFrame, path: Path) -> None:
    path.write_text(harmless_csv(table.to_csv(index=False, lineterminator="\n")), encoding="utf-8")


def become_snakemake(file: Path, folder: Path, on: str, words: list[str]) -> None:
    """Replace this process by Snakemake, which runs the sweep and holds its folder alone.

    Raises SpecError for a faulty sweep, without Snakemake, and where another run is at the same sweep.
    """
    count = len(load(file))
    if find_spec("snakemake") is None:
        raise SpecError("a sweep needs Snakemake: python -m pip install -c constraints.txt -e '.[sweep]'")
    folder.mkdir(parents=True, exist_ok=True)
    hold = os.open(folder, os.O_RDONLY)
    os.set_inheritable(hold, True)  # Snakemake inherits it and its jobs do not, so it ends with Snakemake
    try:
        fcntl.flock(hold, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise SpecError(f"the sweep {file.stem} is running already: wait for it, or end it") from None
    print(f"{count} points; their notebooks and tables go to {folder}", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(SWEEPS / "Snakefile")]
    command += ["--directory", str(folder), "--workflow-profile", str(SWEEPS / "profiles" / on)]
    os.execv(sys.executable, [*command, "--config", f"sweep={file.resolve()}", *words])


def end_with_parent() -> None:
    """End this process soon after its parent has ended, in whatever way; the kernel does the same."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main() -> int:
    """Do what the command line asks; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0], allow_abbrev=False)
    parser.add_argument("sweep", type=Path, help="a file such as book/sweeps/example.yaml")
    parser.add_argument("--on", choices=["default", "slurm"], default="default", help="default: this machine")
    parser.add_argument("--into", type=Path, metavar="FOLDER", help="default: book/_build/sweeps/NAME")
    parser.add_argument("--point", metavar="NAME", help="run this point alone; for Snakemake")
    options, words = parser.parse_known_args()
    try:
        if options.point is None:
            folder = options.into or MADE / options.sweep.stem
            become_snakemake(options.sweep, folder.resolve(), options.on, words)
        end_with_parent()
        points = load(options.sweep)
        if options.point not in points:
            raise unknown_name(f"point of {options.sweep.name}", options.point, points)
        run_point(points[options.point], options.into)
    except (AfdError, render.RenderError) as fault:
        print(f"sweep: {fault}", file=sys.stderr)
        return 2 if isinstance(fault, (SpecError, DataError)) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
