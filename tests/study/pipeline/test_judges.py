"""The wiring of a second judge: who reads what, who saw which pairs, and that no other study is touched."""

import pytest

from afd_study.errors import SpecError
from afd_study.study.pipeline.plan import TABLES, plan
from afd_study.study.spec import load_spec
from afd_study.study.steps import STEPS
from afd_study.study.workflow.executor import check_signature
from afd_study.study.workflow.step import closure

FROZEN = {"reward.body": "frozen"}
TWO = {"second_judge": True}
OWN = {"pair_agreement", "pair_differences", "judges", "judges_agree", "judges_share", "outcomes_by_judge"}


@pytest.fixture
def steps_of(given):
    def laid_out(overrides, task="hh_rlhf"):
        return plan(load_spec(task, "smoke", {**given[task], **overrides}), task=task, seed=0).steps

    return laid_out


@pytest.mark.parametrize("body", [{}, FROZEN], ids=["trained", "frozen"])
def test_it_adds_steps_that_fit_their_functions_and_changes_none(steps_of, body):
    one, two = steps_of(body), steps_of(body | TWO)
    assert set(one) < set(two) and all(one[name].key == two[name].key for name in one)
    for each in closure(two.values()).values():
        check_signature(each)
    there = {name for name, (role, _) in TABLES.items() if role in two}
    assert there >= OWN and not there & OWN - there
    assert not OWN & {name for name, (role, _) in TABLES.items() if role in one}
    for name in OWN:
        role, table = TABLES[name]
        assert table in STEPS[two[role].name].tables


def test_agreement_with_people_knows_no_judge_and_reads_pairs_that_nobody_learned_from(steps_of):
    steps = steps_of(FROZEN | TWO | {"reward.replicates": 2})
    names = {each.name for each in steps["pair_agreement"].closure().values()}
    assert not names & {"frozen_judge", "words_judge", "outcomes", "verdicts"}
    pairs = steps["held_out_pairs"]
    assert pairs.settings == {"part": "policy", "splits": ("test",)}
    taught = steps["preferences"]
    assert taught.name == "corpus_preferences", "which leaves the test split out"
    own = steps["pair_agreement"]
    for name in ("init_sft", "init_sft#1", "preferences#1"):
        assert own.inputs[f"{name}_pairs"].inputs["pairs"] is pairs
        assert own.inputs[name] is steps[f"scores_{name}"]
    assert own.settings["contrasts"][0] == ("init_sft_ensemble", "init_demo_ensemble")


def test_a_frozen_body_reads_the_pairs_once_for_all_reward_models(steps_of):
    steps = steps_of(FROZEN | TWO | {"reward.replicates": 3})
    scored = [
        each for name, each in steps.items() if name.startswith("pairs_") and each.name == "frozen_scores"
    ]
    assert len(scored) == 12 and len({each.inputs["states_pairs"].key for each in scored}) == 1
    assert scored[0].inputs["states_pairs"].inputs["policy"] is steps["pi_sft"]
    assert steps["judge_pairs"].inputs["states_corpus"] is steps["judge"].inputs["states_corpus"]


def test_both_judges_are_tried_on_pairs_of_the_policys_part(steps_of):
    for body in ({}, FROZEN):
        steps = steps_of(body | TWO)
        tried = steps["judges"].inputs
        assert tried["pairs"].settings["part"] == "policy"
        assert tried["words_judge"].inputs["judge"] is steps["words_judge"]
        assert tried["judge"].inputs["reward_model"] is steps["judge"]
        under = steps["by_judge"].inputs
        assert under["judge"] is steps["outcomes"] and set(under) == {"judge", "words_judge"}
        first, second = (set(under[name].inputs) for name in under)
        assert first == second, "the same rules on the same pool"
    assert steps["words_verdicts"].inputs["pi_sft"] is steps["pool"]


def test_the_words_judge_is_one_for_all_seeds(given):
    overrides = {**given["hh_rlhf"], **FROZEN, **TWO}
    spec = load_spec("hh_rlhf", "smoke", overrides)
    first, other = (plan(spec, task="hh_rlhf", seed=seed).steps for seed in (0, 1))
    assert first["words_judge"].key == other["words_judge"].key
    assert first["words_verdicts"].key != other["words_verdicts"].key


def test_contrasts_name_single_models_where_there_is_one_of_a_kind(steps_of):
    settings = steps_of(TWO)["judges"].settings
    assert settings["n"] == 8, "n_max of the smoke profile, which is below 16"
    others = [less for method, less in settings["contrasts"] if method == "init_sft"]
    assert others == [
        *("init_demo", "sft_demo", "preferences", "demonstrations", "random"),
        *("closed_form", "longest", "shortest"),
    ]


def test_late_references_are_among_the_rules_where_they_are_asked_for(steps_of):
    steps = steps_of(TWO | {"late_reference": True})
    assert steps["pair_agreement"].inputs["half_logprobs"].inputs["samples"] is steps["pairs_by_pi_sft"]
    assert "half_logprobs" not in steps_of(TWO)["pair_agreement"].inputs


def test_pairs_of_their_own_are_dealt_out_where_they_are_asked_for(steps_of, given):
    plain, kept = steps_of(TWO)["corpus"], steps_of(TWO | {"pairs_share": 0.2})["corpus"]
    assert "pairs_share" not in plain.settings and kept.settings["pairs_share"] == 0.2
    with pytest.raises(SpecError, match="pairs_share keeps pairs for second_judge"):
        steps_of({"pairs_share": 0.2})
    with pytest.raises(SpecError, match="leave no prompt to the policy"):
        steps_of(TWO | {"judge_share": 0.6, "pairs_share": 0.4})


def test_where_there_is_no_judge_to_stand_beside_it_is_refused(given):
    with pytest.raises(SpecError, match="second_judge stands beside a judge"):
        load_spec("harmless", "smoke", TWO)
    with pytest.raises(SpecError, match="second_judge stands beside a judge"):
        load_spec("hh_rlhf", "smoke", {**given["hh_rlhf"], **TWO, "judge": None})
    with pytest.raises(SpecError, match="judge learns from preferences"):
        load_spec("own_data", "smoke", {**given["own_data"], **TWO, "judge": {"steps": 9}})
