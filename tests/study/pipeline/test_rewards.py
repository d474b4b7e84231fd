"""Reward models by recipes of their own, and in replicates: what each learns from, and what they share."""

import pytest

from afd_study.errors import SpecError
from afd_study.study.pipeline.plan import plan
from afd_study.study.spec import load_spec

ENDS = {"outcomes", "probes"}
OF_INIT_DEMO = {"reward_init_demo", "scores_init_demo", "shown_init_demo"}


def steps_of(overrides=None):
    return plan(load_spec("harmless", "smoke", overrides), task="harmless", seed=0).steps


def test_a_recipe_is_of_one_kind_and_may_take_more_samples():
    recipes = {"init_demo": {"times": 4, "training": {"batch_size": 128}}}
    before, after = steps_of(), steps_of({"reward.recipes": recipes})
    assert {role for role in before if before[role].key != after[role].key} == OF_INIT_DEMO | ENDS
    step = after["reward_init_demo"]
    assert step.settings["data"].times == 4 and step.settings["training"].batch_size == 128
    assert step.inputs["pi_init"].settings["draws"] == 4
    assert step.settings["training"].steps == before["reward_init_demo"].settings["training"].steps


def test_replicates_have_their_own_samples_and_share_what_costs_labels():
    steps = steps_of({"reward.replicates": 3})
    for kind in ("init_sft", "init_demo", "preferences"):
        models = [steps[f"reward_{kind}{suffix}"] for suffix in ("", "#1", "#2")]
        assert len({step.key for step in models}) == 3
        free = [
            step.inputs[side].key for step in models for side in ("pi_init", "pi_sft") if side in step.inputs
        ]
        assert len(set(free)) == len(free)
    assert len({steps[f"reward_preferences{suffix}"].inputs["preferences"].key for suffix in ("", "#1")}) == 1
    more = steps_of({"reward.replicates": 4})
    assert not {role for role in steps if steps[role].key != more[role].key} - ENDS
    ensembles = steps["outcomes"].settings["ensembles"]
    assert ensembles["init_sft_ensemble"] == ("init_sft", "init_sft#1", "init_sft#2")
    assert not steps_of()["outcomes"].settings["ensembles"]


@pytest.mark.parametrize(
    "recipes, says",
    [
        ({"init_sftt": {}}, "did you mean 'init_sft'"),
        ({"init_sft": {"training": {"batchsize": 8}}}, "did you mean 'batch_size'"),
        ({"preferences": {"times": 4}}, "only samples are free"),
        ({"init_sft": {"training": {"checkpoint_every": 7}}}, "multiple of evaluate_every"),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused(recipes, says):
    with pytest.raises(SpecError, match=says):
        load_spec("harmless", "smoke", {"reward.recipes": recipes})
