"""What holds of drawn worlds: a balanced design, draws within their priors, exact laws, true strata."""

import itertools
import subprocess
import sys
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from afd_study.errors import SpecError
from afd_study.models.tokenizers import encode, word_tokenizer
from afd_study.worlds import harmless_variants, helpful_variants, variants
from afd_study.worlds.controlled import DEPENDS, GOOD
from afd_study.worlds.grammar import EOS, split_words
from afd_study.worlds.harmless import HarmlessSpec, HarmlessWorld
from afd_study.worlds.helpful import HelpfulSpec, HelpfulWorld
from afd_study.worlds.law_measures import extent, likeliest
from afd_study.worlds.speech import SIGNS, voices_of
from afd_study.worlds.variants import Draws, cell, numbers, priors

WORLDS = {"harmless": (HarmlessWorld, HarmlessSpec), "helpful": (HelpfulWorld, HelpfulSpec)}
TRAITS = {"harmless": harmless_variants.traits, "helpful": helpful_variants.traits}
TWENTY = [*numbers("exploration")][:20]
BOTH = [(family, variant) for family in WORLDS for variant in TWENTY]


def build(family, variant, **knobs):
    kind, spec = WORLDS[family]
    return kind(spec(variant=variant, **{"n_demonstrations": 60, "n_pretraining": 30, **knobs}))


def requests(world, n=None):
    """Kinds of requests, or n of them that lie apart."""
    kinds = world.requests()[list(world.CONDITIONS)].drop_duplicates().to_dict("records")
    return kinds[:: max(1, len(kinds) // n)][:n] if n else kinds


# the design


@pytest.mark.parametrize("family", WORLDS)
def test_every_block_has_every_cell_three_times_in_an_order_of_its_own(family):
    judging, exploration = numbers("judging"), numbers("exploration")
    assert (len(judging), len(exploration)) == (24, 120) and not set(judging) & set(exploration)
    blocks = [[*judging], *(list(exploration[i : i + 24]) for i in range(0, 120, 24))]
    orders = [[cell(family, variant)[1:] for variant in block] for block in blocks]
    every = dict.fromkeys(itertools.product((1, 2), (True, False), (True, False)), 3)
    assert all(Counter(order) == every for order in orders)
    assert len(set(map(tuple, orders))) == len(orders)
    assert {cell(family, variant).role for variant in judging} == {"judging"}
    assert {cell(family, variant).role for variant in exploration} == {"exploration"}


def test_families_have_orders_of_their_own():
    orders = [[cell(family, variant) for variant in numbers("judging")] for family in WORLDS]
    assert orders[0] != orders[1]


@pytest.mark.parametrize("variant", [24, 99, 220, -1])
def test_a_number_outside_the_design_is_refused(variant):
    with pytest.raises(SpecError, match=r"no variant -?\d+: there are 0 to 23 \(judging\) and 100 to 219"):
        cell("harmless", variant)
    with pytest.raises(SpecError, match="no variant"):
        TRAITS["helpful"](variant)


def test_an_unknown_family_is_named():
    with pytest.raises(
        SpecError, match="unknown family of world variants 'helpfull': did you mean 'helpful'"
    ):
        cell("helpfull", 0)


# priors


def leaves(table, path=()):
    if isinstance(table, dict) and not {"one_of", "likely_good"} & set(table):
        for name, inner in table.items():
            yield from leaves(inner, (*path, name))
    else:
        yield ".".join(path), table


def options(prior, likely_good):
    if isinstance(prior, dict) and "likely_good" in prior:
        prior = prior["likely_good" if likely_good else "else"]
    return prior


@pytest.mark.parametrize("family, variant", BOTH)
def test_every_trait_lies_within_its_prior(family, variant):
    draws = Draws(family, variant)
    for trait, prior in [*leaves(priors()["every_family"]), *leaves(priors()[family])]:
        allowed, value = options(prior, draws.cell.likely_good), draws.value(trait)
        if isinstance(allowed, dict):
            assert value in allowed["one_of"], trait
        else:
            assert allowed[0] <= value <= allowed[1], trait


@pytest.mark.parametrize("family", WORLDS)
def test_traits_are_drawn_over_their_whole_range(family):
    for trait, prior in leaves(priors()[family]):
        if isinstance(prior, list):
            low, high = prior
            drawn = np.array([Draws(family, v).value(trait) for v in numbers("exploration")])
            assert drawn.min() < low + (high - low) / 5 and drawn.max() > high - (high - low) / 5, trait


def test_draws_stay_as_they_are():
    """A change of these is another set of worlds: what was run in the old ones is lost."""
    assert [cell("harmless", v)[1:] for v in (0, 100)] == [(2, True, True), (2, True, True)]
    assert [cell("helpful", v)[1:] for v in (0, 100)] == [(1, False, False), (2, False, True)]
    assert [Draws("harmless", 100).value(trait) for trait in ("web.right", "evenness")] == [0.548, 0.236]
    assert [Draws("helpful", 100).value(trait) for trait in ("web.right", "evenness")] == [0.449, 0.797]


def test_a_further_trait_changes_no_other(monkeypatch):
    before = Draws("harmless", 7).group("web")
    table = {
        **priors(),
        "harmless": {**priors()["harmless"], "web": {"new": [0, 1], **priors()["harmless"]["web"]}},
    }
    monkeypatch.setattr(variants, "priors", lambda: table)
    after = Draws("harmless", 7).group("web")
    assert after.pop("new") is not None and after == before


def test_what_is_drawn_reaches_the_world():
    for family, variant in BOTH:
        draws, traits = Draws(family, variant), TRAITS[family](variant)
        assert traits.web.right == draws.value("web.right")
        assert traits.web.evenness == traits.demonstrators.evenness == draws.value("evenness")
        assert traits.demonstrators.right[0] == draws.value("demonstrators.right")
        assert traits.demonstrators.at(1.0, 0.1).right == pytest.approx(1)
        assert traits.judge.per_word == draws.value("judge.per_word")
        assert len(traits.marks) == draws.value("n_marks") and set(traits.marks) <= set(SIGNS)
        voices = voices_of(traits.script)
        assert len(voices) == draws.cell.kinds
        assert (traits.judge.voice < 0) == (traits.web.switch > 0) == (len(voices) == 2)


def test_a_best_answer_is_worth_the_same_in_all_worlds():
    for family, variant in BOTH:
        judge = TRAITS[family](variant).judge
        assert judge.best - 16 * abs(judge.per_word) == pytest.approx(2.25)
        assert judge.best > GOOD > 0 > judge.worst


# clauses


@pytest.mark.parametrize("family", WORLDS)
def test_two_variants_share_under_half_of_their_clauses(family):
    every = {
        v: set(TRAITS[family](v).inventory.clauses) for v in (*numbers("judging"), *numbers("exploration"))
    }
    shared = [len(a & b) / min(len(a), len(b)) for a, b in itertools.combinations(every.values(), 2)]
    assert max(shared) < 0.5 and np.mean(shared) < 0.25


@pytest.mark.parametrize("family, variant", BOTH)
def test_clauses_are_sentences_without_signs_and_two_voices_share_none(family, variant):
    inventory = TRAITS[family](variant).inventory
    for words in inventory.clauses:
        assert words[-1] == "." and words.count(".") == 1 and not set(words) & set(SIGNS)
    spoken = Counter(clause.voice for clause in inventory.clauses.values())
    assert set(spoken) - {None} == set(range(cell(family, variant).kinds))
    meanings = [
        {clause for clause in inventory.clauses.values() if clause.voice == voice}
        for voice in range(cell(family, variant).kinds)
    ]
    assert all(each == meanings[0] for each in meanings), "each voice has words for everything"


# laws


@pytest.mark.parametrize("family, variant", BOTH)
def test_laws_are_proper_and_samples_have_the_probability_that_is_enumerated(family, variant):
    world, rng = build(family, variant), np.random.default_rng(variant)
    for facts, who in zip(requests(world, 2), ("demonstrators", "web"), strict=True):
        law = world.law(who, facts)
        for node in law.nodes:
            assert sum(node.mass.values()) == pytest.approx(1, abs=1e-9) and min(node.mass.values()) > 0
        words = law.sample(rng, 24)
        steps = [np.log(law.law(words[:n])[world.alphabet.index(word)]) for n, word in enumerate(words)]
        np.testing.assert_allclose(law.logprobs(words), steps, atol=1e-9)
        other = world.law("web" if who == "demonstrators" else "demonstrators", facts)
        assert np.isfinite(other.logprobs(words)).all()
        assert law.law([word for word in words[:5] if word != EOS]).sum() == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("family, variant", [("harmless", 101), ("helpful", 100)])
def test_without_stray_words_the_demonstrators_law_sums_to_one_over_ended_responses(family, variant):
    world = build(family, variant, stray=1e-12)
    facts = requests(world)[0]
    assert extent(world.law("demonstrators", facts), 400).ends == pytest.approx(1, abs=1e-6)


# strata


@pytest.mark.parametrize("family, variant", [*BOTH, *((f, v) for f in WORLDS for v in numbers("judging"))])
def test_likely_answers_are_good_or_not_and_the_web_ends_or_not_as_the_design_says(family, variant):
    world, place = build(family, variant), cell(family, variant)
    kinds = requests(world, 2)
    for facts in kinds:
        [(words, logprob)] = likeliest(world.law("demonstrators", facts), 1)
        assert logprob > np.log(world.spec.stray / 100), "no response with a stray word is likelier"
        conditions = [facts[name] for name in world.CONDITIONS]
        assert (sum(world.assess(words[:-1], *conditions)) >= GOOD) == place.likely_good
    web, demo = (extent(world.law(who, kinds[-1]), 64) for who in ("web", "demonstrators"))
    assert (web.ends > 0.8) == place.web_ends and (web.ends > 0.8 or web.ends < 0.05)
    assert demo.ends > 0.95


@pytest.mark.parametrize("family, variant", [each for each in BOTH if cell(*each).kinds == 2][::3])
def test_two_kinds_of_good_answer_are_separated(family, variant):
    """Demonstrators give good answers in each voice, no clause stands in both, and a mixture costs."""
    world, rng = build(family, variant), np.random.default_rng(0)
    good = {0: set(), 1: set()}
    for facts in requests(world, 2) * 120:
        words = [w for w in world.law("demonstrators", facts).sample(rng, 64) if w != EOS]
        conditions = [facts[name] for name in world.CONDITIONS]
        if sum(world.assess(words, *conditions)) >= GOOD:
            said = [c for c in world.inventory().read(words).clauses if c.voice is not None]
            if len(voices := {clause.voice for clause in said}) == 1:
                good[voices.pop()].add(tuple(words))
    assert len(good[0]) > 10 and len(good[1]) > 10
    first, second = ([w for w, c in world.inventory().clauses.items() if c.voice == v] for v in (0, 1))
    facts = requests(world)[0]
    conditions = [facts[name] for name in world.CONDITIONS]
    mixed = dict(zip(world.components, world.assess([*first[0], *second[-1]], *conditions), strict=True))
    assert mixed["voice"] == world.traits.judge.voice < 0


# the judge, marks and edits


@pytest.mark.parametrize("family, variant", BOTH)
def test_the_judge_is_deterministic_and_bounded_on_any_words(family, variant):
    world, rng = build(family, variant), np.random.default_rng(variant)
    prompts = world.prompts(0)
    clauses = [" ".join(words) for words in world.inventory().clauses]
    texts = [" ".join(rng.choice(world.alphabet, size=rng.integers(0, 40))) for _ in range(20)]
    texts += [" ".join(rng.choice(clauses, size=rng.integers(1, 9))) for _ in range(40)]
    asked = prompts.sample(60, random_state=1)["prompt_id"].to_numpy()
    table = pd.DataFrame({"prompt_id": asked, "text": texts})
    points = world.judge(prompts, table)
    assert_frame_equal(points, build(family, variant).judge(prompts, table))
    judge = world.traits.judge
    assert points["value"].between(judge.worst - 1e-9, judge.best + 1e-9).all()
    np.testing.assert_allclose(points[list(world.components)].sum(axis=1), points["value"])
    assert list(points.columns) == [*world.components, "value"]


@pytest.mark.parametrize("family, variant", BOTH[::3])
def test_marks_stand_at_hs_share_alone_and_where_they_belong(family, variant):
    plain = build(family, variant, n_demonstrations=1200)
    table = plain.demonstrations(0)
    prompts, where = plain.prompts(0), plain.traits.mark_place
    assert not table["text"].str.contains("|".join(SIGNS)).any()
    for share in (0.0, 0.4, 1.0):
        texts = build(family, variant, heterogeneity=share).marked(table, 0)["text"]
        words = texts.map(split_words)
        signs = words.map(lambda each: [word for word in each if word in SIGNS])
        assert set(signs.map(len)) <= {0, 1} and set(signs.sum()) == set(plain.marks if share else ())
        has_sign = signs.map(len) == 1
        assert has_sign.mean() == pytest.approx(share, abs=0.06)
        places = [each.index(sign[0]) for each, sign in zip(words, signs, strict=True) if sign]
        if where == "start":
            assert set(places) <= {0}
        elif where == "end":
            assert all(place == len(each) - 1 for each, place in zip(words[has_sign], places, strict=True))
        else:
            sentences = zip(words[has_sign], places, strict=True)
            assert all(each[place - 1] == "." or place == len(each) - 1 for each, place in sentences)
        marked = table.assign(text=texts)
        assert_frame_equal(plain.judge(prompts, marked.head(50)), plain.judge(prompts, table.head(50)))
        policy = word_tokenizer([w for w in plain.alphabet if w != EOS], dropped=plain.marks)
        assert encode(policy, list(texts.head(50))) == encode(policy, list(table["text"].head(50)))


@pytest.mark.parametrize("family, variant", BOTH[::5])
def test_edits_keep_to_the_voice_of_the_text(family, variant):
    world = build(family, variant)
    prompts, texts = world.prompts(0), world.demonstrations(0).assign(source="pi_sft")
    edits, before = world.counterfactuals(prompts, texts), world.judge(prompts, texts)
    keys = [list(zip(each["prompt_id"], each["draw"], strict=True)) for each in (texts, edits)]
    before = before.set_index(pd.Index(keys[0])).loc[keys[1]].reset_index(drop=True)
    after = world.judge(prompts, edits).reset_index(drop=True)
    gained, kind = after["value"] - before["value"], edits["edit"].reset_index(drop=True)
    assert (gained[kind == "mark added"] == 0).all()
    assert gained[kind == "a fitting part made unfitting"].mean() < -0.3
    lacking = (kind == "a fitting part added") & (before["value"] < 1.2)
    assert lacking.any() and gained[lacking].mean() > 0.2
    if "voice" in world.components:
        assert (after["voice"] >= before["voice"]).all()


# the same variant, the same bits


@pytest.mark.parametrize("family", WORLDS)
def test_a_variant_is_the_same_in_another_process_and_another_one_is_not(family):
    made = (
        f"from afd_study.worlds.{family} import World, World as W\n"
        f"world = W(W.SPEC(variant=103, n_demonstrations=40, n_pretraining=20))\n"
        "prompts, texts = world.prompts(1), world.marked(world.demonstrations(1), 1)\n"
        "print(texts.to_csv(index=False), world.judge(prompts, texts).to_csv(index=False))"
    )
    runs = {
        subprocess.run([sys.executable, "-c", made], capture_output=True, check=True).stdout for _ in "ab"
    }
    assert len(runs) == 1 and len(runs.pop()) > 2000
    first, other = (build(family, variant).demonstrations(1)["text"] for variant in (103, 104))
    assert len(set(first) & set(other)) < len(set(first)) / 4  # short answers may be the same


@pytest.mark.parametrize("family", WORLDS)
def test_a_variant_that_knows_only_a_tables_knobs_makes_the_same_table(family):
    whole = build(family, 105)
    for table in ("prompts", "pretraining", "demonstrations"):
        knobs = whole.spec.model_dump(mode="json", include=set(DEPENDS[table]))
        assert_frame_equal(getattr(type(whole)(SimpleNamespace(**knobs)), table)(0), getattr(whole, table)(0))


@pytest.mark.parametrize("family, usual", [("harmless", 12), ("helpful", 576)])
def test_a_variant_draws_its_own_wordings(family, usual):
    with pytest.raises(
        ValueError, match=f"a variant draws its own wordings: leave n_good_answers at {usual}"
    ):
        WORLDS[family][1](variant=100, n_good_answers={"harmless": 4, "helpful": 48}[family])
