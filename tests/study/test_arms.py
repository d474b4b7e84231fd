"""Arms: plans that fit, what an arm builds on, what its settings reach, and a whole run of every arm."""

import numpy as np
import pandas as pd
import pytest

from afd_study.errors import SpecError
from afd_study.figures import beyond as draw
from afd_study.methods.arms import ARMS, PICKED_FROM
from afd_study.methods.reward_data import REWARD_DATA
from afd_study.models.specs import TrainingSpec
from afd_study.study import beyond, values
from afd_study.study.cells import Cell, arm_cells
from afd_study.study.execution import check_signature
from afd_study.study.frozen import freeze
from afd_study.study.pipeline import plan
from afd_study.study.spec import load_spec
from afd_study.study.store import Store
from afd_study.study.study import open_study

EVERY = {"arms.names": list(ARMS), "reward.kinds": ["init_sft"], "sampling.draws": 68}


def steps_of(overrides=None, seed=0):
    return plan(
        load_spec("harmless", "smoke", {**EVERY, **(overrides or {})}), task="harmless", seed=seed
    ).steps


def test_every_arm_builds_on_what_there_is():
    sources = {"pi_init", "pi_sft", "demonstrations", "preferred", "rejected", *ARMS, ""}
    for name, arm in ARMS.items():
        assert {arm.start, arm.high, arm.low} <= sources and name not in (arm.start, arm.high, arm.low)
        assert arm.reward in {"", *REWARD_DATA} and arm.strength > 0


def test_every_step_of_every_arm_fits_its_function():
    steps = {}
    for step in steps_of().values():
        steps |= step.closure()
    for step in steps.values():
        check_signature(step)
    assert {"direct_policy", "optimised", "extrapolated", "picked", "chosen", "kls", "arms"} <= {
        step.name for step in steps.values()
    }


def test_an_arm_brings_what_it_builds_on_and_nothing_else():
    alone = steps_of({"arms.names": ["spin"]})
    assert {"spin_1", "spin"} <= set(alone) and "distilled_1" not in alone and "dpo_preferences" not in alone
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
    assert moved == {name for name, arm in ARMS.items() if arm.method == "direct"}
    assert isinstance(spec.arms.direct, TrainingSpec)


def test_mistakes_are_named():
    with pytest.raises(SpecError, match="did you mean 'spin'"):
        steps_of({"arms.names": ["spinn"]})
    with pytest.raises(SpecError, match="add it to reward.kinds"):
        steps_of({"reward.kinds": ["init_demo"]})
    with pytest.raises(SpecError, match="has none"):
        load_spec(
            "hh_rlhf", "smoke", {"arms.names": ["spin"], "arms.direct": {"steps": 1}, "world.folder": "."}
        )


def test_what_is_frozen_has_every_arm_of_both_tasks():
    for cell in arm_cells():
        study = cell.study(Store("unused"))
        assert len(study.seeds) >= 3 and set(study.spec.arms.names) == set(ARMS)
    assert {cell.task for cell in arm_cells()} == {"harmless", "helpful"}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Every arm of one seed, run with the smoke profile."""
    study = open_study(
        "harmless", "smoke", 0, 1, overrides=EVERY, store=Store(tmp_path_factory.mktemp("arms")), quiet=True
    )
    return study, study.table("arms"), study.table("drift")


def test_every_arm_is_drawn_from_judged_and_measured(found):
    study, arms, _ = found
    assert set(arms["policy"]) == {"pi_init", "pi_sft", "demonstrations", *ARMS}
    lawful = {name for name, arm in ARMS.items() if arm.method != "extrapolation"}
    covering = arms[arms["metric"] == "reverse_kl"]
    assert set(covering["policy"]) == lawful | {"pi_init", "pi_sft"}
    assert np.isfinite(arms["value"]).all()
    kls = arms[arms["metric"] == "kl"].groupby("policy")["value"].mean()
    assert kls["pi_sft"] == pytest.approx(0, abs=1e-9)
    assert (kls.drop("pi_sft") > 0).all() and set(kls.index) == set(arms["policy"]) - {"demonstrations"}
    extrapolated = [kls[f"extrapolation_{strength}"] for strength in ("1.5", "2", "3", "4")]
    assert extrapolated == sorted(extrapolated)
    assert (arms.groupby(["policy", "metric"])["prompt_id"].nunique() <= study.spec.world.n_test).all()


def test_picks_are_the_best_of_their_group(found):
    study, _, _ = found
    steps = study.plans()[0].steps
    pick = steps["distilled_1"].inputs["demonstrations"]
    from afd_study.study.tables import read_table

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
    table = values.cell_values(cell, study)
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


def test_histories_have_both_sides_of_every_direct_arm(found):
    study, _, _ = found
    table = study.histories("history")
    assert set(table["method"]) == {name for name, arm in ARMS.items() if arm.method == "direct"}
    assert table.groupby("method")["step"].min().eq(0).all()
    assert np.isfinite(table[["preferred_logprob", "rejected_logprob", "validation_loss"]]).all().all()


def test_trajectories_have_every_optimised_arm_from_before_its_first_step(found):
    study, _, _ = found
    table = study.histories("trajectory")
    assert set(table["method"]) == {name for name, arm in ARMS.items() if arm.method == "policy_gradient"}
    first = table[table["step"] == 0]
    assert first["kl"].abs().max() < 1e-9  # all begin at pi_SFT
    assert (table[table["step"] > 0]["kl"] > 0).all()


@pytest.fixture
def frozen(found, tmp_path, monkeypatch):
    """What `make results WHAT=arms` writes, of two tasks and two seeds made from the one that was run."""
    monkeypatch.setenv("AFD_RESULTS", str(tmp_path))
    study, *_ = found
    one = values.cell_values(Cell("harmless", "h = 1", {}, (0,), ("outcomes", "arms")), study)
    every = [
        one.assign(task=task, seed=seed, value=one["value"] * (1 + 0.1 * seed))
        for task in ("harmless", "helpful")
        for seed in (0, 1)
    ]
    tables = {"values": values.wide(pd.concat(every))}
    for name, kind in (("histories", "history"), ("trajectories", "trajectory")):
        went = study.histories(kind).drop(columns="seed")
        tables[name] = pd.concat([went.assign(task=task) for task in ("harmless", "helpful")])
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
    assert set(beyond.measured()["method"]) >= {"pi_init", "pi_sft", "spin", "distilled_2"}


def test_every_figure_of_the_chapter_is_drawn_and_brings_its_table(frozen):
    levels = beyond.reached()
    figures = [
        draw.ways(beyond.ways(), levels),
        draw.reached(levels),
        draw.sides(beyond.sides(), ["spin", "dpo_preferences"]),
    ]
    for figure in figures:
        assert len(figure._repr_png_()) > 5000 and len(figure.table) and figure.caption
    labels = [axes.get_xlabel() for axes in figures[0].axes]
    assert labels.count("KL to the SFT policy (nats)") == 2
