"""The chapter's tables of costs: means, units, the frontier, totals and where methods have cost the same."""

import pandas as pd
import pytest

from afd_study.errors import SpecError, StoreError
from afd_study.evaluation.claim_effects import VALUE_COLUMNS
from afd_study.study.chapters import costs
from afd_study.study.frozen.files import freeze
from afd_study.study.frozen.method_costs import cost_table
from afd_study.study.frozen.seed_means import wide

# made for the tests: FLOPs to make and of an answer to one of 4 test prompts, seconds to make, labels
METHODS = {
    "pi_sft": (10, 60, 0.5, 30, 0),
    "init_sft": (150, 1620, 7.5, 30, 0),
    "dpo_preferences": (180, 60, 9.25, 0, 12),
    "spin_1": (340, 60, 17.5, 30, 0),
    "extrapolation_2": (10, 120, 0.5, 30, 0),
}


def costs_of(making_flops, flops_per_answer, making_seconds, demonstrations, preference_labels):
    making = {"tokens": 2.0, "flops": making_flops, "seconds": making_seconds}
    answer = {"tokens": 30.0, "flops": flops_per_answer, "seconds": 2.0}
    both = {name: making[name] + 4 * answer[name] for name in making}
    return {
        **{f"making_{name}": amount for name, amount in making.items()},
        **{f"{name}_per_answer": amount for name, amount in answer.items()},
        **both,
        "demonstrations": demonstrations,
        "preference_labels": preference_labels,
    }


def values_of(methods):
    """Table `values` at two tasks and two seeds: seconds differ between seeds, scores rise along methods."""
    rows = []
    for task in ("harmless", "helpful"):
        for seed in (0, 1):
            front = (task, "h = 1", seed)
            for place, (name, amounts) in enumerate(methods.items()):
                for metric, value in costs_of(*amounts).items():
                    slow = 1 + seed * (metric == "making_seconds")
                    rows.append((*front, "cost", metric, name, 0, value * slow))
                for n in (1, 16) if name == "init_sft" else (1,):
                    rows.append((*front, "outcomes", "judge", name, n, place + seed / 10 + n))
    return pd.DataFrame(rows, columns=list(VALUE_COLUMNS))


@pytest.fixture
def frozen(tmp_path, monkeypatch):
    monkeypatch.setenv("AFD_RESULTS", str(tmp_path))
    values = values_of(METHODS)
    freeze("arms", {"values": wide(values), "costs": cost_table(values)}, seeds=[0, 1])
    return values


def test_costs_are_means_over_seeds_with_intervals(frozen):
    table = costs.costs().set_index(["task", "method", "metric"])
    seconds = table.loc[("helpful", "init_sft", "making_seconds")]
    assert seconds["mean"] == pytest.approx(7.5 * 1.5) and seconds["low"] < 7.5 < 15 < seconds["high"]
    making = costs.making().set_index(["task", "method"])
    assert making.loc[("harmless", "init_sft"), "GFLOP"] == pytest.approx(150e-9)
    assert making.loc[("harmless", "dpo_preferences"), "preference labels"] == 12
    assert list(costs.means()["method"][:2]) == ["pi_sft", "init_sft"]
    assert costs.answering().loc[0, "ms an answer"] == pytest.approx(2000)


def test_the_judge_is_asked_at_the_ledgers_n_for_picks_and_at_one_for_policies(frozen):
    judged = costs.judged().set_index(["task", "method"])["mean"]
    assert judged[("harmless", "init_sft")] == pytest.approx(1 + 0.05 + 16)
    assert judged[("harmless", "pi_sft")] == pytest.approx(0 + 0.05 + 1)
    table = costs.against("flops", "demonstrations")
    assert len(table) == 2 * 2 * len(METHODS) and set(table["metric"]) == {"flops", "demonstrations"}
    with pytest.raises(SpecError, match="did you mean 'flops'"):
        costs.against("flop")


def test_the_frontier_is_what_no_cheaper_method_matches(frozen):
    kept = costs.frontier("making_flops").query("task == 'helpful'")
    spent = dict(zip(kept["method"], kept["making_flops"], strict=True))
    assert spent == {"extrapolation_2": 10, "init_sft": 150}, "pi_sft costs the same as the extrapolation"
    assert costs.frontier("flops")["GFLOP"].max() < 1e-3


def test_what_knows_the_demonstrators_law_is_no_method_with_a_cost(tmp_path, monkeypatch):
    monkeypatch.setenv("AFD_RESULTS", str(tmp_path))
    both = dict.fromkeys(("true_reverse_kl", "adversarial_reverse_kl"), METHODS["spin_1"])
    values = values_of(METHODS | both)
    freeze("arms", {"values": wide(values), "costs": cost_table(values)}, seeds=[0, 1])
    names = {name for read in (costs.costs, costs.judged) for name in read()["method"]}
    assert "adversarial_reverse_kl" in names and "true_reverse_kl" not in names


def test_totals_and_crossings_agree(frozen):
    rows = costs.crossings("init_sft").set_index(["task", "method"])["prompts"].loc["harmless"]
    assert rows["spin_1"] == pytest.approx((340 - 150) / (1620 - 60))
    assert rows["dpo_preferences"] == pytest.approx((180 - 150) / (1620 - 60))
    assert rows[["pi_sft", "extrapolation_2"]].isna().all(), "cheaper to make and to ask"
    lines = costs.totals(["spin_1", "init_sft"], most=10).set_index(["task", "method"]).loc["harmless"]
    last = lines[lines["prompts"] > 9.99]["total"]
    assert last["spin_1"] == pytest.approx(340 + 600) and last["init_sft"] == pytest.approx(150 + 16200)
    for mistake in (lambda: costs.totals(["spin1"]), lambda: costs.crossings("init_sf")):
        with pytest.raises(SpecError, match="did you mean"):
            mistake()


def test_results_without_costs_say_how_to_make_them(frozen):
    freeze("arms", {"values": wide(frozen)}, seeds=[0, 1])
    with pytest.raises(StoreError, match="make results WHAT=arms"):
        costs.costs()
