"""How a method looks, everywhere: one colour, line and marker each.

The colours are safe for colour-blind readers (Okabe & Ito 2008). Learned reward models have colours,
controls are grey, so that a claim and its control are told apart at a glance.
"""

import io
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from afd_study.errors import DataError, unknown_name, visible
from afd_study.figures.figure_data import CSV_MIME, drawn, to_csv
from afd_study.figures.inks import ink_cells
from afd_study.figures.words import set_plainly
from afd_study.methods.arms import ARMS
from afd_study.methods.best_of_n import WITHOUT_LENGTH
from afd_study.methods.ensembles import parts_of


@dataclass(frozen=True)
class Look:
    """A method's label, colour (hex), matplotlib line and marker; `control` draws it thin."""

    label: str
    colour: str
    line: str = "-"
    marker: str = "o"
    control: bool = False


METHODS: dict[str, Look] = {
    "init_sft": Look("Init-SFT", "#0072B2", "-", "o"),
    "init_sft_x10": Look("Init-SFT, 10x samples", "#56B4E9", "--", "o"),
    "init_sft_bt": Look("Init-SFT, Bradley-Terry", "#7FA6C9", ":", "o"),
    "init_sft_linear": Look("Init-SFT, linear", "#003F63", "-.", "o"),
    "init_demo": Look("Init-Demo", "#D55E00", "-", "s"),
    "init_demo_x10": Look("Init-Demo, 10x samples", "#F0A07A", "--", "s"),
    "init_demo_bt": Look("Init-Demo, Bradley-Terry", "#8C3E00", ":", "s"),
    "sft_demo": Look("SFT-Demo", "#E69F00", "-", "D"),
    "sft_demo_x10": Look("SFT-Demo, 10x samples", "#B87F00", "--", "D"),
    "preferences": Look("preferences (BT)", "#CC79A7", "-", "^"),
    "preferences_128": Look("preferences, batch 128", "#B0588F", "--", "^"),
    "preferences_bce": Look("preferences, cross-entropy", "#E3B7CF", ":", "^"),
    "closed_form": Look("closed form", "#009E73", "--", "P"),
    "closed_form_per_token": Look("closed form per token", "#66C5AB", ":", "P"),
    "late_closed_form": Look("closed form from half-way SFT", "#00543E", "-.", "P"),
    "extrapolation": Look("extrapolation, token by token", "#332288", "-", "v"),
    "extrapolation_1.5": Look(ARMS["extrapolation_1.5"].label, "#9A8FD1", "-", "v"),
    "extrapolation_2": Look(ARMS["extrapolation_2"].label, "#7565BF", "-", "v"),
    "extrapolation_3": Look(ARMS["extrapolation_3"].label, "#5242A6", "-", "v"),
    "extrapolation_4": Look(ARMS["extrapolation_4"].label, "#1D1252", "-", "v"),
    "sequence_extrapolation": Look("extrapolation, whole responses", "#88CCEE", "--", "v"),
    "rl_init_sft": Look("RLOO on Init-SFT", "#117733", "-", "X"),
    "rl_init_sft_0.2": Look(ARMS["rl_init_sft_0.2"].label, "#66BB88", "-", "X"),
    "rl_init_sft_0.05": Look(ARMS["rl_init_sft_0.05"].label, "#2E8B57", "-", "X"),
    "rl_init_sft_0.01": Look(ARMS["rl_init_sft_0.01"].label, "#0B5A2A", "-", "X"),
    "ppo_init_sft_0.05": Look(ARMS["ppo_init_sft_0.05"].label, "#3FA66B", "--", "p"),
    "adversarial_reverse_kl": Look(ARMS["adversarial_reverse_kl"].label, "#C0392B", "-", "o"),
    "adversarial_js": Look(ARMS["adversarial_js"].label, "#E67E73", "-", "o"),
    "adversarial_forward_kl": Look(ARMS["adversarial_forward_kl"].label, "#F1A9A0", "-", "o"),
    "adversarial_reverse_kl_marked": Look(ARMS["adversarial_reverse_kl_marked"].label, "#7B241C", "-.", "s"),
    "adversarial_reverse_kl_from_sft": Look(
        ARMS["adversarial_reverse_kl_from_sft"].label, "#96281B", "-", "D"
    ),
    "true_reverse_kl": Look(ARMS["true_reverse_kl"].label, "#C0392B", "--", "P", control=True),
    "true_js": Look(ARMS["true_js"].label, "#E67E73", "--", "P", control=True),
    "true_forward_kl": Look(ARMS["true_forward_kl"].label, "#F1A9A0", "--", "P", control=True),
    "true_reverse_kl_from_sft": Look(
        ARMS["true_reverse_kl_from_sft"].label, "#96281B", "--", "X", control=True
    ),
    "dpo_demo_strength_1": Look(ARMS["dpo_demo_strength_1"].label, "#882255", "-", "s"),
    "dpo_demo_strength_0.5": Look(ARMS["dpo_demo_strength_0.5"].label, "#AA4499", "-", "s"),
    "dpo_demo_strength_0.1": Look(ARMS["dpo_demo_strength_0.1"].label, "#D98CC9", "-", "s"),
    "dpo_optimum_strength_1": Look("optimum of DPO, strength 1", "#882255", ":", "*", control=True),
    "dpo_optimum_strength_0.5": Look("optimum of DPO, strength 0.5", "#AA4499", ":", "*", control=True),
    "dpo_optimum_strength_0.1": Look("optimum of DPO, strength 0.1", "#D98CC9", ":", "*", control=True),
    "spin_1": Look(ARMS["spin_1"].label, "#44AA99", "-", "D"),
    "spin": Look(ARMS["spin"].label, "#00796B", "-", "D"),
    "dpo_preferences": Look(ARMS["dpo_preferences"].label, "#CC6677", "-", "^"),
    "sft_preferred": Look(ARMS["sft_preferred"].label, "#C9B037", "-", "^"),
    "distilled_1": Look(ARMS["distilled_1"].label, "#999933", "-", "o"),
    "distilled_2": Look(ARMS["distilled_2"].label, "#66661F", "-", "o"),
    "distilled_3": Look(ARMS["distilled_3"].label, "#4D4D14", "-", "o"),
    "distilled_2_fresh": Look(ARMS["distilled_2_fresh"].label, "#B8B84D", "--", "o"),
    "distilled_3_fresh": Look(ARMS["distilled_3_fresh"].label, "#8A8A2E", "--", "o"),
    "oracle": Look("oracle (the judge)", "#000000", "-", "*", control=True),
    "random": Look("random pick", "#777777", ":", ".", control=True),
    "likelihood": Look("likelihood", "#555555", "--", "X", control=True),
    "likelihood_per_token": Look("likelihood per token", "#555555", ":", "X", control=True),
    "longest": Look("longest", "#999999", "-.", ">", control=True),
    "shortest": Look("shortest", "#999999", "--", "<", control=True),
    "pi_init": Look("initial policy", "#A6A6A6", "-.", "v", control=True),
    "pi_sft": Look("SFT policy", "#3B4A6B", "-", "h", control=True),
    "demonstrations": Look("demonstrations", "#7B4B2A", "--", "d", control=True),
}
SPARE = ("#1B9E77", "#7570B3", "#E7298A", "#66A61E", "#E6AB02", "#A6761D")  # of arms that have no line above
METHODS |= {
    name: Look(ARMS[name].label, SPARE[place % len(SPARE)], "-.", "H")
    for place, name in enumerate(name for name in ARMS if name not in METHODS)
}
"""Every method's look, in the order of legends. An arm's label is its own; its colour is a line here."""

LEVELS = ("pi_init", "pi_sft", "demonstrations")
VERDICTS = {
    "supported": Look("supported", "#0072B2", "-", "o"),
    "contradicted": Look("contradicted", "#D55E00", "-", "X"),
    "inconclusive": Look("inconclusive", "#777777", "-", "d"),
}
WIDTH = 7.5  # inches: the text width of a book page
DPI = 144
INK = "#222222"
RULE: dict[str, Any] = {"color": "#666666", "linewidth": 0.8, "zorder": 0}


def look(method: str) -> Look:
    """Return the look of `method`; SpecError with the nearest known name for one that has none."""
    kind, replicate, together = parts_of(method.removesuffix(WITHOUT_LENGTH))
    if kind not in METHODS:
        raise unknown_name("method (a new one needs a line in figures.style.METHODS)", method, METHODS)
    number = f", replicate {int(replicate) + 1}" if replicate else ", ensemble" * together
    rest = ", length taken out" * method.endswith(WITHOUT_LENGTH)
    return replace(METHODS[kind], label=METHODS[kind].label + number + rest)


def in_order(methods: Iterable[str]) -> list[str]:
    """Return the distinct `methods` in the order of METHODS; SpecError for an unknown one."""
    given, places = {str(method) for method in methods}, list(METHODS)
    for method in given:
        look(method)
    bare = {method: parts_of(method.removesuffix(WITHOUT_LENGTH)) for method in given}
    return sorted(given, key=lambda method: (places.index(bare[method][0]), *bare[method][1:], method))


class Plate(Figure):
    """A figure of the book: white, with a caption as plain text and a table; shows itself in a notebook."""

    caption: str = ""
    data: pd.DataFrame | None = None  # the table that it was made from, where there is one

    @property
    def table(self) -> pd.DataFrame:
        """What the figure shows: the table it was made from, or the numbers it draws."""
        return drawn(self) if self.data is None else self.data

    def _ipython_display_(self) -> None:
        """Show the picture, and behind it the table, of which a page makes a link."""
        from IPython.display import display  # only a notebook needs it

        picture = {"image/png": self._repr_png_(), "text/plain": repr(self)}
        words = " ".join(visible(self.caption).split()) or "A figure; its table follows."
        display(picture, raw=True, metadata={"image/png": {"alt": words}})  # for who cannot see it
        csv = to_csv(self.table)
        display(
            {CSV_MIME: csv, "text/plain": f"[its table: {len(self.table)} rows]"},
            raw=True,
            metadata={CSV_MIME: {"caption": self.caption}},
        )

    def draw(self, renderer: Any) -> None:
        """Draw the figure, its words as they stand, in cells of heat maps in the ink that is read best."""
        set_plainly(self)
        for axes in self.axes:
            ink_cells(axes)
        with warnings.catch_warnings():  # a name may be in any script: the table beside has it in letters
            warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font")
            super().draw(renderer)

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", bbox_inches="tight", pad_inches=0.08)
        return buffer.getvalue()

    def __repr__(self) -> str:
        return f"<Plate: {self.caption}>"


def theme() -> Any:
    """Return a context in which figures are made (seaborn's ticks, white ground), undone afterwards."""
    base = sns.axes_style("ticks") | sns.plotting_context("paper", font_scale=1.05)
    own = {
        "figure.facecolor": "white",
        "axes.facecolor": "white",
        "savefig.facecolor": "white",
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": "#888888",
        "xtick.color": "#555555",
        "ytick.color": "#555555",
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.titlesize": 9.5,
        "axes.grid": True,
        "grid.color": "#E6E6E6",
        "grid.linewidth": 0.7,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "font.family": ["sans-serif"],
        "font.sans-serif": ["DejaVu Sans"],
        "legend.frameon": False,
        "lines.solid_capstyle": "round",
    }
    return mpl.rc_context(base | own)


def plate(rows: int, columns: int, *, height: float, **sharing: Any) -> tuple[Plate, np.ndarray]:
    """Return an empty plate, WIDTH by `height` inches, and its axes (rows, columns)."""
    figure = Plate(figsize=(WIDTH, height), dpi=DPI, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **sharing)


def need(frame: pd.DataFrame, columns: Sequence[str], *, what: str) -> None:
    """Raise DataError, saying which function wants which columns, unless `frame` has rows and all of them."""
    lacking = [column for column in columns if column not in frame.columns]
    if lacking:
        remedy = " (evaluation.statistics.interval makes mean, low and high)" if "mean" in lacking else ""
        raise DataError(f"{what} needs the columns {lacking}{remedy}; the table has {list(frame.columns)}")
    if frame.empty:
        raise DataError(f"{what} was given a table without rows")


def facets(frame: pd.DataFrame, facet: str | None) -> list[tuple[str, pd.DataFrame]]:
    """Split `frame` by column `facet`, by default the first of setting, heterogeneity, task that varies.

    Returns (title, part) in ascending order; one part without a title where nothing varies.
    """
    if facet is None:
        known = ("setting", "heterogeneity", "task")
        facet = next((name for name in known if name in frame.columns and frame[name].nunique() > 1), None)
    if facet is None:
        return [("", frame)]
    need(frame, (facet,), what="a facet")
    return [(facet_title(facet, value), part) for value, part in frame.groupby(facet, sort=True)]


def facet_title(facet: str, value: object) -> str:
    """Return "heterogeneity 0" for a number, the value itself for a text."""
    return str(value) if isinstance(value, str) else f"{facet} {value:g}"


def seed_phrase(frame: pd.DataFrame) -> str:
    """Say in words what the intervals of a table (columns interval, n_seeds, n_prompts) resample."""
    if not {"interval", "n_seeds", "n_prompts"} <= set(frame.columns):
        return "95 % intervals"
    kinds = []
    for kind, part in frame.groupby("interval", sort=True):
        seeds, prompts = part["n_seeds"].max(), part["n_prompts"].max()
        if kind == "t over seeds":
            kinds.append(f"t over {seeds} seeds, {prompts} prompts")
        elif kind == "bootstrap over prompts":
            kinds.append(f"bootstrap over {prompts} prompts of a single seed")
    return "95 % intervals (" + "; ".join(kinds) + ")" if kinds else "no intervals"


def error_bars(
    axes: Axes, rows: pd.DataFrame, places: Sequence[float], *, value: str, style: Look, **extra: Any
) -> None:
    """Draw column `value` as points at heights `places`, with bars where the table has low and high."""
    if {"low", "high"} <= set(rows.columns):
        axes.hlines(
            places, rows["low"], rows["high"], color=style.colour, linewidth=1.6, alpha=0.75, zorder=2
        )
    settings: dict[str, Any] = {"markersize": 7, "markeredgecolor": "white", "mew": 0.6, "zorder": 3} | extra
    axes.plot(rows[value], places, linestyle="none", marker=style.marker, color=style.colour, **settings)


def name_rows(axes: Axes, labels: Sequence[str]) -> None:
    """Put `labels` on the rows 0, 1, ... of a dot plot, without a spine."""
    axes.set_yticks(range(len(labels)), labels=list(labels))
    axes.set_ylim(-0.6, len(labels) - 0.4)
    axes.tick_params(axis="y", length=0)
    sns.despine(ax=axes, left=True)


def verdict_legend(figure: Plate, axes: Axes) -> None:
    """Put the looks of the verdicts under all panels."""
    handles = [
        axes.plot([], [], linestyle="none", marker=style.marker, color=style.colour, label=style.label)[0]
        for style in VERDICTS.values()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8.5)


def legend_below(figure: Plate, columns: int = 4) -> None:
    """Put one legend under all panels, each label once, from whichever panel has it."""
    found = [pair for axes in figure.axes for pair in zip(*axes.get_legend_handles_labels(), strict=True)]
    handles = {label: handle for handle, label in reversed(found)}
    labels = list(dict.fromkeys(label for _, label in found))
    figure.legend(
        [handles[label] for label in labels], labels, loc="outside lower center", ncols=columns, fontsize=8.5
    )
