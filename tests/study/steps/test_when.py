"""The diagnostics of a study are those of its own tables."""

import numpy as np
import pytest

from afd_study.evaluation.ranking import rank_correlation
from afd_study.evaluation.when import DIAGNOSTICS


@pytest.fixture(scope="session")
def row(study):
    table = study.table("when")
    assert len(table) == 1 and list(table.columns) == ["task", "seed", *DIAGNOSTICS]
    return table.iloc[0]


def correlation(study, one, other):
    """Spearman's within each prompt, averaged over those where it is defined."""
    own = study.table("scores").query("source == 'pi_sft'")
    wide = own.pivot(index=["prompt_id", "draw"], columns="scorer", values="reward").sort_index()
    sides = (wide[name].unstack("draw").to_numpy() for name in (one, other))
    return np.nanmean(rank_correlation(*sides))


def test_aucs_are_those_of_the_probes(study, row):
    table = study.table("conditional_auc").set_index(["scorer", "within"])["auc"]
    for kind in ("init_sft", "init_demo"):
        assert row[f"auc_{kind}"] == pytest.approx(table[kind, "none"])
        assert row[f"auc_{kind}_without_length"] == pytest.approx(table[kind, "length"])
    assert np.isnan(row["auc_sft_demo"]) and np.isnan(row["auc_sft_demo_without_length"])  # not trained


def test_correlations_are_of_orders_within_prompts(study, row):
    assert row["likelihood_correlation"] == pytest.approx(correlation(study, "init_sft", "likelihood"))
    assert row["length_correlation"] == pytest.approx(correlation(study, "init_sft", "longest"))
    assert row["disagreement_init_sft"] == pytest.approx(1 - correlation(study, "init_sft", "init_sft#1"))
    assert np.isnan(row["disagreement_init_demo"])  # of which there is one


def test_the_share_that_stops_is_that_of_samples_with_the_end_mark(study, row):
    samples = study.table("init_samples")
    marks = samples["token_ids"].map(lambda ids: ids[-1])
    full = samples["token_ids"].map(len) == study.spec.sampling.max_new_tokens
    [end] = marks[~full].unique()  # what ends those that are shorter than they may be
    assert row["share_that_stops"] == pytest.approx((marks == end).mean()) and 0 < row["share_that_stops"] < 1
