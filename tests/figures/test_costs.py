"""Figures of costs draw a point a method where the table has it, and bring that table."""

import numpy as np
import pandas as pd
import pytest

from afd_study.errors import DataError, SpecError
from afd_study.figures import costs
from afd_study.figures.style import look

LEVELS = pd.DataFrame({"task": ["harmless", "helpful"], "method": ["demonstrations"] * 2, "mean": [0.9, 1.2]})
SPENT = {"pi_sft": (1e9, 160, 0), "init_sft": (4e9, 160, 0), "dpo_preferences": (2e9, 0, 160)}


def judged():
    rows = [
        (task, name, metric, spent, 0.1 * place)
        for task in ("harmless", "helpful")
        for place, (name, amounts) in enumerate(SPENT.items())
        for metric, spent in zip(("flops", "demonstrations", "preference_labels"), amounts, strict=True)
    ]
    table = pd.DataFrame(rows, columns=["task", "method", "metric", "cost", "mean"])
    return table.assign(low=table["mean"] - 0.05, high=table["mean"] + 0.05)


def points(axes):
    return {line.get_label(): line for line in axes.lines}


def test_score_against_has_a_panel_a_task_and_a_point_a_method():
    figure = costs.score_against(judged(), LEVELS, metric="flops")
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["harmless", "helpful"]
    for axes, level in zip(figure.axes, (0.9, 1.2), strict=True):
        lines = points(axes)
        assert axes.get_xscale() == "log" and len(lines) == len(SPENT) + 1
        assert lines["Init-SFT"].get_xdata() == pytest.approx([4e9])
        assert lines["Init-SFT"].get_ydata() == pytest.approx([0.1])
        assert lines["Init-SFT"].get_color() == look("init_sft").colour
        assert lines["demonstrations"].get_ydata() == pytest.approx([level, level])
        figure.canvas.draw()
        ticks = [tick.get_text() for tick in axes.get_xticklabels()]
        assert "2 G" in ticks and not any("^" in tick for tick in ticks)
    assert len(figure.table) == 6 and set(figure.table["metric"]) == {"flops"} and "FLOPs" in figure.caption


def test_methods_of_equal_labels_stand_side_by_side_under_their_count():
    figure = costs.score_against_labels(judged(), LEVELS)
    for axes in figure.axes:
        places = {name: float(line.get_xdata()[0]) for name, line in points(axes).items()}
        labels = [tick.get_text() for tick in axes.get_xticklabels()]
        assert labels == ["0 demonstrations\n160 preferences", "160 demonstrations\n0 preferences"]
        assert places["Init-SFT"] != places["SFT policy"]
        middle = axes.get_xticks()[1]
        assert middle == np.mean([places["Init-SFT"], places["SFT policy"]])
        assert places["DPO on preferences"] == axes.get_xticks()[0]
    assert {"demonstrations", "preference_labels"} <= set(figure.table.columns) and len(figure.table) == 6


def test_totals_are_lines_over_prompts_on_two_log_scales():
    prompts = np.geomspace(1, 1000, 7)
    lines = [
        pd.DataFrame({"task": task, "method": name, "prompts": prompts, "total": making + prompts})
        for task in ("harmless", "helpful")
        for name, making in (("pi_sft", 10.0), ("init_sft", 20.0))
    ]
    table = pd.concat(lines)
    figure = costs.totals(table)
    for axes in figure.axes:
        assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
        assert points(axes)["SFT policy"].get_ydata() == pytest.approx(10 + prompts)
    assert len(figure.table) == len(table) and len(figure._repr_png_()) > 5000


def test_what_cannot_be_drawn_is_named():
    with pytest.raises(DataError, match="without rows"):
        costs.score_against(judged(), LEVELS, metric="seconds")
    with pytest.raises(DataError, match=r"needs the columns \['cost'\]"):
        costs.score_against(judged().drop(columns="cost"), LEVELS, metric="flops")
    with pytest.raises(SpecError, match="METHODS"):
        costs.score_against(judged().assign(method="unheard_of"), LEVELS, metric="flops")
