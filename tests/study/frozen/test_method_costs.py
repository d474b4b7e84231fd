"""What methods cost: each step once, without pretraining or evaluation, labels, answers, break-even."""

import numpy as np
import pytest

from afd_study.errors import StoreError
from afd_study.figures.style import METHODS
from afd_study.methods.arms import ARMS
from afd_study.models.decoding import Drawn, Request
from afd_study.study.frozen.method_costs import AMOUNTS, break_even, cost, methods, spendings
from afd_study.study.pipeline.plan import plan
from afd_study.study.spec import load_spec
from afd_study.study.steps import step
from afd_study.study.steps.drawing import count_draws
from afd_study.study.workflow.context import Context
from afd_study.study.workflow.step import closure
from afd_study.study.workflow.store import Store

DRAWN = {"responses": 8.0, "prompts": 4.0, "prompt_tokens": 40.0, "tokens": 200.0, "flops": 400.0}


PLAN = {
    "pi_sft": ("pi_sft", {"pi_init": "pi_init"}),
    "training_pi_init": ("samples", {"policy": "pi_init"}),
    "training_pi_sft": ("samples", {"policy": "pi_sft"}),
    "reward_init_sft": (
        "reward_model",
        {"policy": "pi_sft", "pi_init": "training_pi_init", "pi_sft": "training_pi_sft"},
    ),
    "pool": ("samples", {"policy": "pi_sft"}),
    "scores_init_sft": ("scores", {"reward_model": "reward_init_sft", "pi_sft": "pool"}),
    "preferences": ("judged_preferences", {"pi_init": "training_pi_init"}),
    "dpo_preferences": ("direct_policy", {"policy": "pi_init", "preferences": "preferences"}),
    "dpo_preferences pool": ("samples", {"policy": "dpo_preferences"}),
    "spin_1": ("direct_policy", {"policy": "pi_init", "source_demonstrations": "shown"}),
    "spin_1 pool": ("samples", {"policy": "spin_1"}),
    "extrapolation_2 pool": ("extrapolation", {"policy": "pi_sft", "origin": "pi_init"}),
}
"""A plan small enough to be added up by hand: what a step is, and what it reads."""
COUNTING = ("pi_sft", "training_pi_init", "training_pi_sft", "reward_init_sft", "dpo_preferences", "spin_1")
"""Steps that read the table of demonstrations: pi_sft to learn from it, the others to count."""


def by_hand():
    demonstrations, texts = step("demonstrations", {}), step("pretraining", {})
    steps = {
        "demonstrations": demonstrations,
        "shown": step("marked_demonstrations", {}, {"demonstrations": demonstrations}),
        "texts": texts,
        "pi_init": step("pi_init", {}, {"texts": texts}),
    }
    for name, (kind, inputs) in PLAN.items():
        read = {argument: steps[source] for argument, source in inputs.items()}
        if name in COUNTING:
            read["demonstrations"] = demonstrations
        steps[name] = step(kind, {"called": name}, read)
    return steps


SPENT = {
    "demonstrations": {"demonstrations": 30.0},
    "shown": {},
    "texts": {"seconds": 1000.0},
    "pi_init": {"tokens": 1e6, "flops": 1e6, "seconds": 1e6},
    "pi_sft": {"tokens": 1.0, "flops": 10.0, "seconds": 0.5},
    "training_pi_init": {"tokens": 2.0, "flops": 20.0, "seconds": 1.0},
    "training_pi_sft": {"tokens": 4.0, "flops": 40.0, "seconds": 2.0},
    "reward_init_sft": {"tokens": 8.0, "flops": 80.0, "seconds": 4.0},
    "pool": {**DRAWN, "seconds": 16.0},
    "scores_init_sft": {"responses": 10.0, "tokens": 300.0, "flops": 600.0, "seconds": 5.0},
    "preferences": {"labels": 12.0, "seconds": 0.25},
    "dpo_preferences": {"tokens": 16.0, "flops": 160.0, "seconds": 8.0},
    "dpo_preferences pool": {**DRAWN, "seconds": 16.0},
    "spin_1": {"tokens": 32.0, "flops": 320.0, "seconds": 16.0},
    "spin_1 pool": {**DRAWN, "seconds": 16.0},
    "extrapolation_2 pool": {
        **DRAWN,
        "tokens": 400.0,
        "prompt_tokens": 80.0,
        "flops": 800.0,
        "seconds": 32.0,
    },
}


def costs_of(steps, spent, kinds):
    common, texts = (steps[name].closure().keys() for name in ("pi_init", "shown"))
    every = methods(steps, kinds=kinds, n=16)
    return {name: cost(each, common=common, texts=texts, spent=spent) for name, each in every.items()}


@pytest.fixture
def costs():
    steps = by_hand()
    assert set(SPENT) == set(steps)
    spent = {steps[name].key: {"seconds": 0.0, **each} for name, each in SPENT.items()}
    return costs_of(steps, spent, ["init_sft"])


# making


def test_making_counts_each_step_once_and_neither_pretraining_nor_evaluation(costs):
    # two of the reward model's inputs lead to pi_SFT, and all of them to pi_init
    assert costs["init_sft"]["making_tokens"] == 1 + 2 + 4 + 8
    assert costs["init_sft"]["making_flops"] == 150 and costs["init_sft"]["making_seconds"] == 7.5
    assert costs["pi_sft"]["making_tokens"] == 1
    assert costs["extrapolation_2"]["making_flops"] == 10, (
        "it has no weights of its own: pi_SFT is all it needs"
    )
    assert costs["dpo_preferences"]["making_tokens"] == 2 + 16, "from pi_init on: SFT is no part of it"
    assert costs["dpo_preferences"]["making_seconds"] == 1 + 0.25 + 8
    assert set(costs) == {"pi_sft", "init_sft", "dpo_preferences", "spin_1", "extrapolation_2"}


def test_labels_are_those_that_something_was_trained_on(costs):
    shown = {name: each["demonstrations"] for name, each in costs.items()}
    assert shown == {"pi_sft": 30, "init_sft": 30, "spin_1": 30, "extrapolation_2": 30, "dpo_preferences": 0}
    labels = {name for name, each in costs.items() if each["preference_labels"]}
    assert labels == {"dpo_preferences"} and costs["dpo_preferences"]["preference_labels"] == 12


# answering


def test_an_answer_reads_its_prompt_once_and_writes_every_draw(costs):
    # 10 tokens of a prompt, 20 of a response, at 2 FLOPs each
    assert costs["pi_sft"]["tokens_per_answer"] == 10 + 20 and costs["pi_sft"]["flops_per_answer"] == 60
    assert costs["pi_sft"]["seconds_per_answer"] == 2
    best = costs["init_sft"]  # and 16 scores of 30 tokens, which read the prompt each time
    assert best["tokens_per_answer"] == 10 + 16 * 20 + 16 * 30
    assert best["flops_per_answer"] == 2 * (10 + 16 * 20) + 16 * 60
    assert best["seconds_per_answer"] == 16 * 2 + 16 * 0.5
    both = costs["extrapolation_2"]
    assert both["flops_per_answer"] == 2 * costs["pi_sft"]["flops_per_answer"]


def test_the_whole_is_making_and_one_answer_to_each_test_prompt(costs):
    for each in costs.values():
        assert each["test_prompts"] == 4
        for name in AMOUNTS:
            assert each[name] == pytest.approx(each[f"making_{name}"] + 4 * each[f"{name}_per_answer"])


@pytest.mark.parametrize("models", [1, 2])
def test_a_draw_counts_its_prompt_once_for_all_draws_and_each_model_apart(tmp_path, models):
    requests = [Request("a", (1, 2, 3), 0), Request("a", (1, 2, 3), 1), Request("b", (1, 2, 3), 0)]
    drawn = [Drawn((4, 5), 0.0), Drawn((4,), 0.0), Drawn((4, 5, 6, 7), 0.0)]
    context = Context(tmp_path)
    count_draws(context, requests, drawn, parameters=10, models=models)
    tokens = models * (3 + 3 + 7)
    amounts = {"tokens": tokens, "flops": 2 * 10 * tokens}
    counts = {"responses": 3, "prompts": 2, "prompt_tokens": 6 * models}
    assert context.cost == amounts | counts


def test_break_even_is_where_both_have_cost_the_same():
    pair = {"making": 100.0, "answer": 1.0, "than_making": 40.0, "than_answer": 4.0}
    n = break_even(**pair)
    assert 100 + n * 1 == 40 + n * 4
    other = {"making": 40.0, "answer": 4.0, "than_making": 100.0, "than_answer": 1.0}
    assert break_even(**other) == n, "whoever is asked"
    assert np.isnan(break_even(**{**pair, "making": 30.0})), "cheaper to make and to ask"
    assert np.isnan(break_even(**{**pair, "answer": 4.0})), "equal to ask: what making cost stays"


# the real plan


KINDS = ["init_sft", "init_demo", "preferences"]


@pytest.fixture(scope="module")
def real():
    overrides = {"arms.names": list(ARMS), "reward.kinds": KINDS, "sampling.draws": 68}
    return plan(load_spec("harmless", "smoke", overrides), task="harmless", seed=0).steps


def test_every_method_of_a_plan_has_a_cost_and_a_look(real):
    assert set(methods(real, kinds=KINDS, n=16)) == {"pi_sft", *KINDS, *ARMS} <= set(METHODS)


def test_the_real_plan_charges_what_was_drawn_to_be_learned_from(real):
    labels = {"demonstrations": {"demonstrations": 1.0}, "judged_preferences": {"labels": 1.0}}
    one = {"tokens": 1.0, "seconds": 0.0, **DRAWN, "flops": 1.0}  # every step spends one FLOP
    spent = {key: one | labels.get(each.name, {}) for key, each in closure(real.values()).items()}
    costs = costs_of(real, spent, KINDS)
    count = {name: own["making_flops"] for name, own in costs.items()}
    assert count["pi_sft"] == 1 and count["init_sft"] == 1 + 2 + 1  # SFT, samples of both sides, the model
    assert count["init_demo"] == 1 + 1 + 1 and count["preferences"] == 1 + 1 + 1 + 1
    assert count["spin_1"] == 1 + 1 + 1 and count["spin"] == 1 + 2 + 2
    # Init-SFT; draws, scores, picks and SFT
    assert count["distilled_1"] == 4 + 4 and count["distilled_2"] == 4 + 4 + 4
    assert count["rl_init_sft_0.05"] == 4 + 1 and count["extrapolation_3"] == 1
    without = {name for name, own in costs.items() if not own["demonstrations"]}
    assert without == {"dpo_preferences", "sft_preferred"}
    assert {name for name, own in costs.items() if own["preference_labels"]} == {*without, "preferences"}


def test_best_of_n_pays_for_the_policy_it_draws_from_whatever_its_reward_model_starts_at():
    overrides = {"reward.kinds": ["init_demo"], "reward.backbone": "scratch"}
    steps = plan(load_spec("harmless", "smoke", overrides), task="harmless", seed=0).steps
    assert steps["pi_sft"].key not in steps["reward_init_demo"].closure()
    assert steps["pi_sft"] in methods(steps, kinds=["init_demo"], n=16)["init_demo"].makes


def test_a_step_that_the_store_lacks_is_named(real, tmp_path):
    with pytest.raises(StoreError, match="lacks pi_sft/.*compute it"):
        spendings({real["pi_sft"].key: real["pi_sft"]}, Store(tmp_path))
