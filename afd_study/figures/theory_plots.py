"""Still figures of chapters 1 and 2: laws on small worlds, divergences and their estimates, Best-of-n's KL.

Tables in, Plates out. Divergences have looks of their own, the same in every chapter.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from afd_study.errors import unknown_name
from afd_study.figures.style import METHODS, RULE, Look, Plate, legend_below, name_rows, need, plate, theme

DIVERGENCE_LOOKS: dict[str, Look] = {
    "pearson_chi2": Look("Pearson χ²", "#56B4E9", "--", "^"),
    "forward_kl": Look("forward KL", "#0072B2", "-", "o"),
    "squared_hellinger": Look("squared Hellinger", "#CC79A7", "-.", "D"),
    "jensen_shannon": Look("Jensen–Shannon", "#009E73", "-", "P"),
    "gan": Look("GAN (2 JS − log 4)", "#999999", ":", "p"),
    "total_variation": Look("total variation", "#000000", ":", "X"),
    "reverse_kl": Look("reverse KL", "#D55E00", "-", "s"),
    "neyman_chi2": Look("Neyman χ²", "#E69F00", "--", "v"),
}
"""Every divergence's look, from those that cover to those that seek."""

TRANSFORM_LOOKS: dict[str, Look] = {
    "airl": Look("AIRL: log D − log(1 − D)", "#D55E00", "-"),
    "gail": Look("GAIL: −log(1 − D)", "#009E73", "-"),
    "log_d": Look("log D", "#E69F00", "--"),
    "density_ratio": Look("density ratio: D / (1 − D)", "#0072B2", "-"),
    "fairl": Look("FAIRL: −L exp(L)", "#000000", ":"),
}
PARTS = {
    "generator": ("generator f(u)", "u = demo / policy (log scale)", (-0.1, 4.0)),
    "conjugate": ("conjugate f*(t)", "t, what the critic says", (-2.5, 4.0)),
    "critic": ("optimal critic f'(u)", "log ratio L = log u", (-4.0, 4.0)),
    "reward": ("policy reward", "log ratio L = log u", (-4.0, 4.0)),
}
"""Part of a divergence -> its panel's title, its x-axis and its limits upwards."""
KINDS = {
    "whole responses": Look("whole responses (the optimum)", "#0072B2", "-", "o"),
    "token by token": Look("token by token (decoding)", "#D55E00", "--", "s"),
}
ESTIMATORS = {
    "k1": "k1 = −L",
    "k2": "k2 = L² / 2 (biased)",
    "k3": "k3 = e^L − 1 − L",
    "full_distribution": "full distribution",
    "variational": "variational, best critic",
}
"""Estimator of the reverse KL -> what the figure calls it."""
LEVEL_LOOKS = (("#0072B2", "-"), ("#009E73", "-."), ("#D55E00", "--"), ("#CC79A7", ":"))
TOKEN_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9")
END_COLOUR, INK_LIGHT = "#DDDDDD", "#666666"
BESIDE: dict[str, Any] = {
    "xytext": (8, -4),
    "textcoords": "offset points",
    "color": INK_LIGHT,
    "fontsize": 9,
    "va": "center",
}
"""How a word stands beside its point."""
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
                _line(axes, rows, KINDS[str(kind)], "strength", "reward", width=2)
            for strength in (0, 1):
                rows = part[(part["strength"] == strength) & (part["kind"] == "whole responses")]
                axes.plot(rows["strength"], rows["reward"], "o", color="#222222", markersize=6, zorder=4)
                for point in zip(rows["strength"], rows["reward"], strict=True):
                    axes.annotate("init" if strength == 0 else "SFT", point, **BESIDE)
            axes.set(title=title, xlabel="strength λ of the extrapolation")
        grid[0, 0].set_ylabel("mean hidden reward")
        legend_below(figure)
    figure.caption = (
        "Mean reward along SFT^λ init^(1 - λ). Shaded: between the two policies; the rest lies beyond."
    )
    return figure


def anatomy(table: pd.DataFrame, *, hidden: Sequence[str] = ("gan",)) -> Plate:
    """Draw what divergences are made of: generator, conjugate, critic and policy reward, a panel each.

    `table`: divergence, part, x, y (theory.gallery.anatomy). `hidden` are left out: gan is Jensen-Shannon
    but for factors and constants.
    """
    need(table, ("divergence", "part", "x", "y"), what="anatomy")
    with theme():
        figure, grid = plate(2, 2, height=6.4)
        for axes, (part, (title, label, limits)) in zip(grid.flat, PARTS.items(), strict=True):
            rows = table[table["part"] == part]
            for name in known_divergences(rows["divergence"], hidden):
                _line(axes, rows[rows["divergence"] == name], DIVERGENCE_LOOKS[name])
            axes.axhline(0, **RULE)
            axes.set(title=title, xlabel=label, ylim=limits)
            axes.margins(x=0)
        grid[0, 1].set_xlim(-4, 4)
        grid[0, 0].set_xscale("log")
        grid[0, 0].set_xticks([0.1, 1, 10], labels=["0.1", "1", "10"])
        legend_below(figure)
    figure.caption = (
        "Generators, conjugates, optimal critics and policy rewards. A conjugate is drawn over what its "
        "critic can say, and is infinite to the right of where a bounded critic's curve ends."
    )
    return figure


def known_divergences(names: pd.Series, hidden: Sequence[str] = ()) -> list[str]:
    """Return the distinct divergences in the order of DIVERGENCE_LOOKS; SpecError for an unknown one."""
    for name in names.unique():
        if name not in DIVERGENCE_LOOKS:
            raise unknown_name("divergence (a new one needs a look)", name, DIVERGENCE_LOOKS)
    return [name for name in DIVERGENCE_LOOKS if name in set(names) and name not in hidden]


def _line(
    axes: Axes, rows: pd.DataFrame, style: Look, x: str = "x", y: str = "y", width: float = 1.8
) -> None:
    axes.plot(rows[x], rows[y], style.line, color=style.colour, linewidth=width, label=style.label)


def estimator_spread(table: pd.DataFrame, *, samples: int, facet: str = "setting") -> Plate:
    """Draw each estimate of the reverse KL, mean and 95 % spread of an average of `samples`, a panel a facet.

    `table`: estimator, exact, mean, deviation (of one sample), and the facet's column
    (theory.gallery.kl_estimates). The vertical line is the exact value.
    """
    need(table, ("estimator", "exact", "mean", "deviation", facet), what="estimator_spread")
    parts = [(str(title), part) for title, part in table.groupby(facet, sort=False)]
    names = list(dict.fromkeys(table["estimator"]))[::-1]
    with theme():
        figure, grid = plate(1, len(parts), height=2.6, sharey=True)
        for axes, (title, part) in zip(grid[0], parts, strict=True):
            rows = part.set_index("estimator").loc[names]
            half = 1.96 * rows["deviation"] / samples**0.5
            axes.axvline(rows["exact"].iloc[0], **(RULE | {"color": "#0072B2", "linewidth": 1.5}))
            axes.hlines(range(len(names)), rows["mean"] - half, rows["mean"] + half, color="#555555", lw=2)
            axes.plot(rows["mean"], range(len(names)), "o", color="#222222", markersize=6)
            name_rows(axes, [ESTIMATORS.get(name, name) for name in names])
            axes.set(title=title, xlabel=f"nats, mean of {samples} samples")
    figure.caption = (
        f"Estimates of KL(policy || demo) from {samples} samples: dot for the mean, bar for 1.96 standard "
        "deviations either side, all exact. The line is the KL."
    )
    return figure


def transforms(table: pd.DataFrame) -> Plate:
    """Draw reward transforms of a discriminator's logit L, and their slopes.

    `table`: transform, L, reward, slope (theory.gallery.transforms).
    """
    need(table, ("transform", "L", "reward", "slope"), what="transforms")
    with theme():
        figure, grid = plate(1, 2, height=3.7)
        titles = (("reward", "reward of the logit", (-4, 4)), ("slope", "its slope", (-3, 4)))
        for axes, (column, title, limits) in zip(grid[0], titles, strict=True):
            for name, rows in table.groupby("transform", sort=False):
                if name not in TRANSFORM_LOOKS:
                    raise unknown_name("reward transform", str(name), TRANSFORM_LOOKS)
                _line(axes, rows, TRANSFORM_LOOKS[str(name)], "L", column)
            axes.axhline(0, **RULE)
            axes.axvline(0, **RULE)
            axes.set(title=title, xlabel="logit L = log demo − log policy", ylim=limits)
            axes.margins(x=0)
        legend_below(figure)
    figure.caption = "Rewards made from the logit. Where a slope is negative, no divergence is descended."
    return figure


def best_of_n_kl(table: pd.DataFrame) -> Plate:
    """Draw the exact KL(best of n || policy) for scorers of different fineness, beside the bound.

    `table`: n, bound (log n - (n - 1) / n), and a column for each scorer.
    """
    need(table, ("n", "bound"), what="best_of_n_kl")
    scorers = [name for name in table.columns if name not in ("n", "bound")]
    with theme():
        figure, grid = plate(1, 1, height=3.6)
        axes = grid[0, 0]
        axes.plot(table["n"], table["bound"], color="#222222", lw=2.5, label="bound log n − (n − 1) / n")
        for name, (colour, line) in zip(scorers, LEVEL_LOOKS, strict=False):
            axes.plot(table["n"], table[name], line, color=colour, linewidth=2, label=name)
        axes.set_xscale("log")
        ticks = [n for n in (1, 2, 5, 10, 20, 50, 100, 200, 500) if n <= table["n"].max()]
        axes.set_xticks(ticks, labels=[str(n) for n in ticks])
        axes.minorticks_off()
        axes.set(xlabel="n (log scale)", ylabel="KL from the policy (nats)")
        legend_below(figure)
    figure.caption = "How far Best-of-n goes, exactly, by how many scores can tell its draws apart."
    return figure
