"""A world's line of numbers is what its laws and its judge say, and is the same each time."""

import numpy as np
import pytest

from afd_study.errors import SpecError
from afd_study.worlds.harmless import HarmlessSpec, HarmlessWorld
from afd_study.worlds.variants import cell, no_room
from afd_study.worlds.world_summary import auc, summary, variant_table


@pytest.fixture(scope="module")
def line():
    return summary(HarmlessWorld(HarmlessSpec()), draws=60)


def test_the_world_that_is_no_variant_is_as_the_reviews_say(line):
    """Its likeliest answers are good nowhere, four in ten of the ten likeliest are; its gap is 1.2."""
    assert line["mode_good"] == 0 and line["top_good"] == pytest.approx(0.41, abs=0.05)
    assert line["gap"] == pytest.approx(1.2, abs=0.25) and line["room"]
    assert line["gap"] == pytest.approx(line["demonstrators"] - line["web"])
    assert line["web_stops"] > 0.99 and line["auc"] > line["auc_length"] > 0.5
    assert (line["n_clauses"], line["n_words"]) == (76, 339)


def test_a_summary_is_the_same_each_time_and_its_estimates_move_with_the_seed(line):
    world = HarmlessWorld(HarmlessSpec())
    assert summary(world, draws=60) == line
    other = summary(world, draws=60, seed=1)
    moved = {name for name in line if other[name] != line[name]}
    exact = {"mode_good", "top_good", "mode_mass", "entropy", "web_entropy", "length", "web_length"}
    assert {"gap", "auc", "slope", "good"} <= moved and not exact & moved
    assert abs(other["gap"] - line["gap"]) < 4 * np.hypot(other["gap_error"], line["gap_error"])


def test_a_row_names_its_variant_and_its_place_in_the_design():
    [row] = variant_table("harmless", [104]).to_dict("records")
    place = cell("harmless", 104)
    assert {name: row[name] for name in place._fields} == place._asdict()
    assert (row["family"], row["variant"]) == ("harmless", 104)
    assert row["room"] == (row["gap"] >= no_room())


def test_an_unknown_family_or_variant_is_refused():
    with pytest.raises(SpecError, match="unknown controlled world 'harmles': did you mean 'harmless'"):
        variant_table("harmles")
    with pytest.raises(SpecError, match="no variant 40"):
        variant_table("harmless", [40])


def test_an_auc_counts_ties_half():
    assert auc(np.array([2.0, 3.0]), np.array([1.0])) == 1
    assert auc(np.array([1.0, 3.0, 0.0]), np.array([1.0])) == pytest.approx(0.5)
    assert auc(np.array([1.0]), np.array([1.0, 1.0])) == 0.5
