import pandas as pd
import pytest

from afd_study.errors import AfdError, DataError
from afd_study.figures import theory_fits


def laws():
    return pd.DataFrame(
        {
            "x": [0.0, 1.0],
            "response": ["a .", "b ."],
            "demo": [0.7, 0.3],
            "forward_kl": [0.6, 0.4],
            "reverse_kl": [0.9, 0.1],
        }
    )


def test_each_divergence_has_a_panel_that_says_what_it_covers():
    scores = pd.DataFrame(
        {"divergence": ["reverse_kl", "forward_kl"], "coverage": [0.6, 1.0], "precision": [0.94, 0.5]}
    )
    figure = theory_fits.fitted_curves(laws(), scores)
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in shown] == ["forward KL", "reverse KL"]
    assert list(shown[1].lines[0].get_ydata()) == [0.9, 0.1]
    assert shown[1].texts[0].get_text() == "covers 60 %\nprecise 94 %"
    with pytest.raises(AfdError, match="divergence"):
        theory_fits.fitted_curves(laws(), scores.replace("reverse_kl", "reversed_kl"))


def test_bars_stand_in_the_demonstrators_order():
    figure = theory_fits.fitted_bars(laws(), names=["reverse_kl"], most=1)
    [axes] = figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a ."]
    assert [bar.get_height() for bar in axes.patches] == [0.7, 0.9]


def test_repeats_give_a_mean_and_a_band():
    rows = [(n, "forward_kl", s, d / 10) for n in (1, 10) for s in (0.5, 2.0) for d in range(11)]
    table = pd.DataFrame(rows, columns=["n", "divergence", "smoothing", "coverage"])
    figure = theory_fits.measured(
        table, x="n", measures={"coverage": "coverage"}, label="n", rows="smoothing", log=True
    )
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "coverage, smoothing 0.5",
        "coverage, smoothing 2",
    ]
    for axes in figure.axes:
        assert list(axes.lines[0].get_ydata()) == pytest.approx([0.5, 0.5])
        band = axes.collections[0].get_paths()[0].vertices[:, 1]
        assert (band.min(), band.max()) == pytest.approx((0.1, 0.9))
    with pytest.raises(DataError, match="precision"):
        theory_fits.measured(table, x="n", measures={"precision": "p"}, label="n")
