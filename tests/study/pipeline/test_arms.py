"""Arms: plans that fit, what an arm builds on, what its settings reach, and a whole run of every arm."""

import numpy as np
import pandas as pd
import pytest

from afd_study.errors import SpecError
from afd_study.evaluation.claim_effects import VALUE_COLUMNS
from afd_study.evaluation.claims import load_ledger
from afd_study.evaluation.coverage import METRICS
from afd_study.figures import adversarial, arms as draw
from afd_study.figures.style import METHODS
from afd_study.methods.arms import (
    ARMS,
    DEMONSTRATORS,
    EQUAL_LENGTH_RIVAL,
    FRESH,
    PICKED_FROM,
    DirectArm,
    ExtrapolationArm,
    GradientArm,
    ImitationArm,
    control_of,
    made_by,
)
from afd_study.methods.reward_data import REWARD_DATA
from afd_study.methods.reward_pairs import RewardData
from afd_study.models.specs import TrainingSpec
from afd_study.study.chapters import arms as beyond
from afd_study.study.frozen import method_costs, seed_means
from afd_study.study.frozen.files import freeze
from afd_study.study.frozen.grids import Cell, arm_cells
from afd_study.study.pipeline.plan import plan
from afd_study.study.spec import load_spec
from afd_study.study.steps import STEPS
from afd_study.study.study import open_study
from afd_study.study.workflow.executor import check_signature
from afd_study.study.workflow.step import closure
from afd_study.study.workflow.store import Store
from afd_study.theory.rewards import REWARD_TRANSFORMS

TWICE = [(task, seed) for task in ("harmless", "helpful") for seed in (0, 1)]
EVERY = {"arms.names": list(ARMS), "reward.kinds": ["init_sft"], "sampling.draws": 68}


def steps_of(overrides=None, seed=0):
    return plan(
        load_spec("harmless", "smoke", {**EVERY, **(overrides or {})}), task="harmless", seed=seed
    ).steps


def test_every_arm_builds_on_what_there_is():
    sources = {"pi_init", "pi_sft", "demonstrations", "preferred", "rejected", *ARMS}
    imitated = {"demonstrations", "marked_demonstrations", DEMONSTRATORS}
    for name, arm in ARMS.items():
        known = imitated if isinstance(arm, ImitationArm) else sources
        assert set(arm.sources) <= known and arm.start in sources and name not in (arm.start, *arm.sources)
        assert getattr(arm, "reward", FRESH) in {FRESH, *REWARD_DATA} and arm.step in STEPS
        assert getattr(arm, "transform", "airl") in REWARD_TRANSFORMS


def test_every_arm_has_a_label_and_a_look_of_its_own():
    labels = [arm.label for arm in ARMS.values()]
    assert len(set(labels)) == len(ARMS) and all(
        METHODS[name].label == arm.label for name, arm in ARMS.items()
    )


def test_every_step_of_every_arm_fits_its_function():
    steps = closure(steps_of().values())
    for step in steps.values():
        check_signature(step)
    made = {arm.step for arm in ARMS.values()} | {
        "best_responses",
        "chosen_responses",
        "response_kls",
        "arms",
    }
    assert made <= {step.name for step in steps.values()}


def test_an_arm_brings_what_it_builds_on_and_nothing_else():
    alone = steps_of({"arms.names": ["spin"]})
    assert {"spin_1", "spin"} <= set(alone) and "distilled_1" not in alone and "dpo_preferences" not in alone
    assert {"spin_1 path", "spin path"} <= set(alone)
    assert not any(name.startswith("arms") for name in steps_of({"arms.names": []}))


def test_arms_do_not_depend_on_one_another():
    whole, alone = steps_of(), steps_of({"arms.names": ["dpo_demo_strength_0.5"]})
    for part in ("", " pool", " judged", " scores", " densities", " kls"):
        name = f"dpo_demo_strength_0.5{part}"
        assert whole[name].key == alone[name].key
    one, other = (alone["dpo_demo_strength_0.5"], whole["dpo_demo_strength_0.1"])
    assert one.key != other.key


def test_settings_of_direct_training_reach_direct_arms_alone():
    spec = load_spec("harmless", "smoke", EVERY)
    longer = spec.arms.direct.model_dump() | {"steps": 30}
    before, after = steps_of(), steps_of({"arms.direct": longer})
    moved = {name for name in ARMS if name in before and before[name].key != after[name].key}
    assert moved == set(made_by(DirectArm))
    assert isinstance(spec.arms.direct, TrainingSpec)


def test_an_arm_s_own_schedule_changes_that_arm_and_what_builds_on_it():
    own = {
        "spin_1": {"learning_rate": 1e-4},
        "adversarial_js": {"policy": {"kl_coefficient": 0.1}, "updates": 7},
        "sft_preferred": {"steps": 10},
    }
    before, after = steps_of(), steps_of({"arms.schedules": own})
    moved = {name for name in ARMS if name in before and before[name].key != after[name].key}
    assert moved == {*own, "spin"}
    was, now = (steps["spin_1"].settings["training"] for steps in (before, after))
    assert now == was.model_copy(update={"learning_rate": 1e-4})
    players = after["adversarial_js"].settings["training"]
    assert players.updates == 7 and players.policy.kl_coefficient == 0.1
    assert players.policy_reward == "gail" and players.policy.steps == 4  # as its method has them
    assert after["sft_preferred"].settings["training"].steps == 10


def test_an_exact_control_stands_beside_every_learned_imitation():
    for name in made_by(ImitationArm):
        control = control_of(name)
        assert (control is None) == (ARMS[name].against == DEMONSTRATORS)
        if control is not None:
            assert ARMS[control].start == ARMS[name].start
            assert ARMS[control].transform == ARMS[name].transform
    assert control_of("spin") is None
    steps = steps_of({"arms.names": ["adversarial_reverse_kl_marked"]})
    assert "true_reverse_kl densities" in steps
    assert set(steps["arms"].settings["imitated"]) == {"adversarial_reverse_kl_marked", "true_reverse_kl"}


def test_offline_dpo_reads_the_pairs_that_init_sft_reads():
    steps = steps_of()
    offline, reward = steps["dpo_init_sft"], steps["reward_init_sft"]
    sides = ("pi_sft", "pi_init")
    assert [offline.inputs[side].key for side in sides] == [reward.inputs[side].key for side in sides]
    assert (offline.settings["high"], offline.settings["low"]) == sides == tuple(reward.settings["data"][:2])
    assert offline.inputs["policy"] is steps["pi_sft"]


def test_mistakes_are_named():
    with pytest.raises(SpecError, match="did you mean 'spin'"):
        steps_of({"arms.names": ["spinn"]})
    with pytest.raises(SpecError, match="add it to reward.kinds"):
        steps_of({"reward.kinds": ["init_demo"]})
    with pytest.raises(SpecError, match="has none"):
        load_spec(
            "hh_rlhf", "smoke", {"arms.names": ["spin"], "arms.direct": {"steps": 1}, "world.folder": "."}
        )


def test_what_is_frozen_has_every_arm_of_both_tasks_and_those_of_claims_at_the_ledger_s_seeds():
    ledger, studies = load_ledger(), {}
    for cell in arm_cells():
        study = cell.study(Store("unused"))
        for seed in study.seeds:
            studies.setdefault((cell.task, cell.setting, seed), set()).update(study.spec.arms.names)
    for task in ("harmless", "helpful"):
        assert all(studies[task, "h = 1", seed] == set(ARMS) for seed in ledger.seeds[:3])
        for claim in ledger.claims:
            if claim.run == "arms" and task in claim.tasks:
                named = {claim.method, claim.than} & set(ARMS)
                for setting in claim.settings:
                    assert all(named <= studies[task, setting, seed] for seed in ledger.seeds)
    assert {"rl_init_sft_0.2", "extrapolation_4", "spin"} <= studies["helpful", "h = 1", 1000]


def test_a_fresh_reward_model_learns_from_the_arm_s_own_samples():
    steps = steps_of()
    scored = steps["distilled_3_fresh"].inputs["demonstrations"].inputs["scores"]
    fresh, proxy = scored.inputs["reward_model"], steps["reward_init_sft"]
    assert fresh.settings["data"] == RewardData("distilled_2_fresh", "pi_init")
    assert set(fresh.inputs) ^ set(proxy.inputs) == {"distilled_2_fresh", "pi_sft"}
    assert fresh.inputs["distilled_2_fresh"].inputs["policy"] is steps["distilled_2_fresh"]
    assert {k for k in proxy.settings if proxy.settings[k] != fresh.settings[k]} == {"kind", "data"}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Every arm of one seed, run with the smoke profile."""
    study = open_study(
        "harmless", "smoke", 0, 1, overrides=EVERY, store=Store(tmp_path_factory.mktemp("arms")), quiet=True
    )
    return study, study.table("arms"), study.table("drift")


def test_every_arm_is_drawn_from_judged_and_measured(found):
    study, arms, _ = found
    optima = {f"dpo_optimum_strength_{b}" for b in ("1", "0.5", "0.1")}
    assert set(arms["policy"]) == {"pi_init", "pi_sft", "demonstrations", *optima, *ARMS}
    lawful = set(ARMS) - set(made_by(ExtrapolationArm))
    covering = arms[arms["metric"] == "reverse_kl"]
    assert set(covering["policy"]) == lawful | {"pi_init", "pi_sft"}
    assert np.isfinite(arms["value"]).all()
    kls = arms[arms["metric"] == "kl"].groupby("policy")["value"].mean()
    assert kls["pi_sft"] == pytest.approx(0, abs=1e-9)
    assert (kls.drop("pi_sft") > 0).all() and set(kls.index) == set(arms["policy"]) - {
        "demonstrations",
        *optima,
    }
    extrapolated = [kls[f"extrapolation_{strength}"] for strength in ("1.5", "2", "3", "4")]
    assert extrapolated == sorted(extrapolated)
    assert (arms.groupby(["policy", "metric"])["prompt_id"].nunique() <= study.spec.world.n_test).all()


def test_all_policies_are_held_against_the_same_sets(found):
    study, arms, _ = found
    steps = study.plans()[0].steps
    assert steps["arms"].inputs["thresholds"] is steps["coverage"].inputs["thresholds"]
    shared = arms[arms["policy"].isin(["pi_init", "pi_sft"]) & arms["metric"].isin(METRICS)]
    alone = study.table("coverage")
    keys = ["policy", "metric", "prompt_id"]
    both = shared.merge(alone, on=keys, suffixes=("", "_alone"), validate="one_to_one")
    assert len(both) == len(alone) and both["value"].to_numpy() == pytest.approx(both["value_alone"])


def test_picks_are_the_best_of_their_group(found):
    study, _, _ = found
    steps = study.plans()[0].steps
    pick = steps["distilled_1"].inputs["demonstrations"]
    from afd_study.study.workflow.tables import read_table

    samples = read_table(study.store.folder(pick.inputs["samples"]), "samples")
    scores = read_table(study.store.folder(pick.inputs["scores"]), "scores")
    kept = read_table(study.store.folder(pick), "demonstrations")
    shown = read_table(study.store.folder(steps["spin_1"].inputs["demonstrations"]), "demonstrations")
    assert len(kept) == len(shown) and len(samples) == PICKED_FROM * len(shown)
    both = samples.merge(scores, on=["prompt_id", "source", "draw"])
    first = kept.iloc[0]
    group = both[(both["prompt_id"] == first["prompt_id"]) & (both["draw"] // PICKED_FROM == first["draw"])]
    best = group.sort_values(["reward", "draw"], ascending=[False, True]).iloc[0]
    assert list(best["token_ids"]) == list(first["token_ids"]) and len(group) == PICKED_FROM


def test_values_hold_every_way_at_best_of_ns_kl(found):
    study, arms, drift = found
    cell = Cell("harmless", "h = 1", {}, (0,), ("outcomes", "arms"))
    table = seed_means.cell_values(cell, study)
    assert not table.duplicated(["task", "setting", "seed", "metric", "method", "n"]).any()
    assert set(ARMS) <= set(table["method"])
    one = table[table["metric"] == "kl"].set_index(["method", "n"])["value"]
    assert one[("init_sft", 1)] == pytest.approx(0, abs=1e-9) and one[("init_sft", 16)] > one[("init_sft", 4)]
    ways = table[table["method"] == "extrapolation"]
    assert len(ways) and set(ways["metric"]) == {"judge"}
    judged = arms[(arms["metric"] == "judge") & (arms["policy"] == "pi_sft")]["value"].mean()
    at_start = ways[ways["n"] == 1]["value"].item()
    assert at_start == pytest.approx(judged)
    assert {"sequence_extrapolation_2", "sequence_extrapolation_4"} <= set(table["method"])
    assert set(drift["method"]) == {"init_sft", "sequence_extrapolation"}


def test_whatever_runs_a_model_has_spent_and_every_method_has_a_cost(found):
    study, *_ = found
    steps = study.plans()[0].steps
    every = steps["arms"].closure()
    idle = {name for name, kind in STEPS.items() if kind.work == "none"}
    spent = method_costs.spendings(every, study.store)
    spending = {step.name for key, step in every.items() if spent[key].get("flops", 0) > 0}
    assert spending == {step.name for step in every.values()} - idle
    table = method_costs.cost_values(study).set_index(["metric", "method"])["value"]
    assert set(table["flops"].index) == {"pi_sft", "init_sft", *ARMS}
    assert (table[["flops", "tokens", "seconds"]] > 0).all()
    demonstrations = len(study.table("demonstrations"))
    assert set(table["demonstrations"]) == {0, demonstrations} == {0, *table["preference_labels"]}
    # two models to a token
    ratio = table[("flops_per_answer", "extrapolation_2")] / table[("flops_per_answer", "pi_sft")]
    assert 1.5 < ratio < 3


def test_histories_have_both_sides_of_every_direct_arm(found):
    study, _, _ = found
    table = study.histories("history")
    assert set(table["method"]) == set(made_by(DirectArm))
    assert table.groupby("method")["step"].min().eq(0).all()
    assert np.isfinite(table[["preferred_logprob", "rejected_logprob", "validation_loss"]]).all().all()


def test_trajectories_have_every_optimised_arm_from_before_its_first_step(found):
    study, _, _ = found
    table = study.histories("trajectory")
    assert set(table["method"]) == set(made_by(GradientArm, ImitationArm))
    first = table[table["step"] == 0]
    assert first["kl"].abs().max() < 1e-9  # each begins at its own reference
    players = table["method"].isin(made_by(ImitationArm))
    assert table.loc[players, ["accuracy", "mean_abs_logit", "clipped"]].notna().all(axis=None)
    moved = table[table["step"] > 0]
    assert (moved.loc[moved["method"].isin(made_by(GradientArm)), "kl"] > 0).all()
    assert (moved["kl"] > -1e-6).all()  # a true logit that is clipped everywhere moves nothing


@pytest.fixture
def frozen(found, tmp_path, monkeypatch):
    """What `make results WHAT=arms` writes, of two tasks and two seeds made from the one that was run."""
    monkeypatch.setenv("AFD_RESULTS", str(tmp_path))
    study, *_ = found
    one = seed_means.cell_values(Cell("harmless", "h = 1", {}, (0,), ("outcomes", "arms")), study)
    every = [
        one.assign(task=task, seed=seed, setting=setting, value=one["value"] * (1 + 0.1 * seed))
        for task in ("harmless", "helpful")
        for setting in ("h = 1", "small policy")
        for seed in (0, 1)
    ]
    tables = {"values": seed_means.wide(pd.concat(every))}
    for name, kind in (("histories", "history"), ("trajectories", "trajectory")):
        went = study.histories(kind).drop(columns="seed")
        tables[name] = pd.concat(
            [went.assign(task=task, setting="h = 1", n_seeds=2) for task in ("harmless", "helpful")]
        )
    for name in ("objectives", "path"):
        every = [study.table(name).assign(task=task, setting="h = 1", seed=seed) for task, seed in TWICE]
        tables[name] = pd.concat(every)
    freeze("arms", tables, seeds=[0, 1])
    return one


def test_the_chapter_s_tables_are_means_over_seeds(frozen):
    ways = beyond.ways()
    one = frozen.set_index(["metric", "method", "n"])["value"]
    point = ways[(ways["task"] == "helpful") & (ways["method"] == "init_sft") & (ways["at"] == 4)].iloc[0]
    for column, metric in (("mean", "judge"), ("kl", "kl"), ("proxy", "proxy")):
        assert point[column] == pytest.approx(1.05 * one[(metric, "init_sft", 4)])
    assert set(ways["method"]) == {"init_sft", "rl_init_sft", "extrapolation", "sequence_extrapolation"}
    starts = ways[ways["method"].isin(["rl_init_sft", "extrapolation"])].groupby("method")["kl"].min()
    assert starts.abs().max() < 1e-9, "every way of policies begins at pi_SFT"
    ahead = beyond.beyond_demonstrations().set_index(["task", "method"])["mean"]
    expected = one[("judge", "spin", 1)] - one[("judge", "demonstrations", 1)]
    assert ahead[("harmless", "spin")] == pytest.approx(1.05 * expected)
    measured = beyond.measured()
    assert set(measured["method"]) >= {"pi_init", "pi_sft", "spin", "distilled_2"}
    assert set(beyond.SHOWN) < set(measured.columns)
    assert (measured["n_seeds"] == 2).all()


def test_imitation_is_compared_with_sft_on_the_same_seeds(frozen):
    one = frozen[frozen["table"] == "coverage"].set_index(["metric", "method"])["value"]
    levels = beyond.covering().set_index(["task", "setting", "method", "metric"])
    for metric in ("precision", "coverage_without_stray", "good_share"):
        assert levels.loc[("harmless", "h = 1", "pi_sft", metric), "n_seeds"] == 2
    found = beyond.against_sft().set_index(["task", "setting", "method", "metric"])["mean"]
    for setting in ("h = 1", "small policy"):
        for metric in ("coverage", "reverse_kl"):
            ahead = one[(metric, "adversarial_js")] - one[(metric, "pi_sft")]
            assert found[("helpful", setting, "adversarial_js", metric)] == pytest.approx(1.05 * ahead)
    assert set(beyond.optima()["method"]) == {f"dpo_optimum_strength_{b}" for b in ("1", "0.5", "0.1")}
    sure = beyond.optima().set_index(["task", "method"])["ess"]
    assert sure[("harmless", "dpo_optimum_strength_1")] == pytest.approx(1.05)  # every weight is one


def test_what_runs_did_is_shown_over_seeds(found, frozen):
    study, *_ = found
    own = study.table("objectives").set_index("method")
    shown = beyond.objectives().set_index(["task", "method"])
    assert set(own.index) == set(made_by(ImitationArm)) and len(shown) == 2 * len(own)
    assert shown.loc[("helpful", "true_js"), "mean"] == pytest.approx(own.loc["true_js", "change"])
    assert shown.loc["harmless", "n_lowered"].to_dict() == (2 * own["lowered"]).to_dict()
    path = study.table("path")
    assert set(path["method"]) == set(made_by(DirectArm))
    along = beyond.direct_paths()
    assert len(along) == 2 * len(path) and set(along["n_seeds"]) == {2}
    stops = beyond.direct_stops().set_index(["task", "method", "stop", "metric"])["mean"]
    one = path[path["method"] == "spin"].set_index("step")["judge"]
    validated = stops["harmless", "spin", "validated"]
    assert validated["judge"] == pytest.approx(1.05 * one[round(validated["stop_step"] / 1.05)])


def test_at_equal_length_sft_is_compared_with_the_arm_whose_lengths_were_taken(tmp_path, monkeypatch):
    monkeypatch.setenv("AFD_RESULTS", str(tmp_path))
    shares = {"pi_sft": 0.5, "adversarial_reverse_kl": 0.75, "true_reverse_kl": 0.9}
    rows = [
        ("harmless", setting, seed, "coverage", metric, name, 0, share)
        for setting in ("h = 1", "small policy")
        for seed in (0, 1)
        for metric in ("precision", *beyond.AT_EQUAL_LENGTH)
        for name, share in shares.items()
    ]
    freeze("arms", {"values": seed_means.wide(pd.DataFrame(rows, columns=list(VALUE_COLUMNS)))}, seeds=[0, 1])
    found = beyond.against_sft().groupby("metric")["method"].agg(set)
    assert found["precision"] == {EQUAL_LENGTH_RIVAL, "true_reverse_kl"}
    assert all(found[metric] == {EQUAL_LENGTH_RIVAL} for metric in beyond.AT_EQUAL_LENGTH)


def test_every_figure_of_the_chapter_is_drawn_and_brings_its_table(frozen):
    levels = beyond.reached()
    figures = [
        draw.ways(beyond.ways(), levels),
        draw.reached(levels),
        draw.sides(beyond.sides(), ["spin", "dpo_preferences"]),
        adversarial.covering(beyond.covering()),
        adversarial.courses(beyond.paths(), ["adversarial_js", "true_js"]),
        adversarial.objectives(beyond.objectives()),
        draw.direct_paths(beyond.direct_paths(), beyond.direct_stops(), levels),
    ]
    for figure in figures:
        assert len(figure._repr_png_()) > 5000 and len(figure.table) and figure.caption
    assert [axes.get_xlabel() for axes in figures[0].axes].count("KL to the SFT policy (nats)") == 2
