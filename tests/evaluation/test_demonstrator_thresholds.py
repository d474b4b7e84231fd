"""Thresholds: a quantile of exact draws, beyond which the demonstrators' likeliest answers lie."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest

from afd_study.errors import SpecError
from afd_study.evaluation.coverage import SAME
from afd_study.evaluation.demonstrator_thresholds import MASS, demonstrator_thresholds, threshold
from afd_study.theory import fits
from afd_study.worlds.controlled import open_world
from afd_study.worlds.grammar import EOS, Arc, compile_grammar
from afd_study.worlds.harmless import HarmlessSpec
from afd_study.worlds.helpful import HelpfulSpec
from afd_study.worlds.law_measures import likeliest

HORIZON = 40
SPECS = {"harmless": HarmlessSpec, "helpful": HelpfulSpec}
WORDS = (EOS, "a", "b", "c", ".")


def build(family, variant=None, **knobs):
    return open_world(SPECS[family](variant=variant, **knobs).model_dump())


def every_response(words, horizon):
    """All responses of at most `horizon` words: ended, or cut there."""
    for length in range(horizon):
        yield from ((*body, EOS) for body in itertools.product(words[1:], repeat=length))
    yield from itertools.product(words[1:], repeat=horizon)


def of_kinds(world, n=2):
    """One prompt of each of the first kinds of request."""
    return world.prompts(0).drop_duplicates(list(world.CONDITIONS)).head(n)


def test_the_threshold_of_draws_is_that_of_the_enumerated_set():
    """Of a law small enough to list: the same set, which holds the likeliest response and is one-sided."""
    grammar = {
        "start": [Arc(5, ("a", "."), "more"), Arc(3, ("b", "."), "more"), Arc(1, ("c", "."), "more")],
        "more": [Arc(2, (EOS,), None), Arc(1, ("a", "."), "more")],
    }
    law, horizon, n = compile_grammar(grammar, start="start", alphabet=WORDS, stray=0.05), 5, 40_000
    every = list(every_response(WORDS, horizon))
    logprobs = np.array([law.logprobs(words).sum() for words in every])
    mask = fits.highest_probability_set(law=np.exp(logprobs)).numpy()
    rng = np.random.default_rng(0)
    draws = np.array([law.logprobs(law.sample(rng, horizon)).sum() for _ in range(n)])
    least = threshold(draws)
    within = logprobs >= least - SAME
    # a set by threshold takes all that are equally likely, and its edge is known up to sampling error
    mass = np.exp(logprobs) @ within
    edge = np.exp(logprobs) @ (np.abs(logprobs - least) < SAME)
    error = 4 * math.sqrt(MASS * (1 - MASS) / n)
    assert MASS - error <= mass <= MASS + edge + error
    assert np.exp(logprobs) @ (within != mask) <= edge + error
    mode = np.eye(len(every))[logprobs.argmax()]
    assert mode @ within == 1 and fits.precision(demo=np.exp(logprobs), policy=mode).item() == 1


def test_a_threshold_is_the_greatest_value_that_nine_tenths_of_the_draws_reach():
    assert [threshold(-np.arange(n, dtype=float)) for n in (1, 9, 10, 11, 20)] == [0, -8, -8, -9, -17]
    assert threshold(np.array([-1.0, -1.0, -5.0])) == -5


@pytest.mark.parametrize("family, variant", [("harmless", None), ("harmless", 101), ("helpful", 100)])
def test_the_likeliest_answer_is_in_the_set_and_demonstrations_are_in_nine_of_ten(family, variant):
    """Also in a world whose web does not end (harmless, 101)."""
    world, n = build(family, variant), 2000
    prompts = of_kinds(world)
    table = demonstrator_thresholds(world, prompts, seed=0, draws=n, max_words=HORIZON)
    table = table.set_index(["prompt_id", "without_stray"])
    rng, inside = np.random.default_rng(9), {False: [], True: []}
    for prompt in prompts.to_dict("records"):
        law = world.law("demonstrators", prompt)
        [(mode, logprob)] = likeliest(law, 1)
        responses = [law.sample(rng, HORIZON) for _ in range(n)]
        for without_stray, found in inside.items():
            least = table.loc[(prompt["prompt_id"], without_stray), "threshold"]
            assert logprob >= least and law.n_stray(mode) == 0
            counted = [words for words in responses if not (without_stray and law.n_stray(words))]
            found += [law.logprobs(words).sum() >= least - SAME for words in counted]
    for without_stray, found in inside.items():
        error = math.sqrt(2 * MASS * (1 - MASS) / len(found))  # of this share, and of the thresholds
        assert abs(np.mean(found) - MASS) < 4 * error, without_stray


def test_prompts_of_one_kind_share_a_threshold_and_errors_follow_from_the_counts():
    world = build("harmless")
    prompts = world.prompts(0).head(60)
    table = demonstrator_thresholds(world, prompts, seed=3, draws=50, max_words=HORIZON)
    assert len(table) == 120 and set(table["prompt_id"]) == set(prompts["prompt_id"])
    both = table.merge(prompts[["prompt_id", *world.CONDITIONS]], on="prompt_id")
    assert (both.groupby([*world.CONDITIONS, "without_stray"])["threshold"].nunique() == 1).all()
    assert (table.loc[~table["without_stray"], "n"] == 50).all()
    assert (table.loc[table["without_stray"], "n"] < 50).any()
    assert table["mass_error"].to_numpy() == pytest.approx(np.sqrt(0.09 / table["n"].to_numpy()))
    # most of the least likely demonstrations have a stray word
    by_set = table.groupby("without_stray")["threshold"].mean()
    assert by_set[True] > by_set[False] + 1


def test_thresholds_repeat_with_their_seed():
    world = build("harmless")

    def made(seed, prompts):
        return demonstrator_thresholds(world, prompts, seed=seed, draws=40, max_words=HORIZON)

    prompts = of_kinds(world, 3)
    pd.testing.assert_frame_equal(made(1, prompts), made(1, prompts))
    assert not made(1, prompts)["threshold"].equals(made(2, prompts)["threshold"])
    turned = made(1, prompts.iloc[::-1]).sort_values(["prompt_id", "without_stray"], ignore_index=True)
    pd.testing.assert_frame_equal(
        turned, made(1, prompts).sort_values(["prompt_id", "without_stray"], ignore_index=True)
    )


def test_where_every_demonstration_has_a_stray_word_there_is_no_second_set():
    world = build("harmless", stray=0.9)
    table = demonstrator_thresholds(world, of_kinds(world), seed=0, draws=20, max_words=HORIZON)
    assert not table["without_stray"].any() and len(table) == 2
    with pytest.raises(SpecError, match="draws = 0 must be 1 or more"):
        demonstrator_thresholds(world, of_kinds(world), seed=0, draws=0, max_words=HORIZON)
