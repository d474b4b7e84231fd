"""Half-way SFT is laid out where it is asked for, and changes nothing else."""

import pytest

from afd_study.errors import SpecError
from afd_study.study.pipeline.plan import plan
from afd_study.study.spec import load_spec


def steps_of(overrides=None, task="harmless"):
    return plan(load_spec(task, "smoke", overrides), task=task, seed=0).steps


def test_half_way_sft_adds_two_steps_and_a_rule():
    before, after = steps_of(), steps_of({"late_reference": True})
    assert set(after) - set(before) == {"pi_half", "half_logprobs"}
    assert {role for role in before if before[role].key != after[role].key} == {"outcomes", "probes"}
    assert after["outcomes"].inputs["half_logprobs"].inputs["policy"] is after["pi_half"]
    half, whole = after["pi_half"], after["pi_sft"]
    assert half.inputs["pi_sft"] is whole and half.settings["training"] == whole.settings["training"]
    assert half.inputs["demonstrations"] is whole.inputs["demonstrations"]


def test_without_a_judge_it_is_among_all_scores(given):
    steps = steps_of({**given["own_data"], "late_reference": True}, task="own_data")
    assert steps["scored"].inputs["half_logprobs"] is steps["half_logprobs"]


def test_half_of_an_sft_that_ends_elsewhere_is_refused():
    with pytest.raises(SpecError, match="late_reference is half-way of an SFT"):
        load_spec("harmless", "smoke", {"late_reference": True, "matched_style": 0.9})
