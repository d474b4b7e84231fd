"""The frozen table of variants is today's: a few of its lines, computed again."""

import pandas as pd
import pytest

from afd_study.study.freeze import SUMMED_UP
from afd_study.study.frozen.files import read_frozen
from afd_study.worlds.tasks import CONTROLLED
from afd_study.worlds.variants import cell, numbers
from afd_study.worlds.world_summary import variant_table


@pytest.fixture
def table(monkeypatch):
    monkeypatch.delenv("AFD_RESULTS", raising=False)
    return read_frozen("worlds", "variants")


def test_fifty_variants_of_each_family_stand_in_it_and_none_for_judging(table):
    exploration = set(numbers("exploration"))
    for family in CONTROLLED:
        rows = table[table["family"] == family]
        assert (
            len(rows) == rows["variant"].nunique() == SUMMED_UP == 50 and set(rows["variant"]) <= exploration
        )
        places = [cell(family, variant) for variant in rows["variant"]]
        columns = ["role", "kinds", "likely_good", "web_ends"]
        assert [tuple(row) for row in rows[columns].itertuples(index=False)] == places


@pytest.mark.parametrize("family, variant", [("harmless", 107), ("harmless", 140), ("helpful", 133)])
def test_a_line_comes_out_as_it_was_frozen(table, family, variant):
    old = table[(table["family"] == family) & (table["variant"] == variant)].reset_index(drop=True)
    pd.testing.assert_frame_equal(variant_table(family, [variant]), old, rtol=1e-8, check_dtype=False)


def test_strata_are_true_and_most_worlds_have_room(table):
    assert (table["mode_good"] == table["likely_good"]).all()
    assert ((table["web_stops"] > 0.8) == table["web_ends"]).all()
    assert table["room"].mean() > 0.9


def test_variants_differ(table):
    """By far more than their estimates' errors over a family, and visibly within each cell of the design."""
    for _, rows in table.groupby("family"):
        assert rows["gap"].std() > 5 * rows["gap_error"].mean()
        assert rows["auc"].max() - rows["auc"].min() > 0.1
    for _, rows in table.groupby(["family", "kinds", "likely_good", "web_ends"]):
        assert rows["good"].std() > 0.03 and rows["entropy"].std() > 0.05
