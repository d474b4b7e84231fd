"""The ledger: rules are read and checked, effects are formed as its forms say, verdicts follow."""

import numpy as np
import pandas as pd
import pytest
import yaml

from afd_study.errors import DataError, SpecError
from afd_study.evaluation.claim_effects import FORMS, VALUE_COLUMNS, Values
from afd_study.evaluation.claims import (
    UNTESTED,
    chance,
    check_methods,
    effects_by_seed,
    judge_claims,
    load_ledger,
)
from afd_study.evaluation.identities import IDENTITIES, errors
from afd_study.evaluation.sizes import SIZES

SEEDS = range(1000, 1008)
ERRORS = dict.fromkeys(IDENTITIES, 0.0)


HEAD = {
    "tasks": ["harmless", "helpful", "honest"],
    "seeds": list(SEEDS),
    "level": 0.95,
    "n": 16,
    "coverage_only": [],
    "usual": [],
    "settings": {
        "h = 0": {"world.heterogeneity": 0},
        "h = 1": {"world.heterogeneity": 1},
        "few": {"world.n_good_answers": {"harmless": 2, "helpful": 5}},
        "h = 1, matched gain": {},
        "h = 1, a = 0.9": {},
    },
}
"""All of a ledger but its claims; it has one task more than the study's own."""


def ledger_text(**changes):
    """A ledger of one claim, with some of its fields replaced."""
    claim = {
        "id": "X1",
        "sentence": "A beats B.",
        "source": "ours",
        "kind": "better",
        "form": "share",
        "table": "outcomes",
        "metric": "judge",
        "method": "init_sft",
        "than": "init_demo",
        "margin": 0.05,
        "settings": ["h = 1"],
        "tasks": ["harmless"],
    }
    return yaml.safe_dump(HEAD | {"claims": [claim | changes]})


def curve(start, **at):
    """A judge's curve: `start` everywhere, or what `at` says at n16, n50, ..."""
    return {n: at.get(f"n{n}", start) for n in SIZES}


def values(curves, task="harmless", setting="h = 1", seeds=SEEDS, spread=0.0):
    rows = []
    for method, points in curves.items():
        for place, seed in enumerate(seeds):
            noise = spread * (place - (len(seeds) - 1) / 2)
            rows += [
                (task, setting, seed, "outcomes", "judge", method, n, v + noise) for n, v in points.items()
            ]
    return pd.DataFrame(rows, columns=list(VALUE_COLUMNS))


def usual(**more):
    return {"random": curve(1.0), "oracle": curve(3.0), "pi_sft": {1: 1.0}, **more}


def near_and_far():
    """Two sets of curves, with leads of Init-SFT over Init-Demo of 0.3 and 0.1 of the gap."""
    return tuple(usual(init_sft=curve(score), init_demo=curve(1.2)) for score in (1.8, 1.4))


def judged(frame, **changes):
    return judge_claims(load_ledger(ledger_text(**changes)), {"ledger": frame}, ERRORS).iloc[0]


# the file


def test_the_studys_own_ledger_is_whole():
    ledger = load_ledger()
    assert len(ledger.seeds) >= 8 and min(ledger.seeds) >= 1000  # never a seed that settings were read off
    ids = {claim.id for claim in ledger.claims}
    assert set("I1 I2 I3 I4 E1 E2 E4 E5 E7 E8 E10 E11 E12 R1 R3 R5 R6 L1 L3a L4 L5".split()) <= ids
    assert ledger.tasks == ("harmless", "helpful")
    asked = {claim.metric for claim in ledger.claims if claim.kind == "identity"}
    assert asked == set(IDENTITIES) - {"endogenous_reward_is_likelihood"}, "which the second ledger asks"
    assert ledger.overrides("helpful", "h = 1, few good answers")["world.n_good_answers"] == 5


WRONG = {
    "form": ({"form": "shares"}, "unknown form .claim X1. 'shares': did you mean 'share'"),
    "table": ({"table": "outcome"}, "unknown table .* did you mean 'outcomes'"),
    "metric": ({"metric": "jugde"}, "unknown metric .* did you mean 'judge'"),
    "setting": ({"settings": ["h = 2"]}, "unknown setting .* 'h = 2': did you mean 'h = "),
    "task": ({"tasks": ["harmles"]}, "unknown task .* did you mean 'harmless'"),
    "against": ({"form": "between_settings", "against": "h = 3"}, "unknown setting .* 'h = 3'"),
    "against task": (
        {"form": "between_tasks", "against": "helpfull"},
        "unknown task .* did you mean 'helpful'",
    ),
    "itself": (
        {"form": "between_tasks", "against": "harmless"},
        "claim X1 compares task 'harmless' with itself",
    ),
    "styled": (
        {"form": "lost_lead", "against": "a = 0.8"},
        "'h = 1, a = 0.8': did you mean 'h = 1, a = 0.9'",
    ),
    "form's table": (
        {"table": "probes", "metric": "rank_correlation_with_closed_form"},
        "unknown table of form share .* 'probes'.*outcomes",
    ),
    "no setting": ({"settings": []}, "claim X1 names no setting"),
    "field": ({"marign": 1}, "claims.0.marign"),
    "kind": ({"kind": "best"}, "claims.0.kind"),
    "identity": ({"kind": "identity", "metric": "sft"}, "unknown identity"),
}


@pytest.mark.parametrize("case", WRONG)
def test_unknown_names_are_refused_with_the_nearest(case):
    changes, message = WRONG[case]
    with pytest.raises(SpecError, match=message):
        load_ledger(ledger_text(**changes))


def test_tasks_stand_in_the_ledger():
    """A claim is judged in all of them, or in those that it names; values hold some, or others besides."""
    ledger = load_ledger(ledger_text(tasks=[]))
    assert ledger.claims[0].tasks == ledger.tasks == ("harmless", "helpful", "honest")
    frame = pd.concat([values(near_and_far()[0], task=task) for task in (*ledger.tasks, "brief")])
    rows = judge_claims(ledger, {"ledger": frame}, ERRORS)
    assert rows["task"].tolist() == list(ledger.tasks) and rows["effect"].to_numpy() == pytest.approx(0.3)
    with pytest.raises(SpecError, match="unknown task .world.n_good_answers.*'honest'.*harmless, helpful"):
        ledger.overrides("honest", "few")
    text = ledger_text().replace("helpful: 5", "helpfull: 5")
    with pytest.raises(SpecError, match="unknown task .world.n_good_answers.*did you mean 'helpful'"):
        load_ledger(text)
    with pytest.raises(SpecError, match="tasks: Field required"):
        load_ledger(yaml.safe_dump({key: value for key, value in HEAD.items() if key != "tasks"}))


def test_a_comparison_of_tasks_names_the_other_one():
    near, far = near_and_far()
    three = pd.concat([values(near), values(far, task="helpful"), values(near, task="honest")])
    rule = {"form": "between_tasks", "against": "helpful", "tasks": ["harmless", "honest"]}
    ledger = load_ledger(ledger_text(**rule))
    assert judge_claims(ledger, {"ledger": three}, ERRORS)["effect"].to_numpy() == pytest.approx(0.2)
    assert set(effects_by_seed(ledger, {"ledger": three})["task"]) == {"harmless", "honest"}


def test_a_task_without_values_is_not_yet_tested():
    near, far = near_and_far()
    ledger = load_ledger(ledger_text(tasks=[]))
    rows = judge_claims(ledger, {"ledger": pd.concat([values(near), values(far, task="helpful")])}, ERRORS)
    assert rows["verdict"].tolist() == ["supported", "supported", UNTESTED]
    between = {"form": "between_tasks", "against": "helpful", "tasks": ["harmless"]}
    assert judged(values(near), **between)["verdict"] == UNTESTED
    assert effects_by_seed(load_ledger(ledger_text(**between)), {"ledger": values(near)}).empty
    with pytest.raises(DataError, match="'init_demo' at n = 16 for task 'honest'"):
        one_side = values(usual(init_sft=curve(1.8)), task="honest")
        judged(pd.concat([values(near), one_side]), tasks=["honest"])


def test_methods_are_checked_against_what_there_is():
    names = {"init_sft", "init_demo"}
    check_methods(load_ledger(ledger_text()), names)
    with pytest.raises(SpecError, match="'init_dmeo': did you mean 'init_demo'"):
        check_methods(load_ledger(ledger_text(than="init_dmeo")), names)


# effects, by hand: the gap from random to oracle is 2 points

FORMED = {
    "share": ({}, usual(init_sft=curve(1.8), init_demo=curve(1.2)), 0.3),
    "level": ({"than": "pi_sft"}, usual(init_sft=curve(1.8)), 0.4),
    "late fall": ({"form": "late_fall"}, usual(init_sft=curve(2.0, n50=1.5)), 0.25),
    "falls apart": (
        {"form": "late_fall_difference"},
        usual(init_sft=curve(2.0, n50=1.5), init_demo=curve(2, n50=1.8)),
        0.15,
    ),
    "from the peak": (
        {"form": "fall_from_peak"},
        usual(init_sft=curve(2.0, n4=2.4, n50=2.2), init_demo=curve(1, n50=1.4)),
        0.1,
    ),
}


@pytest.mark.parametrize("case", FORMED)
def test_effects_within_a_setting(case):
    changes, curves, effect = FORMED[case]
    row = judged(values(curves), **changes)
    assert row["effect"] == pytest.approx(effect) and row["n_seeds"] == 8


def test_effects_between_settings_and_tasks():
    near, far = near_and_far()
    both = pd.concat([values(near), values(far, setting="few")])
    assert judged(both, form="between_settings", against="few")["effect"] == pytest.approx(0.2)
    tasks = pd.concat([values(near), values(far, task="helpful")])
    assert judged(tasks, form="between_tasks", against="helpful")["effect"] == pytest.approx(0.2)
    cells = [values(near, setting="h = 1, matched gain"), values(far, setting="h = 1, a = 0.9")]
    lost = judged(pd.concat(cells), form="lost_lead", against="a = 0.9", settings=["h = 1, matched gain"])
    assert lost["effect"] == pytest.approx(0.2)


def test_what_can_be_measured_is_ranked_beside_the_lead():
    frames = []
    for place, setting in enumerate(("h = 0", "h = 1", "few")):
        frames.append(values(usual(init_sft=curve(1 + place), init_demo=curve(1.0)), setting=setting))
        for method, auc in (("init_sft", 0.6), ("init_demo", 0.6 + 0.1 * place)):
            rows = [("harmless", setting, seed, "separability", "auc", method, 0, auc) for seed in SEEDS]
            frames.append(pd.DataFrame(rows, columns=list(VALUE_COLUMNS)))
    rule = {"form": "predicts", "table": "separability", "metric": "auc", "margin": 0.0}
    assert judged(pd.concat(frames), **rule)["effect"] == pytest.approx(1)
    with pytest.raises(DataError, match="needs three settings or more, and table values has 2"):
        judged(pd.concat(frames[:6]), **rule)


def test_a_seed_without_a_gap_is_left_out():
    table = values(usual(init_sft=curve(1.8), init_demo=curve(1.2)))
    flat = (table["seed"] == 1003) & (table["method"] == "oracle")
    row = judged(table.assign(value=table["value"].where(~flat, 1.0)))
    assert row["n_seeds"] == 7 and row["effect"] == pytest.approx(0.3)


# verdicts


def test_verdicts_follow_from_interval_and_margin():
    def verdict(lead, kind="better", spread=0.02):
        ahead = values({"init_sft": curve(1.2 + 2 * lead)}, spread=spread)
        return judged(pd.concat([values(usual(init_demo=curve(1.2))), ahead]), kind=kind)["verdict"]

    assert [verdict(lead) for lead in (0.3, 0.05, -0.2)] == ["supported", "inconclusive", "contradicted"]
    assert [verdict(lead, "not_worse") for lead in (0.0, -0.05, -0.2)] == [
        "supported",
        "inconclusive",
        "contradicted",
    ]
    assert [verdict(lead, "equal") for lead in (0.0, 0.05, 0.2)] == [
        "supported",
        "inconclusive",
        "contradicted",
    ]
    assert verdict(0.3, spread=0.5) == "inconclusive"


def test_other_seeds_are_not_counted():
    table = values(usual(init_sft=curve(1.8), init_demo=curve(1.2)))
    more = values(usual(init_sft=curve(-9.0), init_demo=curve(1.2)), seeds=range(3))
    row = judged(pd.concat([table, more]))
    assert row["n_seeds"] == 8 and row["effect"] == pytest.approx(0.3)


def test_an_identity_holds_within_its_tolerance():
    rule = {"kind": "identity", "form": "identity", "metric": "sft_is_forward_kl", "margin": 1e-9}
    for error, expected in ((1e-12, "supported"), (1e-3, "contradicted"), (np.nan, "contradicted")):
        result = judge_claims(
            load_ledger(ledger_text(**rule)), {"ledger": values(usual())}, ERRORS | {rule["metric"]: error}
        )
        assert result["verdict"].item() == expected


def test_a_claim_is_judged_on_the_run_that_it_names():
    """Arms have policies of their own: both sides of a claim come from there, or it is not yet tested."""
    ledger = load_ledger(ledger_text(method="demonstrations", than="spin", run="arms"))
    here = values(usual(demonstrations={1: 2.0}))
    there = values(usual(demonstrations={1: 2.0}, spin={1: 1.4}))
    result = judge_claims(ledger, {"ledger": here, "arms": there}, ERRORS).iloc[0]
    assert result["effect"] == pytest.approx(0.3) and result["verdict"] == "supported"
    other_seeds = {"ledger": here, "arms": there.assign(seed=there["seed"] - 1000)}
    not_yet_made = {"ledger": there, "arms": here}
    not_at_all_seeds = {"arms": there[~((there["method"] == "spin") & (there["seed"] == 1003))]}
    for runs in ({"ledger": here}, other_seeds, not_yet_made, not_at_all_seeds):
        alone = judge_claims(ledger, runs, ERRORS).iloc[0]
        assert alone["verdict"] == UNTESTED and alone["n_seeds"] == 0
        assert effects_by_seed(ledger, runs).empty
    with pytest.raises(SpecError, match="run"):
        load_ledger(ledger_text(run="arm"))


def test_a_policy_s_own_score_stands_at_every_n_and_a_curve_only_where_it_was_taken():
    table = Values(values(usual(spin={1: 1.4}, init_sft={1: 1.0, 8: 2.0})), n=16)
    assert table.judge("harmless", "h = 1", "spin", 16).eq(1.4).all()
    with pytest.raises(DataError, match="'init_sft' at n = 16"):
        table.judge("harmless", "h = 1", "init_sft", 16)


def test_values_that_are_missing_or_twice_are_named():
    with pytest.raises(
        DataError, match="nothing of metric 'judge', method 'init_sft' at n = 16.*make results"
    ):
        judged(values(usual()))
    table = values(usual(init_sft=curve(1.8)))
    with pytest.raises(SpecError, match="no values were computed for it"):
        Values(table, n=16).judge("harmless", "h = 0", "init_sft", 16)
    with pytest.raises(DataError, match="repeats"):
        Values(pd.concat([table, table]), n=16)


def test_chance_counts_tests_alone_and_once():
    row = {"id": "E7", "task": "helpful", "effect": 0.1, "low": 0.0, "high": 0.2, "n_seeds": 8}
    other = row | {"effect": 0.3, "high": 0.6}  # no mark reaches E7: h = 0 and h = 1 give the same numbers
    untested = row | {"id": "L4", "effect": np.nan, "n_seeds": 0}
    results = pd.DataFrame([row, row, other, row | {"task": "harmless"}, untested])
    assert chance(results, 0.95) == {"rows": 4, "tests": 3, "expected_false": pytest.approx(0.15)}


def test_effects_by_seed_are_what_verdicts_rest_on():
    frame = values(usual(init_sft=curve(1.8), init_demo=curve(1.4)), spread=0.0)
    ledger = load_ledger(ledger_text())
    each = effects_by_seed(ledger, {"ledger": frame})
    assert list(each["seed"]) == list(SEEDS) and np.allclose(each["effect"], 0.2)
    whole = judge_claims(ledger, {"ledger": frame}, ERRORS)
    assert each["effect"].mean() == pytest.approx(whole.loc[0, "effect"])


def test_every_form_of_the_ledger_is_known_and_used():
    used = {claim.form for claim in load_ledger().claims if claim.kind != "identity"}
    assert used == set(FORMS)


def test_identities_hold_and_each_check_can_fail(monkeypatch):
    assert max(errors().values()) < 1e-10
    from afd_study.evaluation import identities

    def half(logprobs, mask, constant):
        return -(logprobs * mask).sum() / 2

    def squares(*, logits_on_demo, weights_on_demo, **rest):
        return (weights_on_demo * logits_on_demo**2).sum()

    monkeypatch.setattr(identities, "sft_loss", half)
    monkeypatch.setattr(identities, "discriminator_bce", squares)
    wrong = errors()
    monkeypatch.setattr(identities.TokenMDP, "token_logprobs", lambda world, policy: world.responses() * 0.1)
    wrong["endogenous_reward_is_likelihood"] = IDENTITIES["endogenous_reward_is_likelihood"]()
    for name in set(IDENTITIES) - {"logit_descends_reverse_kl"}:
        assert not wrong[name] < 1e-3, name
