"""The law's trial: cells of the judging runs, halves of worlds, and what it has not seen."""

import numpy as np
import pandas as pd
import pytest

from afd_study.errors import SpecError, StoreError
from afd_study.evaluation.ledger.records import load_ledger
from afd_study.evaluation.ledger.values import ALONE, VALUE_COLUMNS
from afd_study.evaluation.when import DIAGNOSTICS, RIVALS
from afd_study.study.chapters import when_law
from afd_study.study.frozen.judging import WHEN, worlds_of


@pytest.fixture(scope="module")
def values():
    """Worlds in which Init-SFT's lead over a random pick is what its AUC says, and noise decides the rest."""
    rng, rows = np.random.default_rng(5), []
    for family in ("harmless", "helpful"):
        for world in worlds_of(load_ledger(), "scorers", family).index:
            for setting in load_ledger().runs["scorers"].settings:
                measured = {name: rng.uniform(0.2, 0.9) for name in DIAGNOSTICS}
                lead = 2 * (measured["auc_init_sft"] - 0.5) + rng.normal(0, 0.02)
                judged = {"random": 0.0, "oracle": 2.0, "longest": 0.1, "likelihood": 0.2}
                front = (family, world, 0, setting)
                rows += [
                    (*front, "outcomes", "judge", name, ALONE, 16, value) for name, value in judged.items()
                ]
                rows += [
                    (*front, "outcomes", "judge", kind, k, 16, value + 0.01 * k)
                    for kind, value in (("init_sft_x10", 2 * lead), ("init_demo", 0.3))
                    for k in range(2)
                ]
                rows += [(*front, "when", name, WHEN, ALONE, 0, value) for name, value in measured.items()]
    return pd.DataFrame(rows, columns=list(VALUE_COLUMNS))


def test_a_cell_has_its_diagnostics_and_leads_as_shares_of_the_gap(values):
    table = when_law.cells(values)
    assert len(table) == 2 * 24 * 3 and set(table["half"]) == {"A", "B"}
    assert (table.groupby("world")["half"].nunique() == 1).all(), "all settings of a world are one unit"
    assert table.groupby("half")["world"].nunique().tolist() == [24, 24]
    one = values[(values["world"] == 3) & (values["family"] == "helpful") & (values["setting"] == "h = 1")]
    picked = one[one["method"] == "init_sft_x10"]["value"].mean()
    cell = table[(table["world"] == "helpful 3") & (table["setting"] == "h = 1")].iloc[0]
    assert cell["lead_over_random"] == pytest.approx(picked / 2)
    assert cell["auc_init_sft"] == one[one["metric"] == "auc_init_sft"]["value"].iloc[0]


def test_the_law_is_tried_on_what_it_has_not_seen(values):
    found = when_law.trial("harmless", when_law.cells(values))
    assert set(found) == {"other worlds", "another family"}
    for name, n_worlds in (("other worlds", 12), ("another family", 24)):
        errors = found[name].errors.set_index("rival").loc["random"]
        assert errors["n_worlds"] <= n_worlds and errors["error"] < 0.3 * errors["error_of_mean"]
        rules = found[name].regrets.set_index("rule")["regret"]
        assert rules["the law"] < rules["always SFT"] and rules["the law"] < rules["always longest"]
    assert found["other worlds"].law.n_worlds == 12


def test_the_plan_names_every_rival_of_the_law():
    assert set(when_law.plan().kinds) == {"init_sft", *RIVALS}


def test_what_there_is_not_is_named(values, tmp_path, monkeypatch):
    with pytest.raises(SpecError, match="'harmles': did you mean 'harmless'"):
        when_law.trial("harmles", when_law.cells(values))
    monkeypatch.setenv("AFD_RESULTS", str(tmp_path))
    with pytest.raises(StoreError, match="'scorers' has not been computed"):
        when_law.cells()
