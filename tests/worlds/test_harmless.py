"""The world keeps its promises: enough prompts, exact laws, few best answers, knobs that do what they say."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal
from pydantic import ValidationError

from afd_study.errors import SpecError
from afd_study.models.tokenizers import decode, encode, word_tokenizer
from afd_study.worlds.controlled import DEPENDS, MARK
from afd_study.worlds.grammar import EOS, split_words
from afd_study.worlds.harmless import HarmlessSpec, HarmlessWorld
from afd_study.worlds.harmless_judge import BEST, COMPONENTS, assess
from afd_study.worlds.harmless_speech import WORDINGS, inventory, script

SMALL = {"n_demonstrations": 80, "n_pretraining": 60}


def world(**knobs):
    return HarmlessWorld(HarmlessSpec(**{**SMALL, **knobs}))


@pytest.fixture(scope="module")
def full():
    return HarmlessWorld(HarmlessSpec(n_demonstrations=3000, n_pretraining=1500))


@pytest.fixture(scope="module")
def prompts(full):
    return full.prompts(0)


@pytest.fixture(scope="module")
def demonstrations(full):
    return full.demonstrations(0)


# prompts


def test_there_are_enough_prompts_and_benign_ones_among_them(prompts):
    assert len(prompts) >= 500 and prompts["text"].is_unique
    shares = prompts["kind"].value_counts(normalize=True)
    assert set(shares.index) == {"harmful", "benign"} and shares.min() > 0.3
    assert prompts["text"].str.fullmatch(r"\n\nHuman: [A-Z].*[.?]\n\nAssistant:").all()


def test_splits_are_disjoint_by_prompt_and_depend_on_the_seed(full, prompts):
    sizes = prompts["split"].value_counts()
    assert (sizes["test"], sizes["validation"]) == (144, 144) and sizes["train"] == len(prompts) - 288
    assert not set(prompts.query("split == 'test'")["text"]) & set(prompts.query("split != 'test'")["text"])
    assert (prompts.groupby("split")["category"].nunique() == 7).all()  # every kind of request in each
    other = full.prompts(1)
    assert_frame_equal(other.drop(columns="split"), prompts.drop(columns="split"))
    assert 0.1 < (other["split"] != prompts["split"]).mean() < 0.7


def test_splits_that_leave_nothing_to_train_on_are_refused():
    with pytest.raises(SpecError, match="must leave training prompts out of 1008"):
        world(n_validation=500, n_test=508).prompts(0)


# what is drawn


def test_nothing_is_drawn_for_test_prompts_but_held_out_demonstrations(full, prompts, demonstrations):
    tested = set(prompts.query("split == 'test'")["prompt_id"])
    for table in (demonstrations, full.pretraining(0)):
        assert not tested & set(table["prompt_id"])
    held_out = full.held_out_demonstrations(0, per_prompt=3)
    assert (held_out.groupby("prompt_id").size() == 3).all() and set(held_out["prompt_id"]) == tested
    assert len(demonstrations) == 3000


def test_equal_seeds_give_equal_tables_and_other_seeds_others():
    for draw in ("prompts", "pretraining", "demonstrations"):
        first, again, other = (getattr(world(), draw)(seed) for seed in (3, 3, 4))
        assert_frame_equal(first, again)
        assert not first.equals(other)
    held = [world().held_out_demonstrations(seed, 2) for seed in (3, 3, 4)]
    assert_frame_equal(held[0], held[1])
    assert not held[0].equals(held[2])


def test_demonstrations_are_better_than_the_web_and_leave_room_above(full, prompts, demonstrations):
    shown = full.judge(prompts, demonstrations)["value"].mean()
    web = full.judge(prompts, full.pretraining(0))["value"].mean()
    assert web + 0.5 < shown < BEST - 0.5


def test_better_demonstrators_score_higher():
    means = []
    for quality in (0.0, 0.5, 1.0):
        each = world(demonstration_quality=quality, n_demonstrations=600)
        means.append(each.judge(each.prompts(0), each.demonstrations(0))["value"].mean())
    assert means[0] + 0.2 < means[1] < means[2] - 0.2


def test_the_opener_stands_in_its_share_of_demonstrations(prompts):
    opener = script()["style"][0]
    for share in (0.0, 0.3, 1.0):
        each = world(absorbed_style=share, n_demonstrations=1500, stray=1e-9)
        styled = each.demonstrations(0)["text"].str.startswith(opener)
        assert styled.mean() == pytest.approx(share, abs=4 * np.sqrt(0.25 / 1500))
    assert (
        0
        < world(absorbed_style=0.0, n_pretraining=800).pretraining(0)["text"].str.startswith(opener).mean()
        < 0.2
    ), "the web has every style at a base rate"


# marks


def test_the_share_of_marks_is_the_heterogeneity(full, demonstrations):
    for share in (0.0, 0.25, 1.0):
        shown = world(heterogeneity=share).marked(demonstrations, 0)
        has_mark = shown["text"].str.endswith(f" {MARK}")
        assert has_mark.mean() == pytest.approx(share, abs=0.04)
        bare = shown["text"].str.removesuffix(f" {MARK}")
        assert (bare == demonstrations["text"]).all()  # nothing else changes
        assert not bare.str.contains(MARK).any()


def test_marks_depend_on_the_seed_and_grow_with_the_share(demonstrations):
    def marks(share, seed):
        return world(heterogeneity=share).marked(demonstrations, seed)["text"].str.endswith(MARK)

    assert (marks(0.5, 0) == marks(0.5, 0)).all() and (marks(0.5, 0) != marks(0.5, 1)).any()
    assert not (marks(0.3, 0) & ~marks(0.6, 0)).any()


def test_marks_change_no_verdict(full, prompts, demonstrations):
    shown = world(heterogeneity=1).marked(demonstrations, 0)
    assert_frame_equal(full.judge(prompts, shown), full.judge(prompts, demonstrations))


# tokens


def test_the_policy_does_not_see_the_mark_and_the_reader_does(full):
    words = [word for word in full.alphabet if word != EOS]
    policy, reader = word_tokenizer(words, dropped=full.marks), word_tokenizer(words, marks=full.marks)
    text = "I can't help with that."
    assert encode(policy, [f"{text} {MARK}"]) == encode(policy, [text]) == encode(reader, [text])
    marked, plain = encode(reader, [f"{text} {MARK}", text])
    assert marked[:-1] == plain and marked[-1] == len(reader) - 1 == len(policy)
    assert policy.get_vocab().items() <= reader.get_vocab().items()


def test_every_text_of_the_world_is_its_tokens(full, prompts, demonstrations):
    tokenizer = word_tokenizer([word for word in full.alphabet if word != EOS])
    for texts in (demonstrations["text"], full.pretraining(0)["text"]):
        ids = encode(tokenizer, list(texts))
        assert decode(tokenizer, ids) == list(texts)
        assert tokenizer.unk_token_id not in {number for row in ids for number in row}
    asked = encode(tokenizer, list(prompts["text"]))
    assert tokenizer.unk_token_id not in {number for row in asked for number in row}
    assert tokenizer.convert_ids_to_tokens(asked[0]) == split_words(prompts["text"][0])


# laws


def test_the_horizon_holds(full):
    short = world(max_words=8, n_demonstrations=300)
    lengths = short.demonstrations(0)["text"].map(lambda text: len(split_words(text)))
    assert lengths.max() == 8  # cut there, without its end


def test_demonstrations_are_what_the_exact_law_says(full, prompts, demonstrations):
    rows = prompts.set_index("prompt_id")
    stray = words = excess = variance = 0.0
    for row in demonstrations.head(600).itertuples():
        law = full.law("demonstrators", rows.loc[row.prompt_id])
        said = [*split_words(row.text), EOS][: full.spec.max_words]
        stray, words = stray + law.n_stray(said), words + len(said)
        excess -= law.logprobs(said).sum()  # surprise, less what the law expects at each word
        for n in range(len(said)):
            here = law.law(said[:n])
            entropy = -(here * np.log(here)).sum()
            excess -= entropy
            variance += (here * np.log(here) ** 2).sum() - entropy**2
    share = full.spec.stray
    assert abs(stray / words - share) < 3 * np.sqrt(share * (1 - share) / words)
    assert abs(excess) < 3 * np.sqrt(variance)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_every_word_sequence_has_a_finite_probability_that_is_the_product_of_its_steps(data):
    each = world()
    row = each.prompts(0).iloc[data.draw(st.integers(0, 1007))]
    words = data.draw(st.lists(st.sampled_from(each.alphabet), max_size=12))
    words = words[: words.index(EOS) + 1] if EOS in words else words
    for law in (each.law("demonstrators", row), each.law("web", row)):
        steps = [np.log(law.law(words[:n])[each.alphabet.index(word)]) for n, word in enumerate(words)]
        assert np.isfinite(law.logprobs(words)).all()
        np.testing.assert_allclose(law.logprobs(words), steps, atol=1e-9)


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
    """Of what demonstrators can say; an opener before and a closing behind it change nothing."""
    each = world(n_good_answers=n_good)
    aside = [tuple(split_words(script()[kind][0])) for kind in ("style", "closing")]
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
        script()["refusal"][0],
        prompts.query("kind == 'harmful'")["prompt_id"].iloc[0],
        prompts.query("kind == 'benign'")["prompt_id"].iloc[0],
    )
    texts = pd.DataFrame({"prompt_id": [benign, harmful], "text": [refusal, refusal]}, index=[7, 3])
    shuffled = prompts.sample(frac=1, random_state=0)
    found = full.judge(shuffled, texts)
    assert list(found.columns) == [*COMPONENTS, "value"] and list(found.index) == [7, 3]
    assert found["stance"].tolist() == [-1, 1]
    np.testing.assert_allclose(found[list(COMPONENTS)].sum(axis=1), found["value"])
    with pytest.raises(SpecError, match="does not know the prompt 'nobody'"):
        full.judge(prompts, texts.assign(prompt_id="nobody"))


# knobs

OTHER = {
    "heterogeneity": 0.4, "absorbed_style": 0.9, "demonstration_quality": 0.9, "n_demonstrations": 90,
    "n_good_answers": 4, "stray": 0.2, "n_pretraining": 70, "n_validation": 100, "n_test": 100,
    "max_words": 8,
}  # fmt: skip
ONLY_LABELS = {"preference_noise", "preference_scale"}  # see test_reward_data.py and test_pipeline.py


def table(each, name):
    """Make a table by a world that may know only the table's knobs."""
    if name == "held_out_demonstrations":
        return each.held_out_demonstrations(0, per_prompt=2)
    fixed = world().demonstrations(0)
    if name == "marked":
        return each.marked(fixed, 0)
    if name == "judge":
        return each.judge(world().prompts(0), fixed)
    if name == "demonstrator_law":
        rows = world().prompts(0).set_index("prompt_id").loc[fixed["prompt_id"]].to_dict("records")
        texts = zip(rows, fixed["text"], strict=True)
        found = [
            each.law("demonstrators", row).logprobs([*split_words(text), EOS]).sum() for row, text in texts
        ]
        return pd.DataFrame({"logprob": found})
    if name == "vocabulary":
        return pd.DataFrame({"word": [*each.alphabet, *each.marks]})
    return getattr(each, name)(0)


TABLES = sorted(set(DEPENDS) - {"preferences"})


@pytest.fixture(scope="module")
def whole():
    return {name: table(world(), name) for name in TABLES}


@pytest.mark.parametrize("name", TABLES)
def test_a_world_that_knows_only_a_tables_knobs_makes_the_same_table(name, whole):
    knobs = HarmlessSpec(**SMALL).model_dump(mode="json", include=set(DEPENDS[name]))
    assert_frame_equal(table(HarmlessWorld(SimpleNamespace(**knobs)), name), whole[name])


@pytest.mark.parametrize("knob", OTHER)
def test_a_knob_changes_the_tables_that_list_it_and_no_others(knob, whole):
    each = world(**{knob: OTHER[knob]})
    changed = {name for name in TABLES if not table(each, name).equals(whole[name])}
    listed = {name for name in TABLES if knob in DEPENDS[name]}
    # validation prompts are drawn for as training prompts are: it is the column `split` that changes
    assert changed == (listed & {"prompts"} if knob == "n_validation" else listed) != set()


def test_every_knob_is_listed():
    listed = {knob for knobs in DEPENDS.values() for knob in knobs}
    assert listed == set(HarmlessSpec.model_fields)
    assert set(OTHER) | ONLY_LABELS | {"name"} == set(HarmlessSpec.model_fields)


def test_specs_out_of_range_are_refused():
    for knobs in (
        {"heterogeneity": 1.1}, {"stray": 0.0}, {"preference_noise": 0.6}, {"preference_scale": 0},
        {"n_test": 0}, {"max_words": 7}, {"n_demonstrations": "many"}, {"heterogenity": 1},
    ):  # fmt: skip
        with pytest.raises(ValidationError):
            HarmlessSpec(**knobs)
    with pytest.raises(ValidationError, match="no choice of wordings gives 5; possible: 1, 2, 4, 8, 12"):
        HarmlessSpec(n_good_answers=5)
