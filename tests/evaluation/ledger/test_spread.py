"""Components, half-widths and flips, on drawn worlds whose variances are known."""

import numpy as np
import pandas as pd
import pytest
from ledgers import GAP, PLACES, WORLDS, ledger_text

from afd_study.evaluation.identities import errors
from afd_study.evaluation.ledger.judging import Judged
from afd_study.evaluation.ledger.records import load_ledger
from afd_study.evaluation.ledger.spread import components, replicate_sds, stability, widths
from afd_study.evaluation.ledger.values import ALONE, VALUE_COLUMNS, Values

WORLD_SD, REPLICATE_SD = 0.10, 0.06  # shares of the gap


def drawn(*, lead=0.3, seeds=(0,), settings=("h = 1",), replicate_sd=REPLICATE_SD, seed=0):
    """Return table `values`: Init-SFT leads random by `lead` of the gap; worlds and replicates vary."""
    rng, rows = np.random.default_rng(seed), []
    for setting in settings:
        for world in WORLDS:
            off = rng.normal(0, WORLD_SD)
            for each in seeds:
                own = [(lead + off + noise) * GAP for noise in rng.normal(0, replicate_sd, 4)]
                rows += [(world, each, setting, "init_sft", k, value) for k, value in enumerate(own)]
                rows += [
                    (world, each, setting, "random", ALONE, 0.0),
                    (world, each, setting, "oracle", ALONE, GAP),
                ]
    table = pd.DataFrame(rows, columns=["world", "seed", "setting", "method", "replicate", "value"])
    table = table.assign(family="harmless", table="outcomes", metric="judge", n=16)
    return table[list(VALUE_COLUMNS)]


def runs(table, name="scorers"):
    return {name: Judged(Values(table), {"harmless": PLACES})}


def ledger(**changes):
    return load_ledger(ledger_text(families=["harmless"], **changes))


def test_replicates_spread_is_found():
    found = replicate_sds(ledger(), runs(drawn()))
    assert found["replicate_sd"].iloc[0] == pytest.approx(REPLICATE_SD, rel=0.25)


def test_components_of_an_explored_run():
    table = components(ledger(), runs(drawn(seeds=(0, 1)), "scorers"), run="scorers", setting="h = 1")
    row = table.iloc[0]
    assert (row["id"], row["family"]) == ("X1", "harmless")
    assert row["world"] == pytest.approx(WORLD_SD, rel=0.5)
    assert row["replicate"] == pytest.approx(REPLICATE_SD, rel=0.25) and row["seed"] < 0.03


def test_the_half_width_splits_into_worlds_and_replicates():
    row = widths(ledger(), runs(drawn()), ["X1"]).iloc[0]
    assert row["total"] ** 2 == pytest.approx(row["worlds"] ** 2 + row["ours"] ** 2)
    more = widths(ledger(), runs(drawn(replicate_sd=0.3)), ["X1"]).iloc[0]
    assert more["ours"] > 3 * row["ours"]


def halves_of(table):
    return stability(
        ledger(),
        {"scorers": table},
        {"scorers": {"harmless": PLACES}},
        errors(),
        generator=np.random.default_rng(1),
    )


def test_a_clear_verdict_does_not_flip():
    found = halves_of(drawn(lead=0.5))
    assert found.rows == 1 and found.flips.empty and found.expected < 0.01


def test_a_verdict_on_its_line_flips_as_often_as_expected():
    """Drawn forty times at the line, as many flip as the chances say."""
    found = [halves_of(drawn(lead=0.093, replicate_sd=0.15, seed=seed)) for seed in range(40)]
    happened, expected = sum(len(each.flips) for each in found), sum(each.expected for each in found)
    assert 2 < expected < 30
    assert abs(happened - expected) < 2.5 * np.sqrt(expected)
    assert sum(each.expected_opposite for each in found) == 0


def test_what_has_fewer_replicates_than_both_halves_is_left_out():
    table = drawn(lead=0.5)
    assert halves_of(table[table["replicate"] < 2]).rows == 0
