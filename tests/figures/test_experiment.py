import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from afd_study.errors import DataError, SpecError
from afd_study.figures import experiment, separability, style, text, training

METHODS = ["init_sft", "init_demo", "sft_demo", "preferences", "random", "oracle"]
SAID = {"interval": "t over seeds", "n_seeds": 3, "n_prompts": 144}


def curves(methods=METHODS, settings=(0, 1), sizes=(1, 2, 5, 16, 50)):
    rows = [
        {"heterogeneity": setting, "method": name, "n": n, "mean": 1 + 0.1 * rank * np.log(n) - 0.1 * setting}
        for setting in settings
        for rank, name in enumerate(methods)
        for n in sizes
    ]
    rows += [
        {"heterogeneity": setting, "method": name, "n": 1, "mean": 1.3 + rank}
        for setting in settings
        for rank, name in enumerate(style.LEVELS)
    ]
    table = pd.DataFrame(rows).assign(**SAID)
    return table.assign(low=table["mean"] - 0.1, high=table["mean"] + 0.1)


def legend(figure):
    return [entry.get_text() for entry in figure.legends[0].get_texts()]


def test_best_of_n_has_a_panel_a_setting_and_a_line_a_method():
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


def test_best_of_n_draws_what_the_table_says():
    figure = experiment.best_of_n(curves(settings=[0]))
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert lines["Init-Demo"].get_xdata() == pytest.approx([1, 2, 5, 16, 50])
    assert lines["Init-Demo"].get_ydata() == pytest.approx(1 + 0.1 * np.log([1, 2, 5, 16, 50]))
    assert lines["demonstrations"].get_ydata() == pytest.approx([3.3, 3.3])
    assert figure.axes[0].get_title(loc="left") == ""


def test_a_method_looks_the_same_in_every_figure():
    colours = []
    for methods in (METHODS, ["preferences", "random", "init_sft"]):
        lines = experiment.best_of_n(curves(methods)).axes[0].lines
        colours.append({line.get_label(): line.get_color() for line in lines}["preferences (BT)"])
    assert colours == [style.METHODS["preferences"].colour] * 2


def test_no_two_methods_look_alike():
    looks = [(entry.colour, entry.line, entry.marker) for entry in style.METHODS.values()]
    assert len(set(looks)) == len(looks)
    coloured = [entry.colour for entry in style.METHODS.values() if not entry.control]
    assert len(set(coloured)) == len(coloured)


def test_captions_name_the_control_and_the_interval():
    caption = " ".join(text.caption(experiment.best_of_n(curves())).split())  # without its line breaks
    assert "'random pick'" in caption and "t over 3 seeds, 144 prompts" in caption
    single = curves().assign(interval="bootstrap over prompts", n_seeds=1)
    told = " ".join(text.caption(experiment.best_of_n(single)).split())
    assert "bootstrap over 144 prompts of a single seed" in told


def test_best_of_n_refuses_what_it_cannot_draw():
    with pytest.raises(DataError, match="control 'random' is not in the table"):
        experiment.best_of_n(curves(["init_sft", "oracle"]))
    with pytest.raises(SpecError, match="did you mean 'init_sft'"):
        experiment.best_of_n(curves(["init_sfft", "random"]))
    with pytest.raises(DataError, match=r"lacks|needs the columns .*interval makes mean"):
        experiment.best_of_n(curves().drop(columns=["mean", "low"]))
    with pytest.raises(DataError, match="without rows"):
        experiment.best_of_n(curves().iloc[:0])


def test_figures_leave_the_global_style_alone():
    before = dict(mpl.rcParams)
    experiment.best_of_n(curves())
    assert dict(mpl.rcParams) == before


def test_a_plate_shows_itself_as_a_white_png():
    figure = experiment.levels(curves())
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert mpl.colors.to_hex(figure.get_facecolor()) == "#ffffff"
    assert figure.get_size_inches()[0] == 7.5


def test_levels_has_the_three_sources_in_order():
    figure = experiment.levels(curves(settings=[0]))
    axes = figure.axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == [
        "demonstrations",
        "SFT policy",
        "initial policy",
    ]
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


def contrasts():
    return pd.DataFrame(
        {
            "claim": ["E4", "E7", "X1"],
            "method": ["init_sft"] * 3,
            "than": ["init_demo", "preferences", "closed_form"],
            "kind": ["better", "not_worse", "equal"],
            "n": 16,
            "margin": 0.05,
            "effect": [0.2, -0.1, np.nan],
            "low": [0.1, -0.2, np.nan],
            "high": [0.3, 0.04, np.nan],
            "verdict": ["supported", "inconclusive", "inconclusive"],
            **SAID,
        }
    )


def test_orderings_say_each_statement_and_verdict():
    figure = experiment.orderings(contrasts())
    labels = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert labels[::-1] == [
        "Init-SFT better than Init-Demo  E4",
        "Init-SFT not worse than preferences (BT)  E7",
        "Init-SFT equal to closed form  X1",
    ]
    assert legend(figure) == ["supported", "contradicted", "inconclusive"]
    assert "n = 16" in figure.caption
    drawn = [
        segment for bars in figure.axes[0].collections for segment in bars.get_segments() if len(segment)
    ]
    ticks = {
        place: [s[0][0] for s in drawn if s[0][0] == s[1][0] and s[0][1] == place - 0.3]
        for place in (0, 1, 2)
    }
    # the line to pass: above 0 for better (row 2), below for not worse (row 1), both for equal (row 0)
    assert ticks == {0: [-0.05, 0.05], 1: [-0.05], 2: [0.05]}


def test_training_curves_have_a_panel_a_model_and_lines_a_seed():
    table = pd.DataFrame(
        [
            (model, seed, step, 3 / step, 3.1 / step + (step == 3))
            for model in ("pi_sft", "init_sft", "something new", "preferences")
            for seed in (0, 1)
            for step in (1, 2, 3)
        ],
        columns=["model", "seed", "step", "training_loss", "validation_loss"],
    )
    figure = training.training_curves(table)
    shown = [axes for axes in figure.axes if axes.get_visible()]
    titles = [axes.get_title(loc="left") for axes in shown]
    assert titles == ["SFT policy", "Init-SFT", "something new", "preferences (BT)"]
    best = shown[0].lines[2]
    assert len(shown[0].lines) == 6 and list(best.get_xdata()) == [2]


def test_separability_has_a_panel_a_pair_and_a_line_at_chance():
    rows = [
        ("demonstrations", "pi_init", "length", "none", 0.8, 0.7, 0.9),
        ("demonstrations", "pi_init", "length", "length matched", 0.5, 0.4, 0.6),
        ("demonstrations", "pi_init", "words", "none", 0.9, 0.8, 1.0),
        ("demonstrations", "pi_sft", "length", "none", 0.6, 0.5, 0.7),
    ]
    columns = ["positive", "negative", "features", "adjustment", "auc", "low", "high"]
    figure = separability.separability(pd.DataFrame(rows, columns=columns))
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["demonstrations against initial policy", "demonstrations against SFT policy"]
    assert figure.axes[0].lines[0].get_xdata() == pytest.approx([0.5, 0.5])
    assert legend(figure) == ["as they are", "compared at equal length"]
    heights = [list(line.get_ydata()) for line in figure.axes[0].lines[1:]]
    assert (
        heights[0][0] > 1 > heights[1][0] and heights[0][1] == 0
    )  # words, alone in its row, stands in the middle


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
