"""Figures of the theory chapters that the reader moves: every position of a slider is computed beforehand."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from afd_study.figures.style import INK, METHODS, need
from afd_study.figures.theory_plots import named

AXIS = {"gridcolor": "#E6E6E6", "linecolor": "#888888", "zeroline": False, "showline": True}
BASE: dict[str, Any] = {
    "template": "none",
    "height": 500,
    "font": {"family": "sans-serif", "size": 13, "color": INK},
    "paper_bgcolor": "white",
    "plot_bgcolor": "white",
    "hoverlabel": {"bgcolor": "white"},
}
MOVED = "#0072B2"


def plain(values: Any, digits: int = 5) -> list[float]:
    """Return numbers as plain JSON: Python floats with `digits` decimals."""
    return [round(float(value), digits) for value in values]


def slider(steps: Sequence[dict[str, Any]], *, active: int, prefix: str, top: int = 50) -> dict[str, Any]:
    """Return a slider over precomputed steps, each with a label, a method and args."""
    return {
        "steps": list(steps),
        "active": active,
        "pad": {"t": top},
        "len": 1.0,
        "currentvalue": {"prefix": prefix, "font": {"size": 14}},
        "ticklen": 4,
        "font": {"size": 11},
    }


def moving_law(
    table: pd.DataFrame,
    *,
    positions: Sequence[str],
    fixed: Sequence[str] = ("pi_init", "pi_sft"),
    start: str | None = None,
    prefix: str = "λ = ",
) -> go.Figure:
    """Draw laws of responses as bars: some fixed, and one that a slider moves through `positions`.

    `table`: response, reward, and a column of probabilities for each fixed law and each position. Responses
    are ordered by reward; the title says the mean reward at the slider's position.
    """
    need(table, ("response", "reward", *fixed, *positions), what="moving_law")
    rows = table.sort_values("reward", kind="stable")
    said = [f"{text} ({reward:g})" for text, reward in zip(rows["response"], rows["reward"], strict=True)]
    first = positions[0] if start is None else start
    bars = [
        go.Bar(x=said, y=plain(rows[name]), name=named(name), marker={"color": METHODS[name].colour})
        for name in fixed
    ]
    bars.append(go.Bar(x=said, y=plain(rows[first]), name="moved", marker={"color": MOVED}))
    said_of = {name: _worth(rows, name, prefix) for name in positions}
    steps = [
        {
            "label": name,
            "method": "update",
            "args": [{"y": [plain(rows[name])]}, {"title.text": said_of[name]}, [len(fixed)]],
        }
        for name in positions
    ]
    figure = go.Figure(bars)
    top = max(float(rows[name].max()) for name in (*fixed, *positions))
    figure.layout = BASE | {
        "margin": {"l": 60, "r": 10, "t": 70, "b": 150},
        "title": {"text": said_of[first], "x": 0, "xref": "paper", "font": {"size": 15}},
        "barmode": "group",
        "bargap": 0.25,
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "xaxis": AXIS | {"title": {"text": "response (its hidden reward)"}, "tickangle": -50},
        "yaxis": AXIS | {"title": {"text": "probability"}, "range": [0, 1.05 * top]},
        "sliders": [slider(steps, active=list(positions).index(first), prefix=prefix, top=130)],
    }
    caption = f"Laws of responses; the slider moves the last one. Fixed: {', '.join(map(named, fixed))}."
    figure.layout.meta = {"caption": caption}
    return figure


def _worth(rows: pd.DataFrame, name: str, prefix: str) -> str:
    return f"{prefix}{name}: mean reward {(rows[name] * rows['reward']).sum():.2f}"
