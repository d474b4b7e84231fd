"""Figures of the map draw what their tables say, each task in a look of its own."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from seaborn import light_palette

from afd_study.errors import DataError, SpecError
from afd_study.figures import heterogeneity_map
from afd_study.figures.style import METHODS


@pytest.fixture
def cells(with_bounds):
    rows = [
        {"task": task, "h": h, "a": a, "matched": False, "quantity": quantity, "method": method, "mean": mean}
        for task in ("harmless", "helpful")
        for h in (0.0, 1.0)
        for a in (0.1, 0.9)
        for quantity, method, mean in (
            ("lead", "init_demo", h - 0.5),
            ("auc", "init_demo", 0.6 + 0.3 * h),
            ("auc", "init_sft", 0.6),
        )
    ]
    return with_bounds(rows)


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
    ]
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


def test_tasks_without_a_look_of_their_own_get_one_each():
    known = heterogeneity_map.TASK_LOOKS
    looks = heterogeneity_map.task_looks(["zealous", "helpful", "candid", "harmless"])
    assert list(looks) == ["harmless", "helpful", "candid", "zealous"]
    assert {name: looks[name] for name in known} == known
    assert len({(style.colour, style.marker) for style in looks.values()}) == 4
    assert [style.label for style in looks.values()] == list(looks)
