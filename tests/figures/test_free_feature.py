import pandas as pd
import pytest

from afd_study.errors import DataError
from afd_study.figures import free_feature


def training():
    rows = [(h, time, time * (1 - h / 2)) for h in (0.0, 0.5, 1.0) for time in (0.0, 1.0, 10.0)]
    return pd.DataFrame(rows, columns=["h", "time", "share"])


def test_a_line_for_each_h_and_dots_for_what_is_expected():
    figure = free_feature.over_time(training(), measures={"share": "what is known"}, expected=training())
    [axes] = figure.axes
    assert axes.get_title(loc="left") == "what is known" and len(axes.lines) == 6
    assert list(axes.lines[2].get_ydata()) == [0.5, 5.0]  # h = 1, without time 0, which has no logarithm
    assert axes.lines[2].get_label() == "h = 1" and axes.lines[5].get_label() == "h = 1, predicted"
    with pytest.raises(DataError, match="pull"):
        free_feature.over_time(training(), measures={"pull": "pull"})


def test_lines_over_h_have_bands_where_the_table_has_bounds():
    table = training().query("time == 10").assign(loss="pointwise", low=0.0, high=9.0)
    figure = free_feature.over_h(table, by="loss", measure="share", title="kept", label="share")
    [axes] = figure.axes
    assert list(axes.lines[0].get_ydata()) == [10.0, 7.5, 5.0] and len(axes.collections) == 1
    assert figure.table is table


def test_leads_have_a_panel_a_cell_and_a_line_a_law():
    rows = [
        (task, a, h, h - 0.1, h - 0.3, h + 0.1, law, h * scale)
        for law, scale in (("one", 1.0), ("other", 2.0))
        for task in ("harmless", "helpful")
        for a in (0.1, 0.9)
        for h in (0.0, 1.0)
    ]
    columns = ["task", "a", "h", "mean", "low", "high", "law", "predicted"]
    figure = free_feature.leads(pd.DataFrame(rows, columns=columns))
    panels = [axes for axes in figure.axes if axes.get_visible()]
    titles = ["harmless, a = 0.1", "harmless, a = 0.9", "helpful, a = 0.1", "helpful, a = 0.9"]
    assert [axes.get_title(loc="left") for axes in panels] == titles
    lines = panels[0].lines
    assert [list(line.get_ydata()) for line in lines[:2]] == [[0.0, 1.0], [0.0, 2.0]]
    assert list(lines[2].get_ydata()) == [-0.1, 0.9] and "Init-Demo" in figure.caption


def test_weights_have_a_panel_a_task():
    rows = [(task, "init_demo", step, 1 / step) for task in ("harmless", "helpful") for step in (1, 2)]
    figure = free_feature.weights(pd.DataFrame(rows, columns=["task", "method", "step", "weight"]))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["harmless", "helpful"]
    assert list(figure.axes[1].lines[0].get_ydata()) == [1.0, 0.5]
