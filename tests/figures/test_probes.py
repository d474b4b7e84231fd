"""Figures of probes have a panel a setting, and draw what their tables say."""

import pandas as pd
import pytest

from afd_study.figures import probes
from afd_study.figures.style import METHODS


@pytest.fixture
def probed(with_bounds):
    def table(key, names, methods=("init_sft", "init_demo")):
        return with_bounds(
            {"setting": setting, key: name, "method": method, "mean": 0.1 * (i + 1) * (-1) ** j}
            for setting in ("h = 0", "h = 1")
            for i, name in enumerate(names)
            for j, method in enumerate(methods)
        )

    return table


def test_probe_figures_have_a_panel_a_setting_and_their_tables(probed):
    ranks = probes.rank_correlations(
        probed("metric", [*probes.TAKEN_OUT, "rank_correlation_with_closed_form"])
    )
    aucs = probes.conditional_auc(probed("within", list(probes.WITHIN)))
    prices = probes.prices(probed("edit", ["mark added", "cut"]), rows_by="edit", unit="in spreads")
    for figure in (ranks, aucs, prices):
        assert [axes.get_title(loc="left") for axes in figure.axes] == ["h = 0", "h = 1"]
        assert len(figure.table) and figure.caption
    assert "rank_correlation_with_closed_form" not in set(ranks.table["metric"])
    assert [tick.get_text() for tick in prices.axes[1].get_xticklabels()] == ["Init-SFT", "Init-Demo"]


def test_the_judge_stands_among_prices_as_the_oracle(probed):
    table = probed("edit", ["cut"], methods=("init_sft", "judge"))
    figure = probes.prices(table, rows_by="edit", unit="in spreads")
    assert [tick.get_text() for tick in figure.axes[1].get_xticklabels()][-1] == METHODS["oracle"].label


@pytest.mark.parametrize(("count", "rows"), [(7, 1), (8, 2)])
def test_names_of_scorers_stand_above_and_panels_side_by_side_where_they_have_room(probed, count, rows):
    methods = [name for name in METHODS if name != "oracle"][:count]
    figure = probes.prices(probed("edit", ["cut"], methods=methods), rows_by="edit", unit="in spreads")
    assert [axes.xaxis.get_ticks_position() for axes in figure.axes] == ["top", "top"]
    assert figure.axes[0].get_subplotspec().get_gridspec().nrows == rows


def test_calibration_has_a_panel_a_scorer_with_its_bins_and_the_diagonal():
    rows = [{"setting": "h = 0", "logit": x, "log_ratio": 2 * x} for x in (-1.0, 0.0, 2.0)]
    table = pd.concat([pd.DataFrame(rows).assign(method=name) for name in ("init_sft", "init_demo")])
    figure = probes.calibration(table)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["Init-SFT", "Init-Demo"]
    for axes in figure.axes:
        assert list(axes.lines[0].get_ydata()) == [-2, 0, 4]
        assert axes.get_xlim() == axes.get_ylim() and axes.get_ylim()[0] < -2 and axes.get_ylim()[1] > 4
        assert axes.lines[1].get_slope() == 1


def test_remedies_draw_both_curves_in_one_colour(with_bounds):
    rows = [
        {"setting": "h = 0", "method": method, "n": n, "mean": mean * n}
        for method, mean in (("init_sft", 1.0), ("init_sft_without_length", 2.0), ("random", 0.0))
        for n in (1, 16)
    ]
    lines = {line.get_label(): line for line in probes.remedies(with_bounds(rows)).axes[0].lines}
    assert list(lines["Init-SFT, length taken out"].get_ydata()) == [2, 32]
    assert lines["Init-SFT"].get_color() == lines["Init-SFT, length taken out"].get_color()
