"""Diagnostics by hand: AUCs of both sources, orders of two replicates, samples that end."""

import numpy as np
import pandas as pd
import pytest

from afd_study.evaluation.when import DIAGNOSTICS
from afd_study.evaluation.when_diagnostics import diagnostics_row

ROW = ["prompt_id", "source", "draw"]
SOURCES = {"init_sft": ("pi_sft", "pi_init"), "init_demo": ("demonstrations", "pi_init")}


def scores(**by_scorer):
    """Rewards (source -> prompts x draws) of some scorers as table `scores`."""
    rows = [
        (f"p{prompt}", source, draw, scorer, float(reward))
        for scorer, sources in by_scorer.items()
        for source, values in sources.items()
        for prompt, draws in enumerate(values)
        for draw, reward in enumerate(draws)
    ]
    return pd.DataFrame(rows, columns=[*ROW, "scorer", "reward"])


TABLE = scores(
    init_sft={"pi_sft": [[3, 1, 2], [5, 4, 6]], "pi_init": [[0, 2], [4, 9]]},
    **{"init_sft#1": {"pi_sft": [[3, 2, 1], [5, 4, 6]]}},
    init_demo={"pi_sft": [[0, 0, 0], [0, 0, 0]], "pi_init": [[1, 1], [1, 3]], "demonstrations": [[2]]},
    likelihood={"pi_sft": [[-3, -1, -2], [-5, -6, -4]]},
    longest={"pi_sft": [[7, 7, 7], [1, 2, 3]]},
)


def row(table=TABLE, again=None, ended=(True, False, True, True), draws=16, lengths=None):
    texts = table[ROW].drop_duplicates()
    lengths = texts.assign(length=1.0 if lengths is None else texts["draw"].map(lengths))
    again = {"init_sft": "init_sft#1"} if again is None else again
    return diagnostics_row(table, lengths, sources=SOURCES, again=again, ended=ended, auc_draws=draws)


def test_by_hand():
    found = row()
    assert set(found) == set(DIAGNOSTICS)
    # 3 1 2 5 4 6 against 0 2 4 9: pairs won 6, 4.5 (2 ties with 2), 2.5, 0
    assert found["auc_init_sft"] == pytest.approx((6 + 4.5 + 2.5 + 0) / 24)
    assert found["auc_init_demo"] == 1  # its one demonstration, against the two texts of that prompt
    assert found["disagreement_init_sft"] == pytest.approx(1 - (0.5 + 1) / 2)
    assert found["likelihood_correlation"] == pytest.approx((-1 + 1) / 2)
    assert found["length_correlation"] == pytest.approx(0.5)  # the prompt of equal lengths has no order
    assert found["share_that_stops"] == 0.75
    missing = {name for name, value in found.items() if np.isnan(value)}
    assert missing == {"auc_sft_demo", "auc_sft_demo_without_length", "disagreement_init_demo"}


def test_with_one_replicate_nothing_is_known_of_disagreement():
    assert np.isnan(row(again={})["disagreement_init_sft"])


def test_aucs_are_over_the_first_draws_and_without_length_over_pairs_alike_in_it():
    first = row(draws=1)  # 3 and 5 against 0 and 4
    assert first["auc_init_sft"] == pytest.approx(1 - 1 / 4)
    alike = row(lengths={0: 1.0, 1: 5.0, 2: 9.0})
    # of draw 0: 3, 5 against 0, 4; of draw 1: 1, 4 against 2, 9
    assert alike["auc_init_sft_without_length"] == pytest.approx((3 + 1) / 8)
    assert alike["auc_init_sft"] == row()["auc_init_sft"]


def test_a_source_that_answers_no_prompt_leaves_an_auc_unknown():
    found = row(TABLE[TABLE["source"] != "demonstrations"])
    assert np.isnan(found["auc_init_demo"]) and found["auc_init_sft"] == row()["auc_init_sft"]
