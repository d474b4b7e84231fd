import json

import numpy as np
import pandas as pd
import pytest

from afd_study.errors import DataError
from afd_study.figures import interactive, text
from afd_study.figures.style import METHODS

NAMES = ["init_sft", "preferences", "longest", "random", "oracle"]


def curves(settings=(0, 1), missing=()):
    rows = [
        {"heterogeneity": setting, "method": name, "n": n, "mean": rank + n / 10 + 10 * setting}
        for setting in settings
        for rank, name in enumerate(NAMES)
        for n in (1, 2, 16)
        if (setting, name) not in missing
    ]
    rows += [{"heterogeneity": s, "method": "demonstrations", "n": 1, "mean": 7.0 + s} for s in settings]
    table = pd.DataFrame(rows)
    return table.assign(low=table["mean"] - 0.5, high=table["mean"] + 0.5)


def lines(figure):
    return {trace.name: trace for trace in figure.data if trace.showlegend is None}


def test_every_method_has_a_line_and_a_band_that_the_legend_moves_together():
    figure = interactive.best_of_n(curves())
    assert len(figure.data) == 2 * len(NAMES) + 1
    for name in NAMES:
        label = METHODS[name].label
        band, line = (trace for trace in figure.data if trace.name == label)
        assert band.legendgroup == line.legendgroup == label
        assert line.line.color == METHODS[name].colour
        assert band.y[:3] == pytest.approx(np.add(line.y, 0.5))
        assert band.y[:2:-1] == pytest.approx(np.subtract(line.y, 0.5))
    assert lines(figure)["longest"].visible == "legendonly" and lines(figure)["Init-SFT"].visible is True


def test_buttons_swap_the_heights_and_nothing_else():
    figure = interactive.best_of_n(curves())
    buttons = figure.layout.updatemenus[0].buttons
    assert [button.label for button in buttons] == ["heterogeneity 0", "heterogeneity 1"]
    assert all(
        button.method == "restyle" and set(button.args[0]) == {"y", "customdata"} for button in buttons
    )
    first, second = (button.args[0]["y"] for button in buttons)
    for trace, before, after in zip(figure.data, first, second, strict=True):
        assert list(trace.y) == pytest.approx(before)
        assert np.subtract(after, before) == pytest.approx(1.0 if trace.name == "demonstrations" else 10.0)
    low, high = figure.layout.yaxis.range
    assert low < -0.5 and high > 16


def test_a_method_absent_in_one_setting_is_a_gap():
    figure = interactive.best_of_n(curves(missing={(1, "init_sft")}))
    heights = figure.layout.updatemenus[0].buttons[1].args[0]["y"]
    assert heights[1] == [None] * 3


def test_four_settings_get_a_slider_and_one_gets_no_control():
    slid = interactive.best_of_n(curves((0.0, 0.3, 0.6, 1.0)))
    assert not slid.layout.updatemenus
    assert [step.label for step in slid.layout.sliders[0].steps][1] == "heterogeneity 0.3"
    plain = interactive.best_of_n(curves((0,)))
    assert not plain.layout.updatemenus and not plain.layout.sliders


def test_the_figure_is_plain_json_with_a_caption():
    figure = interactive.best_of_n(curves(missing={(1, "init_sft")}))
    stored = figure.to_json()
    assert "bdata" not in stored and "NaN" not in stored
    json.loads(stored, parse_constant=lambda name: pytest.fail(name))
    assert "'random pick'" in text.caption(figure)
    assert figure.layout.height and "log" in figure.layout.xaxis.type


def test_the_control_must_be_there():
    with pytest.raises(DataError, match="control 'random'"):
        interactive.best_of_n(curves().query("method != 'random'"))
