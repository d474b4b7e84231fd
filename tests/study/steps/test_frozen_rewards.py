"""Reward models on frozen states: a study of them is whole, and a score is the head's on a text's states."""

import numpy as np
import pytest
from safetensors.numpy import load_file

from afd_study.errors import SpecError
from afd_study.methods.frozen_heads import head_of, head_rewards
from afd_study.study import open_study
from afd_study.study.spec import load_spec
from afd_study.study.steps.frozen_rewards import HEAD, STATES
from afd_study.study.workflow.step import closure
from afd_study.study.workflow.store import Store

OVERRIDES = {
    "reward.body": "frozen",
    "reward.kinds": ["init_sft", "init_demo", "preferences"],
    "reward.replicates": 2,
    "world.heterogeneity": 1.0,
}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("frozen"))
    return open_study("harmless", "smoke", 0, 1, overrides=OVERRIDES, store=store, quiet=True)


@pytest.fixture(scope="module")
def plan(study):
    study.table("outcomes")
    return study.plans()[0]


def test_every_rule_has_its_picks(study):
    methods = set(study.table("outcomes")["method"])
    assert {"init_sft", "init_sft#1", "init_sft_ensemble", "init_demo", "preferences"} <= methods
    assert set(study.table("edit_effects")["method"]) >= {"init_sft", "preferences"}


def test_a_score_is_the_heads_on_the_texts_states(study, plan):
    step = plan.step("scores_init_demo")
    assert step.name == "frozen_scores"
    folders = {name: study.store.folder(each) for name, each in step.inputs.items()}
    states = load_file(folders["states_pi_sft"] / STATES)["pi_sft"]
    head = head_of(load_file(folders["reward_model"] / HEAD))
    scores = study.table("scores").query("scorer == 'init_demo' and source == 'pi_sft'")
    np.testing.assert_allclose(scores["reward"], head_rewards(head, states), rtol=1e-6)


def test_texts_are_read_once_for_all_heads(study, plan):
    read = [step for step in closure(plan.steps.values()).values() if step.name == "text_states"]
    keys = [step.inputs["texts"].key for step in read]
    assert len(keys) == len(set(keys)) < 14
    trained = {step.name for step in closure(plan.steps.values()).values()}
    assert "frozen_reward" in trained and not trained & {"reward_model", "scores", "edit_scores"}


def test_marks_are_seen_though_the_policy_has_no_words_for_them(study, plan):
    """A frozen body reads marks by rows of their own, which start at the mean of all others."""
    plain = open_study("harmless", "smoke", 0, 1, store=study.store, quiet=True,
                       overrides=OVERRIDES | {"world.heterogeneity": 0.0})  # fmt: skip
    plain.table("outcomes")
    steps = [each.step("shown_init_sft").inputs["states_demonstrations"] for each in (plan, plain.plans()[0])]
    marked, bare = (load_file(study.store.folder(step) / STATES)["demonstrations"] for step in steps)
    assert marked.shape == bare.shape
    differ = np.abs(marked - bare).max(axis=1) > 1e-4
    assert differ.mean() > 0.9, "a mark may stand behind the horizon"


def test_what_a_frozen_body_cannot_be_is_refused():
    with pytest.raises(SpecError, match="name a policy as backbone"):
        load_spec("harmless", "smoke", {"reward.body": "frozen", "reward.backbone": "scratch"})
    with pytest.raises(SpecError, match=r"reward\.body=trained"):
        load_spec("harmless", "smoke", {"reward.body": "frozen", "arms.names": ["rl_init_sft_0.05"]})
