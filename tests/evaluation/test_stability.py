"""Flips between halves of the replicates: predicted ones against those that happen, and their list."""

import numpy as np
import pandas as pd
import pytest
from world_tables import contrast

from afd_study.errors import DataError, SpecError
from afd_study.evaluation.stability import flip_chances, flips
from afd_study.evaluation.verdicts import with_verdicts
from afd_study.evaluation.world_effects import WorldEffect, effect_over_worlds
from afd_study.evaluation.world_rows import STRATA


def verdicts(rows, margin=0.05):
    """Return one verdict a contrast; with one seed a world nothing is asked of its variance."""
    means = rows.groupby(["id", "world", *STRATA])["effect"].mean().reset_index().assign(variance=0.0)
    estimates = [effect_over_worlds(part) for _, part in means.groupby("id")]
    table = pd.DataFrame(estimates, columns=list(WorldEffect._fields)).assign(kind="better", margin=margin)
    return with_verdicts(table.assign(id=range(len(table))))


def chances_of(rows, replicate_sd=0.1, draws=2000, **sizes):
    rows = rows.assign(replicate_sd=replicate_sd)
    return flip_chances(
        rows, **{"seeds": 1, "replicates": 4} | sizes, generator=np.random.default_rng(0), draws=draws
    )


def test_as_many_flip_as_predicted():
    effects = np.tile(np.linspace(0.02, 0.18, 10), 4)
    rows = pd.concat(
        contrast(8, 1, 4, tau=0.02, seed=0.02, effect=effect, number=i).assign(id=i)
        for i, effect in enumerate(effects)
    )
    halves = [verdicts(rows[rows["replicate"].isin(some)]) for some in ((0, 1), (2, 3))]
    actual = len(flips(*halves, key=["id"]))
    chances = chances_of(verdicts(rows))["flip"]
    spread = np.sqrt((chances * (1 - chances)).sum())
    assert 5 < chances.sum() < 25
    assert abs(actual - chances.sum()) < 2.5 * spread


def test_rows_far_from_their_line_never_flip_and_rows_on_it_often_do():
    row = {"kind": "better", "margin": 0.05, "error": 0.02, "df": 20.0, "n_worlds": 24}
    on_the_line = 0.05 + 2.086 * 0.02
    rows = pd.DataFrame([row | {"effect": effect} for effect in (0.5, on_the_line, -0.5)])
    table = chances_of(rows, replicate_sd=0.1)
    assert table["flip"].tolist()[::2] == [0, 0] and table["flip"][1] > 0.3
    assert (table["opposite"] == 0).all()
    assert (chances_of(rows, replicate_sd=1e-6)["flip"][::2] == 0).all()


def test_more_noise_more_flips_and_more_replicates_fewer():
    row = {"kind": "better", "margin": 0.05, "effect": 0.12, "error": 0.02, "df": 20.0, "n_worlds": 24}
    rows = pd.DataFrame([row])
    chances = [
        chances_of(rows, sd, draws=4000, replicates=k)["flip"][0]
        for sd, k in ((0.05, 4), (0.2, 4), (0.2, 16))
    ]
    assert chances[0] < chances[2] < chances[1]


def test_yes_against_reversed_is_seen_where_noise_is_everything():
    row = {"kind": "better", "margin": 0.0, "effect": 0.0, "error": 0.01, "df": 20.0, "n_worlds": 24}
    table = chances_of(pd.DataFrame([row]), replicate_sd=2.0)
    assert 0 < table["opposite"][0] <= table["flip"][0]


def test_the_list_of_flips_by_hand():
    first = pd.DataFrame(
        {"id": [1, 2, 3], "verdict": ["yes", "open", "yes"], "effect": [0.2, 0.08, 0.3], "margin": 0.05}
    )
    second = first.assign(verdict=["yes", "yes", "reversed"], effect=[0.2, 0.10, -0.1]).iloc[::-1]
    table = flips(first, second, key=["id"])
    assert table["id"].tolist() == [3, 2] and table["opposite"].tolist() == [True, False]
    assert table["distance"].tolist() == pytest.approx([0.05, 0.04])
    assert table.loc[1, ["first", "second", "effect_first", "effect_second"]].tolist() == [
        "open",
        "yes",
        0.08,
        0.1,
    ]
    assert flips(first, first, key=["id"]).empty


def test_what_is_refused():
    table = pd.DataFrame({"id": [1, 2], "verdict": "yes", "effect": 0.1, "margin": 0.05})
    with pytest.raises(DataError, match="one of the two runs only"):
        flips(table, table[:1], key=["id"])
    with pytest.raises(DataError, match="repeats"):
        flips(table.assign(id=1), table, key=["id"])
    with pytest.raises(SpecError, match="2, 4"):
        chances_of(verdicts(contrast(8).assign(id=0)), replicates=3)
