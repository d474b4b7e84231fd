"""Reward models by recipes of their own, and in replicates: what each learns from, and what they share."""

import pytest

from afd_study.errors import SpecError
from afd_study.study.pipeline.plan import plan
from afd_study.study.spec import load_spec

ENDS = {"outcomes", "probes", "when"}
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


def test_a_kind_may_have_a_number_of_replicates_of_its_own():
    recipes = {"init_sft": {"replicates": 3}, "init_demo": {"replicates": 1}}
    overrides = {"reward.replicates": 2, "reward.recipes": recipes}
    steps, usual = steps_of(overrides), steps_of({"reward.replicates": 2})
    models = {role.removeprefix("reward_") for role in steps if role.startswith("reward_")}
    kinds = ("sft_demo", "preferences", "init_sft_x10")
    twice = {f"{kind}{suffix}" for kind in kinds for suffix in ("", "#1")}
    assert models == twice | {"init_sft", "init_sft#1", "init_sft#2", "init_demo"}
    ensembles = steps["outcomes"].settings["ensembles"]
    assert ensembles["init_sft_ensemble"] == ("init_sft", "init_sft#1", "init_sft#2")
    assert set(ensembles) == {f"{kind}_ensemble" for kind in ("init_sft", *kinds)}
    assert not {role for role in steps if role in usual and steps[role].key != usual[role].key} - ENDS


def test_a_linear_reward_has_a_key_of_its_own_and_changes_no_other():
    kinds = {"reward.kinds": ["init_sft", "init_sft_linear"]}
    usual, linear = (steps_of(kinds)[f"reward_{kind}"] for kind in ("init_sft", "init_sft_linear"))
    assert linear.settings["trained"] == "head" and linear.settings["data"] == usual.settings["data"]
    assert "trained" not in usual.settings
    assert {side: step.key for side, step in linear.inputs.items()} == {
        side: step.key for side, step in usual.inputs.items()
    }
    adapters = {**kinds, "reward.lora": {"r": 2}}
    assert [
        steps_of(adapters)[f"reward_{kind}"].settings["lora"] is None for kind in kinds["reward.kinds"]
    ] == [
        False,
        True,
    ]
    whole = steps_of({**kinds, "reward.recipes": {"init_sft_linear": {"trained": "all"}}})
    assert "trained" not in whole["reward_init_sft_linear"].settings


@pytest.mark.parametrize(
    "recipes, says",
    [
        ({"init_sftt": {}}, "did you mean 'init_sft'"),
        ({"init_sft": {"training": {"batchsize": 8}}}, "did you mean 'batch_size'"),
        ({"preferences": {"times": 4}}, "only samples are free"),
        ({"init_sft": {"replicates": 0}}, "greater than or equal to 1"),
        ({"init_sft": {"trained": "heads"}}, "'all' or 'head'"),
        ({"init_sft": {"training": {"checkpoint_every": 7}}}, "multiple of evaluate_every"),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused(recipes, says):
    with pytest.raises(SpecError, match=says):
        load_spec("harmless", "smoke", {"reward.recipes": recipes})
