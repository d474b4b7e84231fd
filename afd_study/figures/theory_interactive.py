"""Figures of the theory chapters that the reader moves: every position of a slider is computed beforehand."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from afd_study.figures.interactive import DASHES, buttons_above
from afd_study.figures.style import INK, METHODS, need
from afd_study.figures.theory_plots import DIVERGENCE_LOOKS, known_divergences, named

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
FLOOR, CEILING = 1e-2, 1e2  # of a divergence that is drawn: beyond lies the frame's edge
DEMO_LINE, DEMO_FILL = {"color": METHODS["demonstrations"].colour}, "rgba(123,75,42,0.25)"
MEASURES = {"coverage": ("#0072B2", "solid"), "precision": ("#D55E00", "dash")}
UPPER, LOWER = {"row": 1, "col": 1}, {"row": 2, "col": 1}


def plain(values: Any, digits: int = 5) -> list[float]:
    """Return numbers as plain JSON: Python floats with `digits` decimals."""
    return [round(float(value), digits) for value in values]


def step(label: str, method: str, *args: Any) -> dict[str, Any]:
    """Return one position of a slider: what it is called, and the plotly method that it calls."""
    return {"label": label, "method": method, "args": list(args)}


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
    labels = [f"{text} ({reward:g})" for text, reward in zip(rows["response"], rows["reward"], strict=True)]
    first = positions[0] if start is None else start
    looks = [(name, named(name), METHODS[name].colour) for name in fixed]
    bars = [
        go.Bar(x=labels, y=plain(rows[column]), name=name, marker={"color": colour})
        for column, name, colour in (*looks, (first, "extrapolated", MOVED))
    ]
    titles = {name: _worth(rows, name, prefix) for name in positions}
    steps = [
        step(name, "update", {"y": [plain(rows[name])]}, {"title.text": titles[name]}, [len(fixed)])
        for name in positions
    ]
    figure = go.Figure(bars)
    top = max(float(rows[name].max()) for name in (*fixed, *positions))
    figure.layout = BASE | {
        "height": 560,
        "margin": {"l": 60, "r": 10, "t": 90, "b": 180},
        "title": {"text": titles[first], "x": 0, "xref": "paper", "y": 0.98, "yanchor": "top"},
        "barmode": "group",
        "bargap": 0.25,
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "xaxis": AXIS
        | {"title": {"text": "response (its hidden reward)"}, "tickangle": -50, "automargin": "left"},
        "yaxis": AXIS | {"title": {"text": "probability"}, "range": [0, 1.05 * top]},
        "sliders": [slider(steps, active=list(positions).index(first), prefix=prefix, top=150)],
    }
    caption = f"Laws of responses; the slider moves the last one. Fixed: {', '.join(map(named, fixed))}."
    figure.layout.meta = {"caption": caption}
    return figure


def _worth(rows: pd.DataFrame, name: str, prefix: str) -> str:
    return f"{prefix}{name}: mean reward {(rows[name] * rows['reward']).sum():.2f}"


def moving_policy(
    laws: pd.DataFrame,
    values: pd.DataFrame,
    *,
    demo: pd.DataFrame,
    widths: dict[float, str],
    start: float,
    hidden: Sequence[str] = ("gan",),
) -> go.Figure:
    """Draw a policy that a slider moves across a demonstrator, above every divergence between the two.

    Buttons choose the policy's width. `laws` (deviation, mean, x, probability) and `values` (deviation,
    mean, divergence, value) are those of theory.gallery.moved_gaussians; `demo` has x and probability.

    Args:
        laws: the policy at every place and width.
        values: its divergences there; what leaves the frame is cut at its edge.
        demo: the demonstrator's law.
        widths: the deviations to choose from, and what their buttons say; the first is shown first.
        start: the mean to begin with.
        hidden: divergences left out.
    """
    need(laws, ("deviation", "mean", "x", "probability"), what="moving_policy's laws")
    need(values, ("deviation", "mean", "divergence", "value"), what="moving_policy's values")
    places, names = sorted(laws["mean"].unique()), known_divergences(values["divergence"], hidden)
    figure = make_subplots(rows=2, cols=1, row_heights=[0.38, 0.62], vertical_spacing=0.13)
    _add_demonstrator(figure, plain(demo["x"], 3), plain(demo["probability"]))
    groups: list[list[int]] = []
    for width in widths:
        first = len(figure.data)
        _add_width(figure, laws, values, names, width, start, visible=width == next(iter(widths)))
        groups.append(list(range(first, len(figure.data))))
    moved = [group[place] for group in groups for place in (0, -1)]
    steps = [
        step(f"{place:g}", "restyle", _moved_to(laws, values, names, list(widths), place), moved)
        for place in places
    ]
    figure.layout.sliders = [slider(steps, active=places.index(start), prefix="the policy's mean: ", top=70)]
    figure.layout.updatemenus = [_choice(list(widths.values()), groups, len(figure.data))]
    figure.update_layout(
        **(BASE | {"height": 740, "margin": {"l": 60, "r": 10, "t": 60, "b": 60}}),
        legend={"font": {"size": 12}},
        yaxis=AXIS | {"title": {"text": "probability"}, "rangemode": "tozero", "fixedrange": True},
        yaxis2=AXIS
        | {"title": {"text": "divergence (log scale)"}, "type": "log", "range": [-2, 2], "fixedrange": True},
    )
    figure.update_xaxes(AXIS | {"range": [min(laws["x"]), max(laws["x"])], "fixedrange": True})
    figure.layout.xaxis2.title.text = "where the policy's mean lies"
    figure.layout.meta = {"caption": "A slider moves the policy, and every divergence moves with it."}
    return figure


def _add_demonstrator(figure: go.Figure, x: list[Any], y: list[float]) -> None:
    filled = {"fill": "tozeroy", "fillcolor": DEMO_FILL, "line": DEMO_LINE}
    figure.add_scatter(x=x, y=y, name="demonstrator", hoverinfo="skip", **filled, **UPPER)


def _at(table: pd.DataFrame, width: float, place: float) -> pd.DataFrame:
    return table[(table["deviation"] == width) & (table["mean"] == place)]


def _heights(values: pd.DataFrame, names: list[str], width: float, place: float) -> list[float]:
    rows = _at(values, width, place).set_index("divergence")["value"].loc[names]
    return plain(rows.clip(FLOOR, CEILING))


def _moved_to(
    laws: pd.DataFrame, values: pd.DataFrame, names: list[str], widths: list[float], place: float
) -> dict[str, list[Any]]:
    """Return the coordinates of the policy and of the dots, in turn for each width."""
    data: dict[str, list[Any]] = {"x": [], "y": []}
    for width in widths:
        curve = _at(laws, width, place)
        data["x"] += [plain(curve["x"], 3), [float(place)] * len(names)]
        data["y"] += [plain(curve["probability"]), _heights(values, names, width, place)]
    return data


def _add_width(
    figure: go.Figure,
    laws: pd.DataFrame,
    values: pd.DataFrame,
    names: list[str],
    width: float,
    start: float,
    *,
    visible: bool,
) -> None:
    """Add the traces of one width: the policy, a curve for each divergence, and the dots on the curves."""
    law = _at(laws, width, start)
    x, y = plain(law["x"], 3), plain(law["probability"])
    policy = {"name": "policy", "mode": "lines", "line": {"color": INK, "width": 2.5}, "hoverinfo": "skip"}
    figure.add_scatter(x=x, y=y, visible=visible, **policy, **UPPER)
    for name in names:
        style = DIVERGENCE_LOOKS[name]
        rows = values[(values["deviation"] == width) & (values["divergence"] == name)]
        x, y = plain(rows["mean"], 3), plain(rows["value"].clip(FLOOR, CEILING * 10))
        line = {"color": style.colour, "dash": DASHES[style.line], "width": 2}
        curve = {"name": style.label, "mode": "lines", "line": line, "hovertemplate": "%{y:.3f}"}
        figure.add_scatter(x=x, y=y, visible=visible, **curve, **LOWER)
    colours = [DIVERGENCE_LOOKS[name].colour for name in names]
    marker = {"size": 11, "color": colours, "line": {"color": "white", "width": 1}}
    dots = {"mode": "markers", "marker": marker, "showlegend": False, "hoverinfo": "skip"}
    x, y = [start] * len(names), _heights(values, names, width, start)
    figure.add_scatter(x=x, y=y, visible=visible, **dots, **LOWER)


def _choice(labels: list[str], groups: list[list[int]], total: int) -> dict[str, Any]:
    """Return buttons that show one group of traces each, and whatever is in no group always."""
    grouped = {trace for group in groups for trace in group}
    visible = [[k not in grouped or k in group for k in range(total)] for group in groups]
    steps = [step(label, "restyle", {"visible": each}) for label, each in zip(labels, visible, strict=True)]
    return buttons_above(steps)


def moving_alpha(
    laws: pd.DataFrame, scores: pd.DataFrame, *, start: float, label: str = "outcome", height: int = 640
) -> go.Figure:
    """Draw the best fit under each alpha-divergence, above its coverage and precision along alpha.

    Args:
        laws: outcome, demo, and a column of probabilities for each alpha (the number itself as its name).
            Outcomes that are texts become bars, numbers a curve.
        scores: alpha, coverage, precision.
        start: the alpha to begin with.
        label: what the outcomes are.
        height: of the figure, in pixels.
    """
    need(scores, ("alpha", *MEASURES), what="moving_alpha's scores")
    alphas = sorted(scores["alpha"])
    need(laws, ("outcome", "demo", *alphas), what="moving_alpha's laws")
    figure = make_subplots(rows=2, cols=1, row_heights=[0.6, 0.4], vertical_spacing=0.24)
    _add_laws(figure, laws, start)
    ordered = scores.sort_values("alpha").set_index("alpha")
    for measure, (colour, dash) in MEASURES.items():
        line = {"color": colour, "dash": dash, "width": 2.5}
        along = plain(ordered[measure])
        figure.add_scatter(x=alphas, y=along, name=measure, mode="lines", line=line, **LOWER)
    dots = {"size": 12, "color": [colour for colour, _ in MEASURES.values()]}
    at = plain(ordered.loc[start, list(MEASURES)])
    hidden = {"showlegend": False, "hoverinfo": "skip"}
    figure.add_scatter(x=[start] * 2, y=at, mode="markers", marker=dots, **hidden, **LOWER)
    steps = []
    for alpha in alphas:
        y: list[Any] = [plain(laws[alpha]), plain(ordered.loc[alpha, list(MEASURES)])]
        steps.append(step(f"{alpha:g}", "restyle", {"y": y, "x": [_outcomes(laws), [alpha] * 2]}, [1, 4]))
    figure.layout.sliders = [slider(steps, active=alphas.index(start), prefix="α = ", top=60)]
    margin = {"l": 60, "r": 10, "t": 20, "b": 60}
    figure.update_layout(**(BASE | {"height": height, "margin": margin}), legend={"font": {"size": 12}})
    figure.update_xaxes(AXIS)
    figure.layout.xaxis.title.text, figure.layout.xaxis2.title.text = label, "α"
    top = 1.05 * _top(laws, alphas)
    figure.layout.yaxis.update(AXIS | {"title": {"text": "probability"}, "range": [0, top]})
    figure.layout.yaxis2.update(AXIS | {"range": [-0.03, 1.05], "title": {"text": "share"}})
    figure.layout.meta = {"caption": "A slider over alpha: the best fit, and how much it covers and errs."}
    return figure


def _outcomes(laws: pd.DataFrame) -> list[Any]:
    numeric = pd.api.types.is_numeric_dtype(laws["outcome"])
    return plain(laws["outcome"], 3) if numeric else laws["outcome"].astype(str).tolist()


def _top(laws: pd.DataFrame, alphas: list[float]) -> float:
    return float(laws[["demo", *alphas]].to_numpy().max())


def _add_laws(figure: go.Figure, laws: pd.DataFrame, start: float) -> None:
    """Add the demonstrator and the fit: curves over numbers, bars over texts."""
    x, demo, fit = _outcomes(laws), plain(laws["demo"]), plain(laws[start])
    if isinstance(x[0], str):
        figure.add_bar(x=x, y=demo, name="demonstrator", marker={**DEMO_LINE, "opacity": 0.5}, **UPPER)
        figure.add_bar(x=x, y=fit, name="best fit", marker={"color": INK}, **UPPER)
        return
    _add_demonstrator(figure, x, demo)
    line = {"color": INK, "width": 2.5}
    figure.add_scatter(x=x, y=fit, name="best fit", mode="lines", line=line, hoverinfo="skip", **UPPER)
