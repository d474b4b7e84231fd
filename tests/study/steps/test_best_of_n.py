"""Outcomes of every rule: which have what is left without length, at which n, and what that is."""

import numpy as np
import pandas as pd
import pytest

from afd_study.evaluation.best_of_n import best_of_n_curve
from afd_study.evaluation.pessimism import BETAS
from afd_study.evaluation.sizes import SIZES
from afd_study.methods.best_of_n import NO_REMAINDER, WITHOUT_LENGTH

RULES = {
    "likelihood",
    "likelihood_per_token",
    "closed_form",
    "closed_form_per_token",
    "late_closed_form",
    "init_sft",
    "init_sft#1",
    "init_sft_ensemble",
    "init_demo",
}
REST = {f"{rule}{WITHOUT_LENGTH}" for rule in RULES}
KEPT = [n for n in SIZES if n <= 16]
ROW = ["prompt_id", "draw"]


def test_every_rule_has_a_curve_and_another_without_length(study):
    outcomes = study.table("outcomes")
    levels = {"pi_init", "pi_sft", "demonstrations"}
    assert set(outcomes["method"]) == RULES | REST | set(NO_REMAINDER) | levels
    sizes = outcomes.groupby("method")["n"].unique()
    assert all(sorted(sizes[rule]) == list(range(1, 17)) for rule in RULES)
    assert all(sorted(sizes[rule]) == KEPT for rule in REST)
    assert set(study.table("win_rates")["method"]) == RULES | REST | set(NO_REMAINDER)
    assert not set(study.table("summary")["method"]) & REST
    assert not set(study.table("scores")["scorer"]) & REST


def test_what_is_left_is_a_regression_within_prompts_on_a_cubic_of_length(study):
    scores = study.table("scores").query("source == 'pi_sft'").drop(columns=["source", "seed"])
    judge = scores[scores["scorer"] == "judge"].rename(columns={"reward": "judge"}).drop(columns="scorer")
    rows = scores[scores["scorer"] == "likelihood"].merge(judge, on=ROW)
    texts = study.table("samples")[[*ROW, "text"]]
    rows = rows.merge(texts, on=ROW).sort_values(ROW, ignore_index=True)
    length = np.log1p(rows["text"].str.replace(r"[^\w\s']", " ", regex=True).str.split().map(len))
    rows = rows.assign(**{f"x{k}": length**k for k in (1, 2, 3)})
    centred = rows[["x1", "x2", "x3", "reward"]] - rows.groupby("prompt_id")[
        ["x1", "x2", "x3", "reward"]
    ].transform("mean")
    x, y = centred[["x1", "x2", "x3"]].to_numpy(), centred["reward"].to_numpy()
    rest = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    by_hand = rows[[*ROW]].assign(source="pi_sft", scorer="likelihood_rest", reward=rest)
    judged = rows[ROW].assign(source="pi_sft", scorer="judge", reward=rows["judge"])
    both = pd.concat([by_hand, judged], ignore_index=True)
    expected = best_of_n_curve(
        both, task="harmless", seed=0, judge="judge", n=KEPT, scorers=["likelihood_rest"]
    )
    expected = expected.query("method == 'likelihood_rest'").set_index(["prompt_id", "n"])["value"]
    outcomes = study.table("outcomes").query("method == 'likelihood_without_length'")
    found = outcomes.set_index(["prompt_id", "n"])["value"]
    assert found.sort_index().to_numpy() == pytest.approx(expected.sort_index().to_numpy(), abs=1e-9)


def test_rules_per_token_are_the_rules_over_the_number_of_tokens(study):
    scores = study.table("scores").pivot(
        index=["prompt_id", "source", "draw"], columns="scorer", values="reward"
    )
    own = scores.xs("pi_sft", level="source")
    for rule in ("likelihood", "closed_form"):
        assert (own[rule] / own["longest"]).to_numpy() == pytest.approx(own[f"{rule}_per_token"].to_numpy())


def test_pessimism_is_of_what_was_learned_and_of_closed_forms(study):
    table = study.table("pessimism")
    assert set(table["method"]) == RULES - {"likelihood", "likelihood_per_token", "closed_form_per_token"}
    assert set(table["beta"]) == set(BETAS) and sorted(table["n"].unique()) == KEPT
    plain = table[table["n"] == 1].groupby("prompt_id")["value"]
    assert (plain.max() - plain.min()).max() < 1e-12  # one draw at a time is a plain draw
