"""Figures of findings draw what their tables say, and carry them."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from seaborn import light_palette

from afd_study.errors import DataError, SpecError
from afd_study.figures import claims, coverage, heterogeneity_map, probes, tables, text
from afd_study.figures.style import METHODS, VERDICTS

SAID = {"interval": "t over seeds", "n_seeds": 3, "n_prompts": 144}


def bounded(rows, **more):
    table = pd.DataFrame(rows).assign(**SAID, **more)
    return table.assign(low=table["mean"] - 0.1, high=table["mean"] + 0.1)


@pytest.fixture
def cells():
    rows = [
        {"task": task, "h": h, "a": a, "matched": False, "quantity": quantity, "method": method, "mean": mean}
        for task in ("harmless", "helpful")
        for h in (0.0, 1.0)
        for a in (0.1, 0.9)
        for quantity, method, mean in (
            ("lead", "init_demo", h - 0.5), ("auc", "init_demo", 0.6 + 0.3 * h), ("auc", "init_sft", 0.6),
        )
    ]  # fmt: skip
    return bounded(rows)


def written(axes):
    return [label.get_text() for label in axes.texts]


def test_the_map_writes_every_cell_and_makes_clear_ones_bold(cells):
    figure = heterogeneity_map.map_of(cells, quantity="lead", method="init_demo")
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["harmless", "helpful"]
    axes = figure.axes[0]
    assert written(axes)[0] == "-0.50\n[-0.60, -0.40]" and written(axes)[2] == "0.50\n[0.40, 0.60]"
    assert all(label.get_fontweight() == "bold" for label in axes.texts)
    tied = heterogeneity_map.map_of(cells.assign(low=-1.0, high=1.0), quantity="lead", method="init_demo")
    assert {label.get_fontweight() for label in tied.axes[0].texts} == {"normal"}
    assert len(figure.table) == 8 and "t over 3 seeds" in figure.caption


def test_a_quantity_that_the_map_lacks_is_named(cells):
    with pytest.raises(DataError, match="no lead of sft_demo; it holds auc of init_demo"):
        heterogeneity_map.map_of(cells, quantity="lead", method="sft_demo")
    with pytest.raises(SpecError, match="did you mean 'lead'"):
        heterogeneity_map.map_of(cells, "leads", "init_demo")


def test_winners_have_their_own_colours_and_decided_cells_are_bold():
    rows = [
        ("harmless", 0.0, 0.1, False, "init_demo", 0.4, True),
        ("harmless", 1.0, 0.1, False, "init_sft", 0.3, False),
        ("harmless", 1.0, 0.1, True, "sft_demo", 0.9, True),
    ]  # fmt: skip
    columns = ["task", "h", "a", "matched", "winner", "share", "decided"]
    figure = heterogeneity_map.winners(pd.DataFrame(rows, columns=columns))
    [axes] = figure.axes
    assert written(axes) == ["Init-Demo\n0.40", "Init-SFT\n0.30"]
    assert [label.get_fontweight() for label in axes.texts] == ["bold", "normal"]
    mesh = axes.collections[0]
    shown = [to_hex(mesh.cmap(mesh.norm(value))) for value in np.ravel(mesh.get_array())]
    paler = [to_hex(light_palette(METHODS[name].colour, 5)[2]) for name in ("init_demo", "init_sft")]
    assert shown == paler


def test_leads_stand_against_what_can_be_measured(cells):
    figure = heterogeneity_map.against_measured(cells)
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert sorted(lines["harmless"].get_xdata()) == pytest.approx([0, 0, 0.3, 0.3])
    assert len(figure.table) == 8


def test_claims_are_coloured_by_verdict_and_untested_ones_left_out():
    columns = ["id", "task", "setting", "kind", "effect", "verdict"]
    rows = [
        ("E4", "harmless", "h = 1", "better", 0.3, "supported"),
        ("E5", "harmless", "h = 1", "equal", -0.3, "contradicted"),
        ("L4", "harmless", "h = 1", "equal", np.nan, "not yet tested"),
        ("I1", "enumerated", "", "identity", 1e-16, "supported"),
    ]
    named = {"unit": "share of the gap", "source": "ours", "sentence": "A.", "post_hoc": False}
    named |= {"table": "outcomes", "form": "share"}
    table = pd.DataFrame(rows, columns=columns).assign(margin=0.05, n_seeds=8, **named)
    table = table.assign(low=table["effect"] - 0.1, high=table["effect"] + 0.1)
    by_seed = pd.DataFrame(
        [("E4", "harmless", "h = 1", seed, 0.2 + seed / 10) for seed in (0, 1)]
        + [("E9a", "harmless", "h = 1", 0, 9.0)],  # a row that is not shown
        columns=["id", "task", "setting", "seed", "effect"],
    )
    figure = claims.claims(table, by_seed)
    axes = figure.axes[0]
    [marks] = [line for line in axes.lines if line.get_marker() == "|"]
    assert list(marks.get_xdata()) == pytest.approx([0.2, 0.3]) and set(marks.get_ydata()) == {1}
    assert figure.table.set_index("id").loc["E4", ["seed 0", "seed 1"]].tolist() == pytest.approx([0.2, 0.3])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["E5   h = 1", "E4   h = 1"]
    colours = {line.get_color() for line in axes.lines if len(line.get_xdata()) == 1}
    assert colours == {VERDICTS["supported"].colour, VERDICTS["contradicted"].colour}
    assert set(figure.table["id"]) == {"E4", "E5"} and "8 seeds" in figure.caption
    shown = tables.claims(table).frame.set_index("id")
    assert shown.loc["E4", "effect"] == "0.30 [0.20, 0.40]" and shown.loc["E4", "where"] == "harmless, h = 1"
    assert shown.loc["E4", "claim"] == "A. (ours; effect: share of the gap)"
    assert shown.loc["L4", "effect"] == "–" and shown.loc["I1", "effect"] == "error within 0.05"
    page = tables.claims(table)._repr_html_()
    assert '<td><a href="04_harmless.html#best-of-n">harmless: best of n</a></td>' in page
    assert shown.loc["L4", "figure and table"] == "–"
    dear = table[table["id"] == "E4"].assign(id="E12", unit="FLOPs", table="cost", effect=2e11)
    dear = dear.assign(low=1.5e11, high=2.5e11, run="arms", method="adversarial_js", than="init_sft")
    assert set(claims.claims(pd.concat([table, dear])).table["id"]) == {"E4", "E5"}, (
        "it has no place on a share's axis"
    )
    assert tables.claims(dear).frame["effect"].tolist() == ["2e+11 [1.5e+11, 2.5e+11]"]
    assert "11_cost.html" in tables.claims(dear)._repr_html_()
    places = {
        ("coverage", "pi_sft"): "#imitating-covering-or-seeking",
        ("outcomes", "rl_init_sft"): "#judge-against-nats", ("outcomes", "spin"): "#what-training-reaches",
    }  # fmt: skip
    for (kind, than), anchor in places.items():
        row = dear.assign(table=kind, than=than, unit="share")
        assert f"07_optimising_the_policy.html{anchor}" in tables.claims(row)._repr_html_()
    assert text.verdict_counts(table).splitlines() == [
        "enumerated: 1 supported", "harmless, h = 1: 1 contradicted, 1 not yet tested and 1 supported",
    ]  # fmt: skip


def test_divergences_and_distinct_answers_draw_their_means():
    rows = [
        {"policy": policy, "metric": metric, "mean": mean}
        for policy, mean in (("pi_init", 3.0), ("pi_sft", 1.0))
        for metric in ("forward_kl", "reverse_kl", "reverse_kl_stray", "coverage")
    ]
    figure = coverage.divergences(bounded(rows))
    points = {line.get_label(): list(line.get_xdata()) for line in figure.axes[0].lines}
    assert points[METHODS["pi_sft"].label] == [1.0] * 3 and "coverage" not in set(figure.table["metric"])
    rows = [{"source": "pi_sft", "k": k, "mean": k**0.5} for k in (1, 2, 4)]
    line = coverage.distinct(bounded(rows)).axes[0].lines[0]
    assert list(line.get_xdata()) == [1, 2, 4] and line.get_ydata()[2] == 2


def probed(key, names, methods=("init_sft", "init_demo"), settings=("h = 0", "h = 1")):
    return bounded([
        {"setting": setting, key: name, "method": method, "mean": 0.1 * (i + 1) * (-1) ** j}
        for setting in settings
        for i, name in enumerate(names)
        for j, method in enumerate(methods)
    ])  # fmt: skip


def test_probe_figures_have_a_panel_a_setting_and_their_tables():
    ranks = probed("metric", [*probes.TAKEN_OUT, "rank_correlation_with_closed_form"])
    made = {
        "ranks": probes.rank_correlations(ranks),
        "aucs": probes.conditional_auc(probed("within", list(probes.WITHIN))),
        "prices": probes.prices(probed("edit", ["mark added", "cut"]), rows_by="edit", unit="in spreads"),
    }
    for figure in made.values():
        assert [axes.get_title(loc="left") for axes in figure.axes] == ["h = 0", "h = 1"]
        assert len(figure.table) and figure.caption
    assert "rank_correlation_with_closed_form" not in set(made["ranks"].table["metric"])
    assert [tick.get_text() for tick in made["prices"].axes[1].get_xticklabels()] == ["Init-SFT", "Init-Demo"]


def test_the_judge_stands_among_prices_as_the_oracle():
    table = probed("edit", ["cut"], methods=("init_sft", "judge"))
    figure = probes.prices(table, rows_by="edit", unit="in spreads")
    assert [tick.get_text() for tick in figure.axes[1].get_xticklabels()][-1] == METHODS["oracle"].label


def test_calibration_and_remedies_draw_their_curves():
    rows = [{"setting": "h = 0", "logit": x, "log_ratio": 2 * x} for x in (-1.0, 0.0, 2.0)]
    axes = probes.calibration(pd.DataFrame(rows).assign(method="init_sft")).axes[0]
    assert list(axes.lines[0].get_ydata()) == [-2, 0, 4]
    both = [
        {"setting": "h = 0", "method": method, "n": n, "mean": mean * n}
        for method, mean in (("init_sft", 1.0), ("init_sft_without_length", 2.0), ("random", 0.0))
        for n in (1, 16)
    ]
    lines = {line.get_label(): line for line in probes.remedies(bounded(both)).axes[0].lines}
    assert list(lines["Init-SFT, length taken out"].get_ydata()) == [2, 32]
    assert lines["Init-SFT"].get_color() == lines["Init-SFT, length taken out"].get_color()
