"""A study with a second judge, run whole: a pretrained Llama, chats, frozen bodies, people's pairs."""

import gguf_models
import numpy as np
import pandas as pd
import pytest

from afd_study.errors import DataError
from afd_study.evaluation.systems.judges import STRATA
from afd_study.models.gguf_files import convert
from afd_study.study import open_study
from afd_study.study.steps import STEPS
from afd_study.study.steps.pairs import PAIRS, as_texts, differences_in_length, gaps, held_out_pairs
from afd_study.study.workflow.context import Context
from afd_study.study.workflow.store import Store
from afd_study.study.workflow.tables import read_table, write_table

OVERRIDES = {
    "reward.body": "frozen",
    "reward.kinds": ["init_sft", "init_demo", "preferences"],
    "reward.recipes": {"init_sft": {"replicates": 2}},
    "second_judge": True,
    "judge_share": 0.4,
    "pairs_share": 0.2,
    "world.test": 0.3,
}
RULES = {"closed_form", "closed_form_per_token", "likelihood", "likelihood_per_token", "longest", "shortest"}


@pytest.fixture(scope="module")
def dialogues_study(given, tmp_path_factory):
    place = tmp_path_factory.mktemp("two-judges")
    convert(gguf_models.write(gguf_models.llama(), place / "tiny.gguf"), place / "llama")
    own = {**given["hh_rlhf"], **OVERRIDES, "policy.name_or_path": str(place / "llama")}
    return open_study("hh_rlhf", "smoke", 0, 1, overrides=own, store=Store(place / "store"), quiet=True)


@pytest.fixture(scope="module")
def steps(dialogues_study):
    dialogues_study.run()
    return dialogues_study.plans()[0].steps


def test_a_judge_of_peoples_preferences_is_a_head_on_pi_inits_states(dialogues_study, steps):
    judge = dialogues_study.table("judge_accuracy").iloc[0]
    assert 0 <= judge["low"] <= judge["accuracy"] <= judge["high"] <= 1 and judge["n_training_pairs"] > 0
    assert {"init_sft", "oracle", "preferences"} <= set(dialogues_study.table("outcomes")["method"])
    body = steps["judge"].inputs["states_corpus"].inputs["policy"]
    assert steps["judge"].name == "frozen_judge" and body.key == steps["pi_init"].key
    assert "judge" in set(dialogues_study.table("edit_effects")["method"])


def test_every_step_of_it_writes_the_tables_that_it_is_said_to(dialogues_study, steps):
    for role in ("words_judge", "words_verdicts", "held_out_pairs", "pairs_by_pi_sft", "judge_pairs",
                 "pair_agreement", "by_judge", "judges"):  # fmt: skip
        written = {path.stem for path in dialogues_study.store.folder(steps[role]).glob("*.parquet")}
        assert written == set(STEPS[steps[role].name].tables), role


def test_outcomes_of_every_rule_are_there_under_both_judges(dialogues_study, steps):
    both, first = dialogues_study.table("outcomes_by_judge"), dialogues_study.table("outcomes")
    assert set(both["judge"]) == {"judge", "words_judge"}
    own = both[both["judge"] == "judge"].reset_index(drop=True)
    pd.testing.assert_frame_equal(own[first.columns], first)
    methods = both.groupby("judge")["method"].agg(set)
    assert methods["judge"] == methods["words_judge"] >= {"init_sft_ensemble", "oracle", *RULES}
    scores = dialogues_study.table("scores_by_judge")
    sizes = scores.groupby(["scorer", "source"]).size().unstack()
    assert (sizes.loc["judge"] == sizes.loc["words_judge"]).all()
    assert set(sizes.columns) == {"pi_sft", "pi_init", "demonstrations"}
    for table in ("summary", "win_rates", "diagnostics"):
        assert set(dialogues_study.table(f"{table}_by_judge")["judge"]) == {"judge", "words_judge"}


def test_rules_are_compared_with_people_on_held_out_pairs(dialogues_study, steps):
    table = dialogues_study.table("pair_agreement").set_index(["stratum", "rule"])
    models = {"init_sft", "init_sft#1", "init_sft_ensemble", "init_demo", "preferences"}
    assert set(table.index.get_level_values("rule")) == models | RULES
    assert table[["accuracy", "low", "high"]].notna().all(axis=None)
    assert table.loc[(STRATA[0], "longest"), "accuracy"] == 1, "six words are preferred to three"
    corpus = dialogues_study.store.folder(steps["corpus"])
    prompts, labels = read_table(corpus, "prompts"), read_table(corpus, "preferences")
    tested = (prompts["part"] == "policy") & (prompts["split"] == "test")
    own = prompts[tested | (prompts["part"] == "pairs")]
    assert 0 < tested.sum() < len(own)
    assert table.loc[(STRATA[0], "longest"), "n_pairs"] == labels["prompt_id"].isin(own["prompt_id"]).sum()
    rows = dialogues_study.table("pair_differences")
    assert len(rows) == len(STRATA) * 6
    absent = rows[rows["verdict"] == "not in this study"]
    assert set(absent["less_rule"]) == {"sft_demo"}
    compared = rows[rows["verdict"] != "not in this study"]
    assert compared[["value", "low", "high"]].notna().all(axis=None)


def test_an_answers_log_probability_is_what_the_rules_score_by(dialogues_study, steps):
    texts = read_table(dialogues_study.store.folder(steps["pairs_by_pi_sft"]), "samples")
    init = read_table(dialogues_study.store.folder(steps["pairs_by_pi_init"]), "logprobs")
    assert (texts["source"] == PAIRS).all() and (texts["logprob"] < 0).all()
    assert texts.groupby("prompt_id").size().mod(2).eq(0).all()
    ratio = texts.merge(init, on=["prompt_id", "source", "draw"]).eval("logprob - logprob_init")
    sign = np.sign(gaps(texts.assign(scorer="r", reward=ratio))["r"])
    table = dialogues_study.table("pair_agreement").set_index(["stratum", "rule"])
    share = table.loc[(STRATA[0], "closed_form"), "accuracy"]
    assert np.isclose(share, ((1 + sign) / 2).mean())


def test_judges_are_tried_on_pairs_that_they_never_saw(dialogues_study, steps):
    table = dialogues_study.table("judges").set_index(["stratum", "rule"])
    assert set(table.index.get_level_values("rule")) == {"judge", "words_judge", "longer", "shorter"}
    alone = dialogues_study.table("judge_accuracy").iloc[0]
    assert table.loc[(STRATA[0], "judge"), "n_pairs"] == alone["n_pairs"]
    assert np.isclose(table.loc[(STRATA[0], "judge"), "accuracy"], alone["accuracy"])
    words = dialogues_study.table("words_judge_accuracy").iloc[0]
    assert np.isclose(table.loc[(STRATA[0], "words_judge"), "accuracy"], words["accuracy"])
    longer = table.xs("longer", level="rule")["accuracy"] + table.xs("shorter", level="rule")["accuracy"]
    np.testing.assert_allclose(longer, 1)


def test_what_both_judges_say_of_contrasts_is_one_table_without_gaps(dialogues_study):
    table = dialogues_study.table("judges_agree")
    assert len(table) == 2 * 8 and set(table["n"]) == {8}
    absent = table["verdict"] == "not in this study"
    assert set(table.loc[absent, "less_method"]) == {"sft_demo"}
    assert table.loc[~absent, ["value", "low", "high", "spread"]].notna().all(axis=None)
    share = dialogues_study.table("judges_share").iloc[0]
    assert share["n_contrasts"] == 7 and share["n_settled"] <= share["n_same_sign"] <= 7


# pairs as texts


LABELS = pd.DataFrame(
    {
        "prompt_id": ["a", "a", "b"],
        "draw": [0, 1, 0],
        "preferred": ["x y z", "x", "y"],
        "rejected": ["x", "y", "y z"],
    }
)


def test_a_pairs_gap_is_the_preferred_answers_score_less_the_others():
    texts = as_texts(LABELS)
    scores = texts.assign(source=PAIRS, scorer="r", reward=[5.0, 6.0, 7.0, 1.0, 8.0, 7.0])
    assert gaps(scores.sample(frac=1, random_state=0))["r"].tolist() == [4.0, -2.0, 0.0]
    assert np.sign(differences_in_length(texts)).tolist() == [1, 0, -1]
    with pytest.raises(DataError, match="score both sides"):
        gaps(scores.iloc[1:])
    other = scores.iloc[[0, 3]].assign(scorer="s")
    with pytest.raises(DataError, match=r"rules \['s'\] have no score"):
        gaps(pd.concat([scores, other]))


def test_a_part_without_pairs_is_refused(tmp_path):
    prompts = pd.DataFrame({"prompt_id": ["a", "b"], "split": ["train", "test"], "text": ["A", "B"]})
    write_table(tmp_path, "prompts", prompts.assign(part=["policy", "judge"]))
    write_table(tmp_path, "preferences", LABELS)
    how = {"part": "policy", "corpus": tmp_path}
    held_out_pairs(tmp_path, Context(tmp_path), splits=("train",), **how)
    assert len(read_table(tmp_path, "demonstrations")) == 4
    with pytest.raises(DataError, match="has a pair that people compared"):
        held_out_pairs(tmp_path, Context(tmp_path), splits=("test",), **how)
