"""A model that demonstrates: whose samples policies learn from, what it leaves alone, and what is refused."""

import pytest

from afd_study.errors import SpecError
from afd_study.study.pipeline.plan import plan
from afd_study.study.spec import load_spec
from afd_study.study.workflow.executor import check_signature
from afd_study.study.workflow.step import closure

TRAINED = {"demonstrator.training": {"steps": 10}}
NEW = {"demonstrator", "model_demonstrations", "law_logprobs", "model_densities", "model_coverage"}


@pytest.fixture
def steps_of(given):
    def laid_out(overrides, task="hh_rlhf"):
        return plan(load_spec(task, "smoke", {**given[task], **overrides}), task=task, seed=0).steps

    return laid_out


def names(steps):
    return {step.name for step in closure(steps.values()).values()}


@pytest.mark.parametrize("task", ["hh_rlhf", "own_data"])
@pytest.mark.parametrize("body", ["trained", "frozen"])
def test_every_step_fits_its_function(steps_of, task, body):
    steps = steps_of({**TRAINED, "reward.body": body}, task)
    assert names(steps) > NEW
    for step in closure(steps.values()).values():
        check_signature(step)


def test_a_study_without_one_has_none_of_its_steps(steps_of):
    assert not names(steps_of({})) & NEW
    assert {role: each.key for role, each in steps_of({}).items()} == {
        role: each.key for role, each in steps_of({"demonstrator": None}).items()
    }


def test_its_samples_are_learned_from_and_judged_and_it_learns_from_the_datas_own(steps_of):
    before, after = steps_of({}), steps_of(TRAINED)
    shown = after["pi_sft"].inputs["demonstrations"]
    assert shown.name == "model_demonstrations" and shown is after["shown"]
    assert after["reward_init_demo"].inputs["source_demonstrations"] is shown
    assert after["judge_scores"].inputs["demonstrations"] is after["held_out"]
    drawn = shown.inputs["samples"]
    assert drawn.inputs["policy"] is after["demonstrator"]
    own = before["pi_sft"].inputs["demonstrations"].key
    assert {drawn.inputs["demonstrations"].key, after["demonstrator"].inputs["demonstrations"].key} == {own}
    same = {role for role in before if before[role].key == after[role].key}
    assert {"prompts", "corpus", "pi_init", "preferences", "judge", "pool_init"} <= same
    assert {"pi_sft", "pool", "held_out", "reward_init_sft", "outcomes", "when"}.isdisjoint(same)


def test_held_out_demonstrations_are_as_many_as_are_asked_for(steps_of):
    steps = steps_of({**TRAINED, "sampling.demonstrations": 16, "demonstrator.temperature": 0.5})
    drawn = {purpose: steps[f"demonstrator_{purpose}"].settings for purpose in ("training", "test")}
    assert drawn["test"]["draws"] == 16 and drawn["training"]["draws"] == 1
    assert {each["sampling"].temperature for each in drawn.values()} == {0.5}
    laws = {name: steps[f"logprobs_{name}"].settings for name in ("demonstrator", "pi_init", "pi_sft")}
    assert {name: each["temperature"] for name, each in laws.items()} == {
        **{"demonstrator": 0.5, "pi_init": 1.0, "pi_sft": 1.0}
    }


def changed(before, after):
    return {role for role in before if before[role].key != after[role].key}


@pytest.mark.parametrize(
    "setting, value, is_remade",
    [
        ("demonstrator.training", {"steps": 20}, True),
        ("demonstrator.lora", {"r": 2}, True),
        ("demonstrator.strength", 2.0, True),
        ("demonstrator.model", {"name_or_path": "gpt2"}, True),
        ("demonstrator.temperature", 0.5, False),
    ],
)
def test_its_settings_reach_it_and_all_that_reads_its_texts(steps_of, setting, value, is_remade):
    moved = changed(steps_of(TRAINED), steps_of({**TRAINED, setting: value}))
    assert ("demonstrator" in moved) == is_remade
    assert {"shown", "held_out", "pi_sft", "logprobs_demonstrator", "model_coverage"} <= moved
    assert not {"pi_init", "tokenizers", "preferences", "judge"} & moved


def test_exact_logits_are_among_the_rules_and_no_coverage_is_measured_at_another_temperature(steps_of):
    steps = steps_of(TRAINED)
    assert {"exact_logit", "exact_logit_sft"} <= set(steps["outcomes"].settings["scorers"])
    assert steps["outcomes"].inputs["model_densities"] is steps["model_densities"]
    assert steps["probes"].inputs["densities"] is steps["model_densities"]
    assert steps_of(TRAINED, "own_data")["scored"].inputs["model_densities"].name == "model_densities"
    hot = steps_of({**TRAINED, "sampling.temperature": 0.9})
    assert "model_densities" in hot and "model_coverage" not in hot


REFUSED = {
    "a controlled world": ("harmless", TRAINED, "demonstrators of its own"),
    "a temperature of nought": (
        "own_data",
        {"demonstrator.temperature": 0},
        r"'demonstrator.temperature' = 0: Input should be greater",
    ),
    "stop strings": ("own_data", {**TRAINED, "sampling.stop": ["x"]}, "no law is known"),
    "a model without weights": ("own_data", {"demonstrator.model": {"config": {}}}, "name_or_path or gguf"),
    "adapters in two places": (
        "own_data",
        {**TRAINED, "demonstrator.model": {"name_or_path": "gpt2", "lora": {}}},
        "demonstrator.lora",
    ),
    "another layout": (
        "own_data",
        {"demonstrator.model": {"name_or_path": "gpt2", "chat": False}},
        "set policy.chat",
    ),
    "strength of nothing": ("own_data", {"demonstrator.strength": 2}, "set demonstrator.training"),
    "a mistyped name": (
        "own_data",
        {"demonstrator.strenght": 2},
        "did you mean 'demonstrator.strength'",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_makes_no_sense_is_one_clear_error(case, given):
    task, overrides, message = REFUSED[case]
    with pytest.raises(SpecError, match=message):
        load_spec(task, "smoke", {**given[task], **overrides})
