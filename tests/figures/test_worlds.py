"""Claims over worlds as a figure: intervals, predictions and every world, in the verdict's colour."""

import pandas as pd
import pytest

from afd_study.errors import DataError
from afd_study.figures.worlds import VERDICTS, claims_over_worlds


def table(**changes):
    rows = pd.DataFrame(
        {
            "id": ["R2a", "R2a", "E4"],
            "family": ["harmless", "helpful", "harmless"],
            "setting": ["h = 0", "h = 0", "h = 1"],
            "label": ["better than chance", "better than chance", "better than Init-Demo, h = 1"],
            "kind": "better",
            "margin": 0.05,
            "effect": [0.42, 0.02, -0.1],
            "low": [0.38, -0.01, -0.2],
            "high": [0.46, 0.05, -0.06],
            "prediction_low": [0.1, -0.2, -0.4],
            "prediction_high": [0.7, 0.3, 0.2],
            "n_positive": [24, 13, 4],
            "n_worlds": 24,
            "verdict": ["yes", "negligible", "reversed"],
        }
    )
    return rows.assign(**changes)


def test_a_panel_a_family_and_a_row_a_claim():
    worlds = pd.DataFrame(
        {"id": "R2a", "family": "harmless", "setting": "h = 0", "world": range(24), "effect": 0.4}
    )
    figure = claims_over_worlds(table(), worlds)
    assert [axes.get_title(loc="left") or axes.get_title() for axes in figure.axes] == ["harmless", "helpful"]
    texts = {text.get_text() for text in figure.axes[0].texts}
    assert {"24/24", "4/24"} <= texts
    marks = [line for line in figure.axes[0].lines if line.get_marker() == "|"]
    assert len(marks[0].get_xdata()) == 24
    assert figure.data is not None and len(figure.data) == 3


def test_a_verdict_has_its_colour():
    figure = claims_over_worlds(table())
    dots = [line for line in figure.axes[0].lines if line.get_marker() in "oXsd" and len(line.get_xdata())]
    assert {line.get_color() for line in dots} == {VERDICTS["yes"].colour, VERDICTS["reversed"].colour}


def test_an_effect_between_groups_has_no_prediction():
    nothing = {"prediction_low": float("nan"), "prediction_high": float("nan"), "n_positive": float("nan")}
    assert claims_over_worlds(table(**nothing)).axes


def test_a_table_without_columns_is_refused():
    with pytest.raises(DataError, match="claims over worlds"):
        claims_over_worlds(table().drop(columns="label"))
