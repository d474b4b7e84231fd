"""Figures of the experiment draw what their tables say: curves, levels, scorers, orderings, components."""

import numpy as np
import pandas as pd
import pytest

from afd_study.errors import DataError, SpecError
from afd_study.figures import experiment, style, text

METHODS = ["init_sft", "init_demo", "sft_demo", "preferences", "random", "oracle"]


@pytest.fixture
def curves(with_bounds):
    def table(methods=METHODS, settings=(0, 1)):
        rows = [
            {
                "heterogeneity": setting,
                "method": name,
                "n": n,
                "mean": 1 + 0.1 * rank * np.log(n) - 0.1 * setting,
            }
            for setting in settings
            for rank, name in enumerate(methods)
            for n in (1, 2, 5, 16, 50)
        ]
        rows += [
            {"heterogeneity": setting, "method": name, "n": 1, "mean": 1.3 + rank}
            for setting in settings
            for rank, name in enumerate(style.LEVELS)
        ]
        return with_bounds(rows)

    return table


def legend(figure):
    return [entry.get_text() for entry in figure.legends[0].get_texts()]


def test_best_of_n_has_a_panel_a_setting_and_a_line_a_method(curves):
    figure = experiment.best_of_n(curves())
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["heterogeneity 0", "heterogeneity 1"]
    for axes in figure.axes:
        assert len(axes.lines) == len(METHODS) + 1  # and the demonstrations' level
        assert len(axes.collections) == len(METHODS)  # a band each
        assert axes.get_xscale() == "log" and "n, responses drawn" in axes.get_xlabel()
        assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1", "2", "5", "10", "20", "50"]
    assert "points" in figure.axes[0].get_ylabel()
    assert legend(figure) == [
        style.METHODS[name].label for name in [*style.in_order(METHODS), "demonstrations"]
    ]


def test_best_of_n_draws_what_the_table_says(curves):
    figure = experiment.best_of_n(curves(settings=[0]))
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert lines["Init-Demo"].get_xdata() == pytest.approx([1, 2, 5, 16, 50])
    assert lines["Init-Demo"].get_ydata() == pytest.approx(1 + 0.1 * np.log([1, 2, 5, 16, 50]))
    assert lines["demonstrations"].get_ydata() == pytest.approx([3.3, 3.3])
    assert figure.axes[0].get_title(loc="left") == ""


def test_a_method_looks_the_same_in_every_figure(curves):
    colours = []
    for methods in (METHODS, ["preferences", "random", "init_sft"]):
        lines = experiment.best_of_n(curves(methods)).axes[0].lines
        colours.append({line.get_label(): line.get_color() for line in lines}["preferences (BT)"])
    assert colours == [style.METHODS["preferences"].colour] * 2


def test_captions_name_the_control_and_the_interval(curves):
    caption = " ".join(text.caption(experiment.best_of_n(curves())).split())  # without its line breaks
    assert "'random pick'" in caption and "t over 3 seeds, 144 prompts" in caption
    single = curves().assign(interval="bootstrap over prompts", n_seeds=1)
    caption = " ".join(text.caption(experiment.best_of_n(single)).split())
    assert "bootstrap over 144 prompts of a single seed" in caption


def test_best_of_n_refuses_what_it_cannot_draw(curves):
    with pytest.raises(DataError, match="control 'random' is not in the table"):
        experiment.best_of_n(curves(["init_sft", "oracle"]))
    with pytest.raises(SpecError, match="did you mean 'init_sft'"):
        experiment.best_of_n(curves(["init_sfft", "random"]))
    with pytest.raises(DataError, match=r"lacks|needs the columns .*interval makes mean"):
        experiment.best_of_n(curves().drop(columns=["mean", "low"]))
    with pytest.raises(DataError, match="without rows"):
        experiment.best_of_n(curves().iloc[:0])


def test_levels_has_the_three_sources_in_order(curves):
    figure = experiment.levels(curves(settings=[0]))
    axes = figure.axes[0]
    names = [tick.get_text() for tick in axes.get_yticklabels()]
    assert names == ["demonstrations", "SFT policy", "initial policy"]
    assert [line.get_xdata()[0] for line in axes.lines] == pytest.approx([3.3, 2.3, 1.3])
    with pytest.raises(DataError, match="without rows"):
        experiment.levels(curves().query("method == 'random'"))


def test_scorer_diagnostics_leaves_out_the_undefined():
    table = pd.DataFrame(
        {
            "method": ["init_sft", "sft_demo", "random"],
            "accuracy": [0.9, 0.99, np.nan],
            "rank_correlation": [0.5, -0.1, np.nan],
            "rank_correlation_low": [0.4, -0.2, np.nan],
            "rank_correlation_high": [0.6, 0.0, np.nan],
        }
    )
    figure = experiment.scorer_diagnostics(table)
    assert legend(figure) == ["Init-SFT", "SFT-Demo"]
    assert "accuracy" in figure.axes[0].get_xlabel() and "rank correlation" in figure.axes[0].get_ylabel()


def test_orderings_say_each_statement_and_verdict():
    rows = [
        ("E4", "init_demo", "better", 0.2, 0.1, 0.3, "supported"),
        ("E7", "preferences", "not_worse", -0.1, -0.2, 0.04, "inconclusive"),
        ("X1", "closed_form", "equal", np.nan, np.nan, np.nan, "inconclusive"),
    ]
    columns = ["claim", "than", "kind", "effect", "low", "high", "verdict"]
    table = pd.DataFrame(rows, columns=columns).assign(method="init_sft", n=16, margin=0.05)
    figure = experiment.orderings(table)
    labels = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert labels[::-1] == [
        "Init-SFT better than Init-Demo  E4",
        "Init-SFT not worse than preferences (BT)  E7",
        "Init-SFT equal to closed form  X1",
    ]
    assert legend(figure) == ["supported", "contradicted", "inconclusive"]
    assert "n = 16" in figure.caption
    bars = [bar for drawn in figure.axes[0].collections for bar in drawn.get_segments() if len(bar)]
    ticks = {place: [a[0] for a, b in bars if a[0] == b[0] and a[1] == place - 0.3] for place in (0, 1, 2)}
    # the line to pass: above 0 for better (row 2), below for not worse (row 1), both for equal (row 0)
    assert ticks == {0: [-0.05, 0.05], 1: [-0.05], 2: [0.05]}


def test_components_sit_side_by_side_with_or_without_intervals():
    table = pd.DataFrame(
        {
            "method": ["pi_sft", "pi_sft", "demonstrations", "demonstrations"],
            "component": ["stance", "score", "stance", "score"],
            "mean": [0.5, 1.0, 0.7, 1.2],
        }
    )
    figure = experiment.components(table)
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["score", "stance"]
    assert legend(figure) == ["SFT policy", "demonstrations"]
    banded = experiment.components(table.assign(low=0.0, high=2.0))
    assert len(banded.axes[0].collections) == 2 and not figure.axes[0].collections
