"""Covering and seeking: by hand on small tables, and by enumeration on a world small enough for it."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.special import comb

from afd_study.errors import AfdError, DataError
from afd_study.evaluation.coverage import METRICS, at_equal_length, coverage, distinct_good
from afd_study.methods.sft import fine_tune
from afd_study.models.batches import Example
from afd_study.models.decoding import Request, sample
from afd_study.models.policy import from_scratch
from afd_study.models.scoring import sequence_logprobs
from afd_study.models.specs import ModelSpec, TrainingSpec
from afd_study.models.tokenizers import word_tokenizer
from afd_study.theory import fits
from afd_study.worlds.grammar import EOS, Arc, compile_grammar

OF_LENGTHS = {"precision_at_equal_length", "good_share_at_equal_length", "equal_length_share"}
NAMED = {"task": "harmless", "seed": 3, "policy": "pi_sft", "good": 1.5}


def row(source, draw, text, logprob, logprob_demo, *, n_stray=0, value=2.0, n_tokens=3, prompt="p"):
    named = {"prompt_id": prompt, "source": source, "draw": draw, "text": text, "n_tokens": n_tokens}
    return named | {"logprob": logprob, "logprob_demo": logprob_demo, "n_stray": n_stray, "value": value}


def thresholds(least=-2.5, least_without_stray=-2.0, *, prompts=("p", "q")):
    """Table `demonstrator_thresholds` with the same two thresholds for every prompt."""
    rows = [(name, False, least) for name in prompts] + [
        (name, True, least_without_stray) for name in prompts
    ]
    return pd.DataFrame(rows, columns=["prompt_id", "without_stray", "threshold"])


@pytest.fixture
def table():
    return pd.DataFrame(
        [
            row("pi_sft", 0, "a b c", -1.0, -3.0, n_tokens=4),
            row("pi_sft", 1, "a b d", -2.0, -9.0, n_stray=2, value=0.5, n_tokens=6),
            row("pi_sft", 9, "a b e", -3.0, -2.2, value=0.5, n_tokens=5),
            row("demonstrations", 0, "a b c", -2.0, -1.0),
            row("demonstrations", 1, "x y", -9.0, -1.0, n_stray=1, n_tokens=5),
            row("demonstrations", 2, "z", -8.0, -2.0, value=0.0),
        ]
    )


def means(table, **named):
    result = coverage(table, **({"thresholds": thresholds()} | NAMED | named))
    return result.groupby("metric")["value"].mean().to_dict()


def test_the_metrics_by_hand(table):
    expected = {
        "held_out_nll": (2 + 9 + 8) / 3,
        "forward_kl": (1 + 8 + 6) / 3,
        "reverse_kl": (2 + 7 - 0.8) / 3,
        "reverse_kl_stray": 7 / 3,
        "stray_share": 1 / 3,
        "coverage": 1 / 3,
        "coverage_without_stray": 1 / 2,
        "coverage_of_good": 1 / 2,
        "precision": 1 / 3,
        "precision_without_stray": 0.0,
        "good_share": 1 / 3,
        "good_share_without_stray": 1 / 2,
        "demonstration_precision": 1.0,
        "demonstration_good_share": 2 / 3,
        "entropy": 2.0,
        "length": 5.0,
        "demonstration_length": 11 / 3,
        "self_similarity": 1 / 3,
    }
    assert means(table) == pytest.approx(expected)
    assert set(expected) == set(METRICS) - OF_LENGTHS


def test_a_tenth_of_the_probability_is_where_coverage_begins(table):
    for logprob, covered in ((-1 - np.log(10) + 1e-9, 2 / 3), (-1 - np.log(10) - 1e-9, 1 / 3)):
        moved = table.assign(logprob=table["logprob"].where(table["text"] != "x y", logprob))
        assert means(moved)["coverage"] == pytest.approx(covered)


@pytest.mark.parametrize(
    "metric, threshold, share",
    [("precision", "least", (0, 1 / 3)), ("precision_without_stray", "least_without_stray", (0, 1 / 2))],
)
def test_precision_counts_from_the_threshold_on(table, metric, threshold, share):
    """Also where another order of the same sum has moved the last digits."""
    for least, expected in zip((-2.2 + 1e-6, -2.2 + 1e-12), share, strict=True):
        found = means(table, thresholds=thresholds(**{threshold: least}))
        assert found[metric] == pytest.approx(expected)


def test_what_is_not_defined_at_a_prompt_has_no_row_there(table):
    strange = table.assign(prompt_id="q", value=0.0, n_stray=1)
    both = pd.concat([table, strange], ignore_index=True)
    result = coverage(both, thresholds=thresholds(), **NAMED).set_index(["metric", "prompt_id"])["value"]
    undefined = {name for name, prompt in result.index if prompt == "p"}
    undefined -= {name for name, prompt in result.index if prompt == "q"}
    without_stray = ("coverage", "precision", "good_share")
    assert undefined == {"coverage_of_good", *(f"{name}_without_stray" for name in without_stray)}
    unknown = thresholds().query("not without_stray or prompt_id == 'q'")  # of p's clean demonstrations
    assert "precision_without_stray" not in means(table, thresholds=unknown)


def test_a_prompt_without_a_threshold_is_named(table):
    with pytest.raises(DataError, match="lacks the prompt 'p'"):
        means(table, thresholds=thresholds(prompts=("q",)))
    with pytest.raises(DataError, match="without_stray"):
        means(table, thresholds=thresholds().drop(columns="without_stray"))


def test_distinct_good_answers_by_hand():
    texts = ["a", "a", "a", "b", "c", "bad"]
    draws = [
        row("pi_sft", i, text, -1.0, -1.0, value=0 if text == "bad" else 2) for i, text in enumerate(texts)
    ]
    table = pd.DataFrame([*draws, row("demonstrations", 0, "a", -1, -1)])
    result = (
        distinct_good(table, **NAMED, counts=(1, 2, 6, 9)).query("source == 'pi_sft'").set_index("k")["value"]
    )
    assert result[1] == pytest.approx(5 / 6)
    by_hand = [len(set(kept) - {"bad"}) for kept in itertools.combinations(texts, 2)]
    assert (
        result[2]
        == pytest.approx(np.mean(by_hand))
        == pytest.approx(3 - comb(3, 2) / 15 - 2 * comb(5, 2) / 15)
    )
    assert result[6] == pytest.approx(3) and 9 not in result.index  # more draws than there are


BAD = {
    "a log-probability that is no number": (lambda t: t.assign(logprob=np.nan), "draw 0 of prompt 'p'"),
    "no mass": (lambda t: t.assign(logprob_demo=-np.inf), "must give every response some probability"),
    "no demonstrations": (lambda t: t[t["source"] == "pi_sft"], "holds no demonstrations"),
    "a missing column": (lambda t: t.drop(columns="n_stray"), "n_stray"),
    "another policy": (lambda t: t.replace({"source": {"pi_sft": "pi_rl"}}), "'pi_sft'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_tables_are_refused_by_name(case, table):
    damage, message = BAD[case]
    with pytest.raises(AfdError, match=message):
        coverage(damage(table), thresholds=thresholds(), **NAMED)


def test_the_order_of_rows_does_not_matter(table):
    shuffled = table.sample(frac=1, random_state=5)
    assert means(shuffled) == pytest.approx(means(table))
    with pytest.raises(DataError):
        coverage(table.assign(value=np.inf), thresholds=thresholds(), **NAMED)


# by enumeration

WORDS = ("no", "yes", "sir", ".")
HORIZON = 4


@pytest.fixture(scope="module")
def small_world():
    """A law over 5 words and 4 steps, a policy fitted to its draws, and all sequences with both laws."""
    grammar = {
        "opening": [
            Arc(0.6, ("no", "."), "over"),
            Arc(0.3, ("yes", "sir"), "over"),
            Arc(0.1, ("sir",), "opening"),
        ],
        "over": [Arc(1.0, (EOS,), None)],
    }
    law = compile_grammar(grammar, start="opening", alphabet=(EOS, *WORDS), stray=0.004)
    tokenizer = word_tokenizer(WORDS)
    spec = ModelSpec(config={"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 16})
    lm, prompt = from_scratch(spec, tokenizer, 0), tuple(tokenizer.convert_tokens_to_ids(["sir"]))
    rng = np.random.default_rng(0)

    def example(words):
        return Example((*prompt, *tokenizer.convert_tokens_to_ids(list(words))), len(prompt))

    return law, tokenizer, lm, prompt, example, [law.sample(rng, HORIZON) for _ in range(4600)]


def sequences():
    """Every response: cut behind its first end mark, or at the horizon."""
    for words in itertools.product((EOS, *WORDS), repeat=HORIZON):
        cut = words[: words.index(EOS) + 1] if EOS in words else words
        if cut == words or (cut[-1] == EOS and all(word == EOS for word in words[len(cut) :])):
            yield cut


def test_kl_of_sft_estimated_by_sampling_agrees_with_enumeration(small_world, tmp_path):
    law, tokenizer, lm, prompt, example, draws = small_world
    training = TrainingSpec(
        steps=30, batch_size=32, learning_rate=2e-2, evaluate_every=60, checkpoint_every=60
    )
    examples = [example(words) for words in draws[:600]]
    lm, _ = fine_tune(
        lm, examples[:500], validation=examples[500:], training=training, seed=0, workspace=tmp_path
    )
    every = list(dict.fromkeys(sequences()))
    policy = sequence_logprobs(lm, [example(words) for words in every])
    demo = np.array([law.logprobs(words).sum() for words in every])
    assert np.exp(policy).sum() == pytest.approx(1, abs=1e-4) and np.exp(demo).sum() == pytest.approx(1)
    exact = {
        "forward_kl": float(np.exp(demo) @ (demo - policy)),
        "reverse_kl": float(np.exp(policy) @ (policy - demo)),
        "entropy": float(-np.exp(policy) @ policy),
    }
    good = {words for words in every if "no" in words}
    exact["good_share"] = float(np.exp(policy) @ [words in good for words in every])
    likely = fits.highest_probability_set(law=np.exp(demo)).numpy()
    exact["precision"] = float(np.exp(policy) @ likely)
    exact["coverage"] = float(np.exp(demo) @ (policy >= demo - np.log(10)))
    requests = [Request("p", prompt, draw) for draw in range(4000)]
    samples = sample(lm, requests, seed=1, eos_id=tokenizer.eos_token_id, max_new_tokens=HORIZON)
    answers = [tuple(tokenizer.convert_ids_to_tokens(list(each.ids))) for each in samples]
    place = {words: i for i, words in enumerate(every)}
    texts = {"pi_sft": answers, "demonstrations": [*map(tuple, draws[600:])]}
    rows = [
        row(source, draw, " ".join(words), policy[i], demo[i], value=2.0 * (words in good))
        for source, drawn_texts in texts.items()
        for draw, (words, i) in enumerate((words, place[words]) for words in drawn_texts)
    ]
    again = [policy[place[words]] for words in answers]
    assert [each.logprob for each in samples] == pytest.approx(again, abs=1e-3)
    result = means(pd.DataFrame(rows), thresholds=thresholds(demo[likely].min()))
    ratio = policy - demo
    spread = {
        "forward_kl": np.exp(demo) @ ratio**2 - exact["forward_kl"] ** 2,
        "reverse_kl": np.exp(policy) @ ratio**2 - exact["reverse_kl"] ** 2,
        "entropy": np.exp(policy) @ policy**2 - exact["entropy"] ** 2,
    }
    spread |= {name: exact[name] * (1 - exact[name]) for name in ("good_share", "precision", "coverage")}
    for name, value in exact.items():
        assert abs(result[name] - value) < 4 * np.sqrt(spread[name] / 4000), (name, result[name], value)
    # the two directions differ by more than the errors allowed: a swap would be seen
    apart = abs(exact["forward_kl"] - exact["reverse_kl"])
    assert apart > 4 * np.sqrt(max(spread["forward_kl"], spread["reverse_kl"]) / 4000), exact


def test_shares_at_equal_length_by_hand():
    """A rival that is better at every length and shorter, and one that only is shorter."""

    def policy(name, counts):
        rows = [
            row(name, draw, "a", -1.0, -1.0 - draw, n_tokens=tokens, value=2.0 if draw < good else 0.0)
            for tokens, (size, good) in counts.items()
            for draw in range(size)
        ]
        return pd.DataFrame([*rows, row("demonstrations", 0, "a", -1.0, -1.0)])

    tables = {
        "pi_sft": policy("pi_sft", {3: (20, 16), 9: (60, 12), 30: (20, 0)}),
        "shorter": policy("shorter", {3: (200, 160), 9: (20, 4), 30: (19, 19)}),  # too few at 30
        "better": policy("better", {3: (50, 50), 9: (50, 50)}),
        "elsewhere": policy("elsewhere", {4: (90, 90)}),
    }
    named = {"task": "harmless", "seed": 0, "reference": "pi_sft", "rival": "shorter", "good": 1.5}
    result = at_equal_length(tables, thresholds=thresholds(-10.0), **named)
    by_policy = result.pivot(index="policy", columns="metric", values="value")
    assert set(by_policy.index) == {"pi_sft", "shorter", "better"}, "nothing in common, nothing to compare"
    good = by_policy["good_share_at_equal_length"]
    assert good["shorter"] == pytest.approx((20 * 0.8 + 60 * 0.2) / 80)
    assert good["pi_sft"] == pytest.approx((16 + 12) / 80) and good["better"] == 1
    # ten draws of each length are likely enough
    precise = by_policy["precision_at_equal_length"]
    assert precise["shorter"] == pytest.approx((20 * 10 / 200 + 60 * 10 / 20) / 80)
    assert precise["pi_sft"] == pytest.approx((10 + 10) / 80) and precise["better"] == pytest.approx(0.2)
    assert (by_policy["equal_length_share"] == 0.8).all()
