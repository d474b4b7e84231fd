"""The figure of separability: a panel a pair of sources, adjustments side by side."""

import pandas as pd
import pytest

from afd_study.figures import separability


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
    labels = [entry.get_text() for entry in figure.legends[0].get_texts()]
    assert labels == ["as they are", "compared at equal length"]
    plain, matched = (list(line.get_ydata()) for line in figure.axes[0].lines[1:])
    assert plain[0] > 1 > matched[0]
    assert plain[1] == 0, "words, alone in its row, stands in the middle"
