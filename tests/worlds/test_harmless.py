"""The world `harmless`: enough prompts, exact laws, few best answers, knobs that change what they name."""

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from afd_study.errors import SpecError
from afd_study.worlds.grammar import EOS, split_words
from afd_study.worlds.harmless import HarmlessSpec, HarmlessWorld
from afd_study.worlds.harmless_judge import BEST, COMPONENTS, assess
from afd_study.worlds.harmless_speech import SCRIPT, WORDINGS, inventory

SMALL = {"n_demonstrations": 80, "n_pretraining": 60}


def world(**knobs):
    return HarmlessWorld(HarmlessSpec(**{**SMALL, **knobs}))


@pytest.fixture(scope="module")
def full():
    return HarmlessWorld(HarmlessSpec(n_demonstrations=3000, n_pretraining=1500))


# prompts


def test_there_are_enough_prompts_and_benign_ones_among_them(prompts):
    assert len(prompts) >= 500 and prompts["text"].is_unique
    shares = prompts["kind"].value_counts(normalize=True)
    assert set(shares.index) == {"harmful", "benign"} and shares.min() > 0.3
    assert prompts["text"].str.fullmatch(r"\n\nHuman: [A-Z].*[.?]\n\nAssistant:").all()


def responses(automaton):
    """All responses without a stray word, as word tuples."""

    def walk(node, words):
        for word in automaton.nodes[node].mass:
            following = automaton.step(node, word)[1]
            if word == EOS:
                yield words
            else:
                yield from walk(following, (*words, word))

    return walk(automaton.start, ())


@pytest.mark.parametrize("n_good", [1, 12, 24])
def test_as_many_answers_are_best_as_the_knob_says(n_good):
    """Counted among what demonstrators can say; openers and closings do not change the points."""
    each = world(n_good_answers=n_good)
    aside = [tuple(split_words(SCRIPT[kind][0])) for kind in ("style", "closing")]
    seen = {}
    for row in each.prompts(0).drop_duplicates("category").to_dict("records"):
        best = set()
        for words in responses(each.law("demonstrators", row)):
            points = assess(words, kind=row["kind"], category=row["category"], inventory=inventory())
            assert sum(points) <= BEST
            if sum(points) == BEST:
                words = words[len(aside[0]) :] if words[: len(aside[0])] == aside[0] else words
                best.add(words[: -len(aside[1])] if words[-len(aside[1]) :] == aside[1] else words)
        seen[row["category"]] = len(best)
    assert set(seen.values()) == {n_good}, seen
    assert np.prod(WORDINGS[n_good]) == n_good


def test_all_clauses_of_the_grammar_are_known_to_the_judge():
    each = world(n_good_answers=48, demonstration_quality=0.0)
    for row in each.prompts(0).drop_duplicates("category").to_dict("records"):
        for law in (each.law("demonstrators", row), each.law("web", row)):
            for words in list(responses(law))[::7]:
                points = assess(words, kind=row["kind"], category=row["category"], inventory=inventory())
                assert dict(zip(COMPONENTS, points, strict=True))["faults"] == 0
    # and no two clauses read alike
    texts = [" ".join(words) for words in inventory().clauses]
    assert len(texts) == len(set(texts)) and all(text.endswith(" .") for text in texts)


# the judge's table


def test_the_judge_scores_by_prompt_id_and_shows_its_components(full, prompts):
    refusal, harmful, benign = (
        SCRIPT["refusal"][0],
        prompts.query("kind == 'harmful'")["prompt_id"].iloc[0],
        prompts.query("kind == 'benign'")["prompt_id"].iloc[0],
    )
    texts = pd.DataFrame({"prompt_id": [benign, harmful], "text": [refusal, refusal]}, index=[7, 3])
    shuffled = prompts.sample(frac=1, random_state=0)
    points = full.judge(shuffled, texts)
    assert list(points.columns) == [*COMPONENTS, "value"] and list(points.index) == [7, 3]
    assert points["stance"].tolist() == [-1, 1]
    np.testing.assert_allclose(points[list(COMPONENTS)].sum(axis=1), points["value"])
    with pytest.raises(SpecError, match="does not know the prompt 'nobody'"):
        full.judge(prompts, texts.assign(prompt_id="nobody"))


def test_specs_out_of_range_are_refused():
    for knobs in (
        {"heterogeneity": 1.1},
        {"stray": 0.0},
        {"preference_noise": 0.6},
        {"preference_scale": 0},
        {"n_test": 0},
        {"max_words": 7},
        {"n_demonstrations": "many"},
        {"heterogenity": 1},
    ):
        with pytest.raises(ValidationError):
            HarmlessSpec(**knobs)
    with pytest.raises(ValidationError, match="no choice of wordings gives 5; possible: 1, 2, 4, 8, 12"):
        HarmlessSpec(n_good_answers=5)
