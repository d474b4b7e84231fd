"""The figure of ablations draws what its table says, in every method's own look."""

import pandas as pd
import pytest

from afd_study.errors import DataError, SpecError
from afd_study.figures.ablations import COLUMNS, responses
from afd_study.figures.style import METHODS


def table(lines, values=("250", "2000"), *, grid="demos", task="harmless"):
    """A grid's table: line -> the reward model at each value."""
    rows = [
        (grid, "what is varied", task, line, kind, place, value, 0.5 + place, 0.4 + place, 0.6 + place, 3)
        for line, kinds in lines.items()
        for place, (value, kind) in enumerate(zip(values, kinds, strict=True))
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


@pytest.fixture
def usual():
    lines = {name: [name, name] for name in ("init_sft", "preferences", "random", "demonstrations")}
    return pd.concat([table(lines), table(lines, task="helpful")])


def drawn(axes):
    return {line.get_label(): line for line in axes.lines}


def test_a_panel_for_each_grid_and_task_with_its_values_and_levels(usual):
    figure = responses(usual)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["harmless", "helpful"]
    axes = figure.axes[0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["250", "2000"]
    assert axes.get_xlabel() == "what is varied"
    lines = drawn(axes)
    assert set(lines) == {METHODS[name].label for name in set(usual["method"])}
    assert list(lines["Init-SFT"].get_ydata()) == [0.5, 1.5]
    assert lines["Init-SFT"].get_color() == METHODS["init_sft"].colour
    assert lines["demonstrations"].get_marker() in ("", "None")  # a level, and no line of points
    # controls have no bars; the lines' stand side by side
    assert len(axes.collections) == 2
    assert (lines["Init-SFT"].get_xdata() < lines["preferences (BT)"].get_xdata()).all()


def test_where_the_value_is_another_reward_model_each_point_has_its_look():
    figure = responses(table({"init_sft": ["init_sft", "init_sft_bt"]}, ("cross-entropy", "Bradley-Terry")))
    lines = drawn(figure.axes[0])
    for name, place in (("init_sft", 0), ("init_sft_bt", 1)):
        shown = lines[METHODS[name].label]
        assert list(shown.get_ydata()) == [0.5 + place] and shown.get_color() == METHODS[name].colour


def test_an_odd_panel_leaves_its_place_empty_and_the_figure_brings_its_table(usual):
    three = pd.concat([usual, table({"init_sft": ["init_sft"] * 2}, grid="backbone")])
    figure = responses(three)
    assert [axes.axison for axes in figure.axes] == [True, True, True, False]
    assert len(figure.table) == len(three) and "t over 3 seeds" in figure.caption
    assert len(figure._repr_png_()) > 5000


def test_what_cannot_be_drawn_is_named(usual):
    with pytest.raises(DataError, match="responses of ablations needs the columns"):
        responses(usual.drop(columns="axis"))
    with pytest.raises(DataError, match="without rows"):
        responses(usual.iloc[:0])
    with pytest.raises(SpecError, match="did you mean 'init_sft'"):
        responses(table({"init_sftt": ["init_sftt"] * 2}))
