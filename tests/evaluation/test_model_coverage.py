"""Covering and seeking of a model's law: against enumeration, and how far Best-of-n's figures are biased."""

import numpy as np
import pandas as pd
import pytest

from afd_study.errors import DataError
from afd_study.evaluation.coverage import FACTOR
from afd_study.evaluation.exact_logits import EXACT_LOGITS, exact_logits
from afd_study.evaluation.model_coverage import (
    MEASURED,
    OF_BEST,
    best_of_n_coverage,
    log_weights,
    model_thresholds,
    policy_coverage,
    summary,
)
from afd_study.theory.best_of_n import kl_of_best, law_of_best

NAMED = {"task": "own_data", "seed": 0}
N, POOL = 16, 64


def drawn(laws, *, prompts, draws, seed=0):
    """Table `densities` of draws from enumerated laws: demo, pi_init and pi_sft, each (outcomes,)."""
    rng, frames = np.random.default_rng(seed), []
    for source, law in zip(("demonstrations", "pi_init", "pi_sft"), ("demo", "init", "sft"), strict=True):
        outcome = rng.choice(len(laws[law]), size=(prompts, draws[law]), p=laws[law]).ravel()
        place = pd.MultiIndex.from_product([range(prompts), range(draws[law])]).to_frame(index=False)
        frames.append(
            pd.DataFrame({"prompt_id": place[0].map("p{}".format), "draw": place[1], "outcome": outcome})
            .assign(source=source, n_tokens=3, n_stray=0, value=np.nan)
            .assign(text=[f"a {each}" for each in outcome])
        )
    rows = pd.concat(frames, ignore_index=True)
    columns = {"logprob_demo": "demo", "logprob_pi_init": "init", "logprob_pi_sft": "sft"}
    return rows.assign(**{name: np.log(laws[law])[rows["outcome"]] for name, law in columns.items()})


@pytest.fixture(scope="module")
def laws():
    """Three laws over 400 responses; pi_SFT's lies between the others."""
    rng = np.random.default_rng(1)
    demo, init = (np.exp(2.0 * rng.standard_normal(400)) for _ in range(2))
    between = (demo * init) ** 0.5
    return {name: law / law.sum() for name, law in (("demo", demo), ("init", init), ("sft", between))}


def highest(law, mass=0.9):
    """The least log-probability in the highest-probability set."""
    ranked = np.sort(law)[::-1]
    return float(np.log(ranked[np.searchsorted(ranked.cumsum(), mass)]))


def sets(laws, prompts):
    names = [f"p{number}" for number in range(prompts)]
    return pd.DataFrame({"prompt_id": names, "without_stray": False, "threshold": highest(laws["demo"])})


@pytest.mark.parametrize("policy, law", [("pi_init", "init"), ("pi_sft", "sft")])
def test_estimates_agree_with_enumeration(laws, policy, law):
    demo, own = laws["demo"], laws[law]
    exact = {
        "forward_kl": demo @ np.log(demo / own),
        "reverse_kl": own @ np.log(own / demo),
        "coverage": demo @ (own >= demo / FACTOR),
        "precision": own @ (np.log(demo) >= highest(demo) - 1e-9),
    }
    table = drawn(laws, prompts=40, draws={"demo": 300, "init": 300, "sft": 300})
    result = policy_coverage(table, thresholds=sets(laws, 40), policy=policy, **NAMED)
    assert set(result["metric"]) == set(MEASURED)
    for metric, values in result[result["metric"].isin(exact)].groupby("metric")["value"]:
        error = values.std() / np.sqrt(len(values))
        assert abs(values.mean() - exact[metric]) < 4 * error < 0.2, metric
    assert abs(exact["forward_kl"] - exact["reverse_kl"]) > 0.05, "a swap of directions would be seen"


def best_of(laws, score, *, prompts=120, draws=POOL, seed=2):
    """Means of OF_BEST over many pools, and their standard errors."""
    table = drawn(laws, prompts=prompts, draws={"demo": 30, "init": 2, "sft": draws}, seed=seed)
    scores = table[["prompt_id", "source", "draw"]].assign(scorer="rule", reward=score[table["outcome"]])
    own = scores[scores["source"] != "pi_init"]
    result = best_of_n_coverage(table, own, thresholds=sets(laws, prompts), n=N, **NAMED)
    assert set(result["policy"]) == {"best_of_16_rule"} and set(result["metric"]) == set(OF_BEST)
    values = result.groupby("metric")["value"]
    return values.mean(), values.std() / np.sqrt(prompts)


def exact_best_of(laws, score):
    demo, best = laws["demo"], law_of_best(law=laws["sft"], scores=score, n=N).numpy()
    return {
        "forward_kl": demo @ np.log(demo / best),
        "reverse_kl": float(np.sum(best[best > 0] * np.log(best[best > 0] / demo[best > 0]))),
        "coverage": demo @ (best >= demo / FACTOR),
        "precision": best @ (np.log(demo) >= highest(demo) - 1e-9),
    }


RULES = {
    "the exact discriminator": lambda laws: np.log(laws["demo"] / laws["sft"]),
    "one that knows nothing": lambda laws: np.random.default_rng(9).permutation(400).astype(float),
    "one of few scores": lambda laws: np.round(np.log(laws["demo"] / laws["sft"])),
}


@pytest.mark.parametrize("rule", RULES)
def test_best_of_n_against_its_exact_law(laws, rule):
    """Precision is unbiased; both KLs are off by a tenth of a nat or less, where many draws repeat."""
    score = RULES[rule](laws)
    means, errors = best_of(laws, score)
    for metric, exact in exact_best_of(laws, score).items():
        slack = 0.1 if metric.endswith("kl") else 0.02 if metric == "coverage" else 0.0
        assert abs(means[metric] - exact) < slack + 4 * errors[metric] < 0.2 + 0.2 * exact, metric


def test_weights_without_repeats_are_biased_as_the_module_says_and_less_on_larger_pools():
    """For texts that score as the pool does: over all ranks, against what Best-of-n adds to the KL."""
    exact = N - 1 - np.log(N)
    for size, bias in ((POOL, 0.29), (256, 0.07)):
        between = np.arange(size + 1) - 0.5
        adds = -log_weights(between, pool=np.arange(size, dtype=float), n=N).mean()
        assert exact - adds == pytest.approx(bias, abs=0.01)
    lowest = log_weights(np.array([-1.0]), pool=np.arange(POOL, dtype=float), n=N)[0]
    assert lowest == pytest.approx((1 - N) * np.log(POOL + 1))
    assert log_weights(np.zeros(1), pool=np.zeros(5), n=N)[0] == 0, "where all tie, nothing is picked"


def test_weights_are_a_density_of_the_pool():
    scores = np.repeat(np.arange(6.0), [3, 1, 4, 1, 5, 9])
    law = np.full(len(scores), 1 / len(scores))
    rest = np.delete(scores, 7)
    weight = log_weights(scores[7:8], pool=rest, n=N)  # the draw among its own pool
    best = law_of_best(law=law, scores=scores, n=N).numpy()
    assert weight[0] == pytest.approx(np.log(best[7] / law[7]))
    assert kl_of_best(law=law, scores=scores, n=N) > 0


def test_thresholds_are_of_a_prompts_own_demonstrations():
    table = pd.DataFrame({"prompt_id": ["p"] * 10 + ["q"], "source": "demonstrations",
                          "logprob_demo": [*range(10), 5.0]})  # fmt: skip
    sets = model_thresholds(table).set_index("prompt_id")
    assert sets["threshold"].to_dict() == {"p": 1.0, "q": 5.0} and sets["n"].to_dict() == {"p": 10, "q": 1}
    with pytest.raises(DataError, match="holds no demonstrations"):
        model_thresholds(table.assign(source="pi_sft"))


def test_a_law_against_itself_is_nought_and_told_apart_by_nothing(laws):
    same = dict.fromkeys(("demo", "init", "sft"), laws["demo"])
    table = drawn(same, prompts=3, draws={"demo": 5, "init": 5, "sft": 20})
    result = policy_coverage(table, thresholds=model_thresholds(table), policy="pi_init", **NAMED)
    assert (result.loc[result["metric"].isin(["forward_kl", "reverse_kl"]), "value"] == 0).all()
    scores = exact_logits(table)
    assert set(scores["scorer"]) == set(EXACT_LOGITS) and (scores["reward"] == 0).all()


def test_a_rule_that_lacks_texts_is_named(laws):
    table = drawn(laws, prompts=2, draws={"demo": 3, "init": 1, "sft": 20})
    scores = exact_logits(table).query("source == 'pi_sft'")
    with pytest.raises(DataError, match="'exact_logit' lacks 6 texts"):
        best_of_n_coverage(table, scores, thresholds=sets(laws, 2), n=N, **NAMED)


def test_the_summary_has_an_interval_over_prompts(laws):
    table = drawn(laws, prompts=12, draws={"demo": 8, "init": 8, "sft": 20})
    result = policy_coverage(table, thresholds=model_thresholds(table), policy="pi_sft", **NAMED)
    means = summary(result, np.random.default_rng(0)).set_index("judge")
    row = means.loc["forward_kl"]
    own = result.loc[result["metric"] == "forward_kl", "value"]
    assert row["low"] < row["mean"] == pytest.approx(own.mean()) and row["mean"] < row["high"]
    assert row["method"] == "pi_sft" and row["n"] == 1 and row["n_prompts"] == 12
