"""Costs: each step once, pretraining and evaluation left out, labels of both kinds, answers, break-even."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from afd_study.errors import SpecError, StoreError
from afd_study.figures.style import METHODS
from afd_study.methods.arms import ARMS
from afd_study.methods.specs import AdversarialSpec, PolicyGradientSpec
from afd_study.models.decoding import Drawn, Request
from afd_study.study import freeze as freezing
from afd_study.study.chapters import costs
from afd_study.study.frozen.files import freeze, read_manifest
from afd_study.study.frozen.method_costs import AMOUNTS, break_even, cost, cost_table, methods, spendings
from afd_study.study.frozen.seed_means import wide
from afd_study.study.pipeline.plan import plan
from afd_study.study.spec import load_spec
from afd_study.study.steps.adversarial import _spend
from afd_study.study.steps.bookkeeping import count_draws
from afd_study.study.workflow.context import Context
from afd_study.study.workflow.step import Step, closure
from afd_study.study.workflow.store import Store

DRAWN = {"responses": 8.0, "prompts": 4.0, "prompt_tokens": 40.0, "tokens": 200.0, "flops": 400.0}


def by_hand():
    """A plan small enough to be added up by hand: two policies, a reward model and two direct arms."""
    steps = {"demonstrations": Step("demonstrations", "afd_study.study.steps.texts:world_table")}
    shown = steps["shown"] = Step(
        "marked", "afd_study.study.steps.texts:marked", {}, {"demonstrations": steps["demonstrations"]}
    )
    counted = {"demonstrations": steps["demonstrations"]}
    steps["texts"] = Step("pretraining", "afd_study.study.steps.texts:world_table", {"table": "pretraining"})

    def add(name, kind, function, **inputs):
        steps[name] = Step(kind, function, {"called": name}, inputs)
        return steps[name]

    first = add("pi_init", "pi_init", "afd_study.study.steps.policies:pi_init", texts=steps["texts"])
    sft = add("pi_sft", "pi_sft", "afd_study.study.steps.policies:pi_sft", pi_init=first, **counted)
    free = add(
        "training_pi_init", "samples", "afd_study.study.steps.policies:samples", policy=first, **counted
    )
    tuned = add("training_pi_sft", "samples", "afd_study.study.steps.policies:samples", policy=sft, **counted)
    sides = {"pi_init": free, "pi_sft": tuned}
    reward = add(
        "reward_init_sft",
        "reward_model",
        "afd_study.study.steps.reward_models:reward_model",
        policy=sft,
        **counted,
        **sides,
    )
    pool = add("pool", "samples", "afd_study.study.steps.policies:samples", policy=sft)
    add(
        "scores_init_sft",
        "scores",
        "afd_study.study.steps.reward_models:scores",
        reward_model=reward,
        pi_sft=pool,
    )
    asked = add(
        "preferences", "preferences", "afd_study.study.steps.preferences:judged_preferences", pi_init=free
    )
    for name, data in (
        ("dpo_preferences", {"preferences": asked}),
        ("spin_1", {"source_demonstrations": shown}),
    ):
        arm = add(
            name, "direct_policy", "afd_study.study.steps.arms:direct_policy", policy=first, **counted, **data
        )
        add(f"{name} pool", "samples", "afd_study.study.steps.policies:samples", policy=arm)
    add(
        "extrapolation_2 pool",
        "extrapolated",
        "afd_study.study.steps.arms:extrapolated",
        policy=sft,
        origin=first,
    )
    return steps


SPENT = {
    "demonstrations": {"demonstrations": 30.0}, "shown": {}, "texts": {"seconds": 1000.0},
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
        **DRAWN, "tokens": 400.0, "prompt_tokens": 80.0, "flops": 800.0, "seconds": 32.0,
    },
}  # fmt: skip


def told(steps, spent, n=16):
    common, texts = (steps[name].closure().keys() for name in ("pi_init", "shown"))
    found = methods(steps, kinds=["init_sft"], n=n)
    return {name: cost(each, common=common, texts=texts, spent=spent) for name, each in found.items()}


@pytest.fixture
def found():
    steps = by_hand()
    assert set(SPENT) == set(steps)
    return told(steps, {steps[name].key: {"seconds": 0.0, **spent} for name, spent in SPENT.items()})


# making


def test_making_counts_each_step_once_and_neither_pretraining_nor_evaluation(found):
    # two of the reward model's inputs lead to pi_SFT, and all of them to pi_init
    assert found["init_sft"]["making_tokens"] == 1 + 2 + 4 + 8
    assert found["init_sft"]["making_flops"] == 150 and found["init_sft"]["making_seconds"] == 7.5
    assert found["pi_sft"]["making_tokens"] == 1
    assert found["extrapolation_2"]["making_flops"] == 10, (
        "it has no weights of its own: pi_SFT is all it needs"
    )
    assert found["dpo_preferences"]["making_tokens"] == 2 + 16, "from pi_init on: SFT is no part of it"
    assert found["dpo_preferences"]["making_seconds"] == 1 + 0.25 + 8
    assert set(found) == {"pi_sft", "init_sft", "dpo_preferences", "spin_1", "extrapolation_2"}


def test_labels_are_those_that_something_was_trained_on(found):
    shown = {name: each["demonstrations"] for name, each in found.items()}
    assert shown == {"pi_sft": 30, "init_sft": 30, "spin_1": 30, "extrapolation_2": 30, "dpo_preferences": 0}
    labels = {name for name, each in found.items() if each["preference_labels"]}
    assert labels == {"dpo_preferences"} and found["dpo_preferences"]["preference_labels"] == 12


# answering


def test_an_answer_reads_its_prompt_once_and_writes_every_draw(found):
    # 10 tokens of a prompt, 20 of a response, at 2 FLOPs each
    assert found["pi_sft"]["tokens_per_answer"] == 10 + 20 and found["pi_sft"]["flops_per_answer"] == 60
    assert found["pi_sft"]["seconds_per_answer"] == 2
    best = found["init_sft"]  # and 16 scores of 30 tokens, which read the prompt each time
    assert best["tokens_per_answer"] == 10 + 16 * 20 + 16 * 30
    assert best["flops_per_answer"] == 2 * (10 + 16 * 20) + 16 * 60
    assert best["seconds_per_answer"] == 16 * 2 + 16 * 0.5
    both = found["extrapolation_2"]
    assert both["flops_per_answer"] == 2 * found["pi_sft"]["flops_per_answer"]


def test_the_whole_is_making_and_one_answer_to_each_test_prompt(found):
    for each in found.values():
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
    assert context.cost == {
        "tokens": tokens, "flops": 2 * 10 * tokens, "responses": 3, "prompts": 2, "prompt_tokens": 6 * models,
    }  # fmt: skip


def test_break_even_is_where_both_have_cost_the_same():
    pair = {"making": 100.0, "answer": 1.0, "than_making": 40.0, "than_answer": 4.0}
    n = break_even(**pair)
    assert 100 + n * 1 == 40 + n * 4
    other = {"making": 40.0, "answer": 4.0, "than_making": 100.0, "than_answer": 1.0}
    assert break_even(**other) == n, "whoever is asked"
    assert np.isnan(break_even(**{**pair, "making": 30.0})), "cheaper to make and to ask"
    assert np.isnan(break_even(**{**pair, "answer": 4.0})), "equal to ask: what making cost stays"


# the real plan


@pytest.fixture(scope="module")
def real():
    overrides = {
        "arms.names": list(ARMS),
        "reward.kinds": ["init_sft", "init_demo", "preferences"],
        "sampling.draws": 68,
    }
    return plan(load_spec("harmless", "smoke", overrides), task="harmless", seed=0).steps


def test_every_method_of_a_plan_has_a_cost_and_a_look(real):
    found = methods(real, kinds=["init_sft", "init_demo", "preferences"], n=16)
    assert set(found) == {"pi_sft", "init_sft", "init_demo", "preferences", *ARMS} <= set(METHODS)


def test_the_real_plan_charges_what_was_drawn_to_be_learned_from(real):
    every = closure(real.values())
    spent = {key: {"tokens": 1.0, "seconds": 0.0, **DRAWN, "flops": 1.0} for key in every}
    for key, step in every.items():
        spent[key] |= {"demonstrations": {"demonstrations": 1.0}, "preferences": {"labels": 1.0}}.get(
            step.name, {}
        )
    common, texts = (real[name].closure().keys() for name in ("pi_init", "shown"))
    found = methods(real, kinds=["init_sft", "init_demo", "preferences"], n=16)
    count = {
        name: cost(each, common=common, texts=texts, spent=spent)["making_flops"]
        for name, each in found.items()
    }  # every step spends one FLOP
    assert count["pi_sft"] == 1 and count["init_sft"] == 1 + 2 + 1  # SFT, samples of both sides, the model
    assert count["init_demo"] == 1 + 1 + 1 and count["preferences"] == 1 + 1 + 1 + 1
    assert count["spin_1"] == 1 + 1 + 1 and count["spin"] == 1 + 2 + 2
    # Init-SFT; draws, scores, picks and SFT
    assert count["distilled_1"] == 4 + 4 and count["distilled_2"] == 4 + 4 + 4
    assert count["rl_init_sft_0.05"] == 4 + 1 and count["extrapolation_3"] == 1
    tokens = {name: cost(each, common=common, texts=texts, spent=spent) for name, each in found.items()}
    without = {name for name, each in tokens.items() if not each["demonstrations"]}
    assert without == {"dpo_preferences", "sft_preferred"}
    assert {name for name, each in tokens.items() if each["preference_labels"]} == {*without, "preferences"}


def test_best_of_n_pays_for_the_policy_it_draws_from_whatever_its_reward_model_starts_at():
    overrides = {"reward.kinds": ["init_demo"], "reward.backbone": "scratch"}
    steps = plan(load_spec("harmless", "smoke", overrides), task="harmless", seed=0).steps
    assert steps["pi_sft"].key not in steps["reward_init_demo"].closure()
    assert steps["pi_sft"] in methods(steps, kinds=["init_demo"], n=16)["init_demo"].made


def test_a_step_that_the_store_lacks_is_named(real, tmp_path):
    with pytest.raises(StoreError, match="lacks pi_sft/.*compute it"):
        spendings({real["pi_sft"].key: real["pi_sft"]}, Store(tmp_path))


@pytest.mark.parametrize(("method", "epochs", "read", "passes"), [("rloo", 1, 4, 6), ("ppo_clip", 2, 8, 12)])
def test_policy_gradient_has_read_its_responses_at_every_pass(tmp_path, method, epochs, read, passes):
    # draws, rewards, then policy and reference at every epoch; PPO remembers both once more
    ascent = PolicyGradientSpec(algorithm=method, epochs=epochs)
    step = Step("optimised", "afd_study.study.steps.arms:optimised", {"ascent": ascent})
    context = Context(tmp_path)
    context.spend(tokens=100, parameters=10, passes=3 * epochs + 3)  # as the step notes it
    found = spendings({"a": step}, noted(context))["a"]
    assert found["tokens"] == 100 * read and found["flops"] == pytest.approx(2 * 10 * 100 * passes)


@pytest.mark.parametrize("exact", [True, False])
def test_imitation_has_read_its_responses_to_draw_to_score_and_to_learn(tmp_path, exact):
    spec = AdversarialSpec(
        policy={"steps": 3, "batch_size": 2, "draws": 4, "kl_coefficient": 0.0},
        batch_size=8, updates=2, warmup_updates=5, replay=16,
    )  # fmt: skip
    step = Step(
        "imitated",
        "afd_study.study.steps.adversarial:imitated",
        {"spec": spec, "world": {} if exact else None},
    )
    context = Context(tmp_path)
    _spend(context, spec, length=10.0, parameters=7, learned=not exact)
    found = spendings({"a": step}, noted(context))["a"]
    pairs = 0 if exact else 2 * (5 + 2 * 3) * 8
    responses = 3 * 24 + (0 if exact else 16) + pairs
    assert found["tokens"] == pytest.approx(10 * responses)
    passes = 24 * (1 + 3 + 1) + (0 if exact else 16) + 3 * pairs
    assert found["flops"] == pytest.approx(2 * 7 * 10 * passes)


def noted(context):
    return SimpleNamespace(root="store", manifest=lambda step: {"seconds": 1.0, "cost": context.cost})


# the chapter


@pytest.fixture
def frozen(found, tmp_path, monkeypatch):
    """What is frozen of the plan above, at two tasks and two seeds: seconds differ between seeds."""
    monkeypatch.setenv("AFD_RESULTS", str(tmp_path))
    rows = [
        (task, "h = 1", seed, "cost", metric, name, 0, value * (1 + seed * (metric == "making_seconds")))
        for task in ("harmless", "helpful")
        for seed in (0, 1)
        for name, each in found.items()
        for metric, value in each.items()
    ] + [
        (task, "h = 1", seed, "outcomes", "judge", name, n, place + seed / 10 + n)
        for task in ("harmless", "helpful")
        for seed in (0, 1)
        for n in (1, 16)
        for place, name in enumerate(found)
        if n == 1 or name == "init_sft"
    ]
    values = pd.DataFrame(
        rows, columns=["task", "setting", "seed", "table", "metric", "method", "n", "value"]
    )
    freeze("arms", {"values": wide(values), "costs": cost_table(values)}, seeds=[0, 1])
    return values


def test_costs_are_means_over_seeds_with_intervals(frozen):
    table = costs.costs().set_index(["task", "method", "metric"])
    seconds = table.loc[("helpful", "init_sft", "making_seconds")]
    assert seconds["mean"] == pytest.approx(7.5 * 1.5) and seconds["low"] < 7.5 < 15 < seconds["high"]
    made = costs.making().set_index(["task", "method"])
    assert made.loc[("harmless", "init_sft"), "GFLOP"] == pytest.approx(150e-9)
    assert made.loc[("harmless", "dpo_preferences"), "preference labels"] == 12
    assert list(costs.means()["method"][:2]) == ["pi_sft", "init_sft"]
    assert costs.answering().loc[0, "ms an answer"] == pytest.approx(2000)


def test_the_judge_is_asked_at_the_ledgers_n_for_picks_and_at_one_for_policies(frozen):
    judged = costs.judged().set_index(["task", "method"])["mean"]
    assert judged[("harmless", "init_sft")] == pytest.approx(1 + 0.05 + 16)
    assert judged[("harmless", "pi_sft")] == pytest.approx(0 + 0.05 + 1)
    table = costs.against("flops", "demonstrations")
    assert len(table) == 2 * 2 * 5 and set(table["metric"]) == {"flops", "demonstrations"}
    with pytest.raises(SpecError, match="did you mean 'flops'"):
        costs.against("flop")


def test_the_frontier_is_what_no_cheaper_method_matches(frozen):
    # scores rise in the order of the plan, pi_sft to extrapolation_2, but for Init-SFT's pick at n = 16
    kept = costs.frontier("making_flops").query("task == 'helpful'")
    cost = dict(zip(kept["method"], kept["making_flops"], strict=True))
    assert cost == {"extrapolation_2": 10, "init_sft": 150}, "pi_sft costs the same as the extrapolation"
    assert costs.frontier("flops")["GFLOP"].max() < 1e-3


def test_what_is_given_the_demonstrators_law_is_no_method_with_a_cost(frozen):
    rival = frozen[frozen["method"] == "spin_1"]
    known, learned = (rival.assign(method=name) for name in ("true_reverse_kl", "adversarial_reverse_kl"))
    every = pd.concat([frozen, known, learned])
    freeze("arms", {"values": wide(every), "costs": cost_table(every)}, seeds=[0, 1])
    shown = {name for read in (costs.costs, costs.judged) for name in read()["method"]}
    assert "adversarial_reverse_kl" in shown and "true_reverse_kl" not in shown


def test_totals_and_crossings_agree(frozen):
    rows = costs.crossings("init_sft").set_index(["task", "method"])
    level = rows.loc[("harmless", "spin_1"), "prompts"]
    assert level == pytest.approx((320 - 150) / (1620 - 60))
    assert (
        rows["prompts"]
        .drop("spin_1", level="method")
        .loc["harmless"]
        .isna()[["pi_sft", "extrapolation_2"]]
        .all()
    )
    lines = costs.totals(["spin_1", "init_sft"], most=10).set_index(["task", "method"]).loc["harmless"]
    last = lines[lines["prompts"] > 9.99]["total"]
    assert last["spin_1"] == pytest.approx(320 + 600) and last["init_sft"] == pytest.approx(150 + 16200)
    for mistake in (lambda: costs.totals(["spin1"]), lambda: costs.crossings("init_sf")):
        with pytest.raises(SpecError, match="did you mean"):
            mistake()


def test_results_without_costs_say_how_to_make_them(frozen):
    freeze("arms", {"values": wide(frozen)}, seeds=[0, 1])
    with pytest.raises(StoreError, match="make results WHAT=arms"):
        costs.costs()


def test_costs_are_frozen_beside_what_the_arms_reach(frozen, monkeypatch):
    monkeypatch.setattr(freezing, "gather", lambda *_, **__: frozen)
    monkeypatch.setattr(freezing, "histories", lambda cells, name: frozen.head(1))
    monkeypatch.setattr(freezing, "step_seconds", lambda *_: 1.0)
    freezing.freeze_arms(jobs=1)
    kept = {"values.csv", "histories.csv", "trajectories.csv", "costs.csv"}
    assert set(read_manifest("arms")["files"]) == kept
    assert len(costs.costs()) == len(cost_table(frozen))
