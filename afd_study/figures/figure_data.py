"""The table beside every figure: what is drawn, as CSV that a page offers for download.

A figure made from a tidy table carries that table. For any other figure the numbers are read off its marks.
"""

import base64
import html
import re
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import Collection, LineCollection, PathCollection, QuadMesh
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from afd_study.errors import DataError, visible

CSV_MIME = "text/csv"
LARGEST = 400_000  # bytes of CSV: more would make the page slow to load
COLUMNS = ("panel", "series", "x", "y")  # of numbers that are read off a figure


def to_csv(table: pd.DataFrame) -> str:
    """Return a table as CSV with five significant digits, what can't be seen in its texts spelled out.

    Raises DataError for an empty or a huge one.
    """
    if table.empty:
        raise DataError("a figure's table has no rows; a figure shows what its table holds")
    plain = table.rename(columns=visible).map(lambda cell: visible(cell) if isinstance(cell, str) else cell)
    text = plain.to_csv(index=False, float_format="%.5g", lineterminator="\n")
    if len(text) > LARGEST:
        raise DataError(
            f"a figure's table takes {len(text)} bytes as CSV, more than {LARGEST}: show fewer rows"
        )
    return text


def drawn(figure: Figure) -> pd.DataFrame:
    """Return the numbers that a still figure draws: columns panel, series, x, y."""
    rows: list[tuple[str, str, Any, Any]] = []
    for number, axes in enumerate(figure.axes):
        if axes.get_visible():
            rows += [(axes.get_title(loc="left") or f"panel {number + 1}", *row) for row in _artists(axes)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _artists(axes: Axes) -> list[tuple[str, Any, Any]]:
    """Return (series, x, y) of every mark: lines, points, bars, segments' ends, cells of a heat map."""
    rows: list[tuple[str, Any, Any]] = []
    for line in axes.get_lines():
        label = _label(line, "line")
        rows += [(label, x, y) for x, y in np.column_stack(line.get_data()).tolist()]
    for collection in axes.collections:
        rows += _collection(collection)
    for patch in axes.patches:
        if isinstance(patch, Rectangle):
            rows.append((_label(patch, "bar"), patch.get_x() + patch.get_width() / 2, patch.get_height()))
    return rows


def _collection(collection: Collection) -> list[tuple[str, Any, Any]]:
    """Return (series, x, y) of a collection of marks; nothing of a kind that holds no numbers, as bands."""
    if isinstance(collection, PathCollection):
        offsets = np.ma.getdata(collection.get_offsets())
        return [(_label(collection, "points"), x, y) for x, y in offsets.tolist()]
    if isinstance(collection, LineCollection):
        ends = [point for segment in collection.get_segments() for point in np.asarray(segment).tolist()]
        return [(_label(collection, "interval ends"), x, y) for x, y in ends]
    if isinstance(collection, QuadMesh):
        values = np.ravel(np.asarray(collection.get_array())).tolist()
        return [(f"cell {place}", place, value) for place, value in enumerate(values)]
    return []


def _label(artist: Artist, otherwise: str) -> str:
    label = str(artist.get_label())
    return otherwise if label.startswith("_") else label


def of_plotly(figure: dict[str, Any]) -> str:
    """Return the CSV of an interactive figure given as plotly's JSON: its own, or what its traces hold.

    A figure's own CSV is `layout.meta.csv`. Frames of a slider are rows of their own, named in `panel`.
    """
    own = ((figure.get("layout") or {}).get("meta") or {}).get("csv")
    if own:
        return str(own)
    rows = [("", *row) for trace in figure.get("data", []) for row in _trace(trace)]
    for frame in figure.get("frames") or []:
        panel = str(frame.get("name", ""))
        rows += [(panel, *row) for trace in frame.get("data", []) for row in _trace(trace)]
    return to_csv(pd.DataFrame(rows, columns=list(COLUMNS)))


def _trace(trace: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    x, y, z = (_array(trace.get(axis)) for axis in "xyz")
    name = str(trace.get("name", trace.get("type", "")))
    if z is not None:  # a heat map: one row a cell
        cells = [(row, column, value) for row, line in enumerate(z) for column, value in enumerate(line)]
        return [(f"{name} {row}", column, value) for row, column, value in cells]
    if y is None:
        return []
    along = x if x is not None else range(len(y))
    return [(name, a, b) for a, b in zip(along, y, strict=False) if b is not None]


def _array(value: Any) -> Any:
    """Return a list of numbers, decoded where plotly wrote it as base64."""
    if isinstance(value, dict) and "bdata" in value:
        flat = np.frombuffer(base64.b64decode(value["bdata"]), dtype=np.dtype(value["dtype"]))
        shape = [int(size) for size in str(value.get("shape", "")).split(",") if size.strip()]
        return (flat.reshape(shape) if shape else flat).tolist()
    return value


def slug(caption: str) -> str:
    """Return a file name from the first words of a caption."""
    words = re.findall(r"[a-z0-9]+", caption.lower())
    return "-".join(words[:6]) or "figure"


def link(csv: str, caption: str) -> str:
    """Return the link under a figure: the CSV itself, encoded, so that no text in it can be markup."""
    encoded = base64.b64encode(csv.encode()).decode()
    rows = csv.count("\n") - 1
    return (
        f'<p class="afd-csv"><a download="{html.escape(slug(caption), quote=True)}.csv" '
        f'href="data:text/csv;charset=utf-8;base64,{encoded}">table of this figure (CSV, {rows} rows)</a></p>'
    )
