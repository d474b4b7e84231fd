"""Still figures of the theory chapters: laws on small worlds, what divergences are made of, what fits reach.

Tables in, Plates out, as in plots.py. Divergences have their own looks, the same in every chapter.
"""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes

from afd_study.errors import unknown_name
from afd_study.figures.style import METHODS, Look, Plate, legend_below, need, plate, theme

TOKEN_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9")
END_COLOUR, INK_LIGHT = "#DDDDDD", "#666666"
LEAST_LABELLED = 0.035  # of a law: blocks below are too thin for their token's name


def named(policy: str) -> str:
    """Return the label of a policy: that of METHODS if it has one, else the name itself."""
    return METHODS[policy].label if policy in METHODS else policy


def prefix_laws(table: pd.DataFrame) -> Plate:
    """Draw the laws of the first 1 ... T tokens as columns of blocks, a panel for each policy.

    `table`: policy, length, token, probability, ended, rows in the order in which blocks are stacked
    (theory.listing.prefixes). A block's height is the probability of its prefix, its colour its last token;
    what follows it stands to its right at the same height. Responses that have ended stay, in pale grey.
    """
    need(table, ("policy", "length", "token", "probability", "ended"), what="prefix_laws")
    names = list(dict.fromkeys(table["policy"]))
    words = [token for token in dict.fromkeys(table["token"]) if token != "."]
    colours = dict(zip(words, TOKEN_COLOURS, strict=False)) | {".": "#9A9A9A"}
    with theme():
        figure, grid = plate(1, len(names), height=4.2, sharey=True)
        for axes, name in zip(grid[0], names, strict=True):
            part = table[table["policy"] == name]
            for length, column in part.groupby("length", sort=True):
                _stack(axes, column, float(str(length)), colours)
            lengths = sorted(part["length"].unique())
            axes.set(title=named(name), xlabel="first k tokens", ylim=(1, 0))
            axes.set_xticks(lengths, labels=[f"k = {length}" for length in lengths])
            axes.grid(visible=False)
        grid[0, 0].set_ylabel("probability (blocks stack to 1)")
        for token, colour in colours.items():
            label = f"“{token}”" if token != "." else "EOS"
            grid[0, 0].bar([0], [0], color=colour, label=label)
        grid[0, 0].bar([0], [0], color=END_COLOUR, label="ended before")
        for axes in grid[0]:
            axes.set_xlim(0.5, max(table["length"]) + 0.5)
        legend_below(figure)
    figure.caption = (
        "Laws of the first k tokens. What follows a block stands to its right, within its height: each "
        "column splits the one before it, and the last is the law of whole responses."
    )
    return figure


def _stack(axes: Axes, column: pd.DataFrame, place: float, colours: Mapping[str, str]) -> None:
    low = 0.0
    for row in column.to_dict("records"):
        height, over = row["probability"], row["ended"]
        colour = END_COLOUR if over else colours[row["token"]]
        axes.bar([place], [height], bottom=low, width=0.97, color=colour, edgecolor="white", linewidth=0.6)
        if height > LEAST_LABELLED and not over:
            text = "EOS" if row["token"] == "." else row["token"]
            axes.text(place, low + height / 2, text, ha="center", va="center", color="white", fontsize=8)
        low += height


KINDS = {
    "whole responses": Look("whole responses (the optimum)", "#0072B2", "-", "o"),
    "token by token": Look("token by token (decoding)", "#D55E00", "--", "s"),
}


def beyond(table: pd.DataFrame, *, facet: str = "setting") -> Plate:
    """Draw the mean reward against the strength of an extrapolation, a panel for each `facet`.

    `table`: strength, kind, reward, and the facet's column (theory.listing.extrapolations). Strength 0 and
    1, the two laws that it goes through, are marked. Panels have scales of their own.
    """
    need(table, ("strength", "kind", "reward", facet), what="beyond")
    parts = [(str(title), part) for title, part in table.groupby(facet, sort=False)]
    with theme():
        figure, grid = plate(1, len(parts), height=3.5)
        for axes, (title, part) in zip(grid[0], parts, strict=True):
            axes.axvspan(0, 1, color="#F3F3F3", zorder=0, linewidth=0)
            for kind, rows in part.groupby("kind", sort=False):
                if kind not in KINDS:
                    raise unknown_name("kind of extrapolation", str(kind), KINDS)
                style = KINDS[str(kind)]
                axes.plot(
                    rows["strength"], rows["reward"], style.line, color=style.colour, lw=2, label=style.label
                )
            for strength in (0, 1):
                rows = part[(part["strength"] == strength) & (part["kind"] == "whole responses")]
                axes.plot(rows["strength"], rows["reward"], "o", color="#222222", markersize=6, zorder=4)
                for x, y in zip(rows["strength"], rows["reward"], strict=True):
                    text = "init" if strength == 0 else "SFT"
                    axes.annotate(
                        text,
                        (x, y),
                        xytext=(8, -4),
                        textcoords="offset points",
                        color=INK_LIGHT,
                        fontsize=9,
                        va="center",
                    )
            axes.set(title=title, xlabel="strength λ of the extrapolation")
        grid[0, 0].set_ylabel("mean hidden reward")
        legend_below(figure)
    figure.caption = (
        "Mean reward along SFT^λ init^(1 - λ). Shaded: between the two policies; the rest lies beyond."
    )
    return figure
