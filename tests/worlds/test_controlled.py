"""What holds of every controlled world: exact laws, disjoint splits, knobs that change their tables only."""

from hashlib import blake2b
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from pandas.testing import assert_frame_equal

from afd_study.errors import SpecError
from afd_study.models.tokenizers import decode, encode, word_tokenizer
from afd_study.worlds import harmless_judge, helpful_judge
from afd_study.worlds.controlled import DEPENDS, GOOD
from afd_study.worlds.grammar import EOS, split_words
from afd_study.worlds.harmless import HarmlessSpec, HarmlessWorld
from afd_study.worlds.helpful import HelpfulSpec, HelpfulWorld
from afd_study.worlds.speech import MARK

SMALL = {"n_demonstrations": 80, "n_pretraining": 60}
WORLDS = {"harmless": (HarmlessWorld, HarmlessSpec), "helpful": (HelpfulWorld, HelpfulSpec)}
BEST = {"harmless": harmless_judge.BEST, "helpful": helpful_judge.BEST}
WORST = {"harmless": harmless_judge.WORST, "helpful": helpful_judge.WORST}


def build(name, **knobs):
    kind, spec = WORLDS[name]
    return kind(spec(**{**SMALL, **knobs}))


@pytest.fixture(scope="module", params=list(WORLDS))
def name(request):
    return request.param


@pytest.fixture(scope="module")
def world(name):
    return lambda **knobs: build(name, **knobs)


@pytest.fixture(scope="module")
def full(name):
    return build(name, n_demonstrations=3000, n_pretraining=1500)


# prompts


def test_there_are_enough_prompts_all_different(full, prompts):
    assert len(prompts) >= 500 and prompts["text"].is_unique
    assert prompts["text"].str.fullmatch(r"\n\nHuman: [A-Z].*[.?]\n\nAssistant:").all()
    by_condition = prompts.groupby(["split", *full.CONDITIONS]).size()
    assert len(by_condition) == 3 * len(prompts.drop_duplicates(list(full.CONDITIONS)))


def test_splits_are_disjoint_by_prompt_and_depend_on_the_seed(full, prompts):
    sizes = prompts["split"].value_counts()
    assert (sizes["test"], sizes["validation"]) == (144, 144) and sizes["train"] == len(prompts) - 288
    assert not set(prompts.query("split == 'test'")["text"]) & set(prompts.query("split != 'test'")["text"])
    other = full.prompts(1)
    assert_frame_equal(other.drop(columns="split"), prompts.drop(columns="split"))
    assert 0.1 < (other["split"] != prompts["split"]).mean() < 0.7


# what is drawn


def test_nothing_is_drawn_for_test_prompts_but_held_out_demonstrations(full, prompts, demonstrations):
    tested = set(prompts.query("split == 'test'")["prompt_id"])
    for table in (demonstrations, full.pretraining(0)):
        assert not tested & set(table["prompt_id"])
    held_out = full.held_out_demonstrations(0, per_prompt=3)
    assert (held_out.groupby("prompt_id").size() == 3).all() and set(held_out["prompt_id"]) == tested
    assert len(demonstrations) == 3000


def test_equal_seeds_give_equal_tables_and_other_seeds_others(world):
    for draw in ("prompts", "pretraining", "demonstrations"):
        first, again, other = (getattr(world(), draw)(seed) for seed in (3, 3, 4))
        assert_frame_equal(first, again)
        assert not first.equals(other)
    held = [world().held_out_demonstrations(seed, 2) for seed in (3, 3, 4)]
    assert_frame_equal(held[0], held[1])
    assert not held[0].equals(held[2])


def test_demonstrations_are_better_than_the_web_and_leave_room_above(name, full, prompts, demonstrations):
    mean = full.judge(prompts, demonstrations)["value"].mean()
    web = full.judge(prompts, full.pretraining(0))["value"].mean()
    assert web + 0.5 < mean < BEST[name] - 0.5


def test_better_demonstrators_score_higher(world):
    means = []
    for quality in (0.0, 0.5, 1.0):
        each = world(demonstration_quality=quality, n_demonstrations=600)
        means.append(each.judge(each.prompts(0), each.demonstrations(0))["value"].mean())
    assert means[0] + 0.2 < means[1] < means[2] - 0.2


def test_the_opener_stands_in_its_share_of_demonstrations(world):
    opener = world().style[0]
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


def test_the_share_of_marks_is_the_heterogeneity(world, demonstrations):
    for share in (0.0, 0.25, 1.0):
        texts = world(heterogeneity=share).marked(demonstrations, 0)
        has_mark = texts["text"].str.endswith(f" {MARK}")
        assert has_mark.mean() == pytest.approx(share, abs=0.04)
        bare = texts["text"].str.removesuffix(f" {MARK}")
        assert (bare == demonstrations["text"]).all()  # nothing else changes
        assert not bare.str.contains(MARK).any()


def test_marks_depend_on_the_seed_and_grow_with_the_share(world, demonstrations):
    def marks(share, seed):
        return world(heterogeneity=share).marked(demonstrations, seed)["text"].str.endswith(MARK)

    assert (marks(0.5, 0) == marks(0.5, 0)).all() and (marks(0.5, 0) != marks(0.5, 1)).any()
    assert not (marks(0.3, 0) & ~marks(0.6, 0)).any()


def test_marks_change_no_verdict(world, full, prompts, demonstrations):
    texts = world(heterogeneity=1).marked(demonstrations, 0)
    assert_frame_equal(full.judge(prompts, texts), full.judge(prompts, demonstrations))


# tokens


def test_the_policy_does_not_see_the_mark_and_the_reader_does(full):
    words = [word for word in full.alphabet if word != EOS]
    policy, reader = word_tokenizer(words, dropped=full.marks), word_tokenizer(words, marks=full.marks)
    text = full.style[0]
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
    prompt_ids = encode(tokenizer, list(prompts["text"]))
    assert tokenizer.unk_token_id not in {number for row in prompt_ids for number in row}
    assert tokenizer.convert_ids_to_tokens(prompt_ids[0]) == split_words(prompts["text"][0])


# laws


def test_the_horizon_holds(world):
    short = world(max_words=8, n_demonstrations=300)
    lengths = short.demonstrations(0)["text"].map(lambda text: len(split_words(text)))
    assert lengths.max() == 8  # cut there, without its end


def test_demonstrations_are_what_the_exact_law_says(full, prompts, demonstrations):
    rows = prompts.set_index("prompt_id")
    n_stray = n_words = excess = variance = 0.0
    for row in demonstrations.head(600).itertuples():
        law = full.law("demonstrators", rows.loc[row.prompt_id])
        words = [*split_words(row.text), EOS][: full.spec.max_words]
        n_stray, n_words = n_stray + law.n_stray(words), n_words + len(words)
        excess -= law.logprobs(words).sum()  # the surprise of each word, less its mean under the law
        for n in range(len(words)):
            here = law.law(words[:n])
            entropy = -(here * np.log(here)).sum()
            excess -= entropy
            variance += (here * np.log(here) ** 2).sum() - entropy**2
    share = full.spec.stray
    assert abs(n_stray / n_words - share) < 3 * np.sqrt(share * (1 - share) / n_words)
    assert abs(excess) < 3 * np.sqrt(variance)


@pytest.mark.parametrize("name", WORLDS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_every_word_sequence_has_a_finite_probability_that_is_the_product_of_its_steps(name, data):
    each = build(name)
    row = each.prompts(0).iloc[data.draw(st.integers(0, 800))]
    words = data.draw(st.lists(st.sampled_from(each.alphabet), max_size=12))
    words = words[: words.index(EOS) + 1] if EOS in words else words
    for law in (each.law("demonstrators", row), each.law("web", row)):
        steps = [np.log(law.law(words[:n])[each.alphabet.index(word)]) for n, word in enumerate(words)]
        assert np.isfinite(law.logprobs(words)).all()
        np.testing.assert_allclose(law.logprobs(words), steps, atol=1e-9)


# knobs

UNCHANGED = {  # world -> checksums of demonstrations, web texts and verdicts, as before worlds had variants
    "harmless": ["61481e8a348f27d6", "9af65ed3cfaf8066", "682c9c1f4bdc85d4"],
    "helpful": ["a207f40fe7898f79", "4525e968e49eac68", "da4c73f73d1f7be4"],
}


def test_a_world_that_is_no_variant_stays_as_it_is(name, world):
    each = world(n_demonstrations=300, n_pretraining=300)
    texts = each.demonstrations(3)
    tables = (texts, each.pretraining(3), each.judge(each.prompts(3), each.marked(texts, 3)))
    assert [
        blake2b(table.to_csv(index=False).encode(), digest_size=8).hexdigest() for table in tables
    ] == UNCHANGED[name]


OTHER = {
    "heterogeneity": 0.4,
    "absorbed_style": 0.9,
    "demonstration_quality": 0.9,
    "n_demonstrations": 90,
    "stray": 0.2,
    "n_pretraining": 70,
    "n_validation": 100,
    "n_test": 100,
    "max_words": 8,
}
ONLY_LABELS = {
    "preference_noise",
    "preference_scale",
}  # see tests/methods/test_reward_data.py


def table(each, name, whole):
    """Make a table by a world that may have only the table's knobs; `whole` has all."""
    if name == "held_out_demonstrations":
        return each.held_out_demonstrations(0, per_prompt=2)
    fixed = whole.demonstrations(0)
    if name == "marked":
        return each.marked(fixed, 0)
    if name == "judge":
        return each.judge(whole.prompts(0), fixed)
    if name == "demonstrator_law":
        rows = whole.prompts(0).set_index("prompt_id").loc[fixed["prompt_id"]].to_dict("records")
        texts = zip(rows, fixed["text"], strict=True)
        tables = [
            each.law("demonstrators", row).logprobs([*split_words(text), EOS]).sum() for row, text in texts
        ]
        return pd.DataFrame({"logprob": tables})
    if name == "vocabulary":
        return pd.DataFrame({"word": [*each.alphabet, *each.marks]})
    return getattr(each, name)(0)


TABLES = sorted(set(DEPENDS) - {"preferences"})


@pytest.fixture(scope="module")
def whole(world):
    return {name: table(world(), name, world()) for name in TABLES}


@pytest.mark.parametrize("wanted", TABLES)
def test_a_world_that_knows_only_a_tables_knobs_makes_the_same_table(name, world, wanted, whole):
    kind, spec = WORLDS[name]
    knobs = spec(**SMALL).model_dump(mode="json", include=set(DEPENDS[wanted]))
    assert_frame_equal(table(kind(SimpleNamespace(**knobs)), wanted, world()), whole[wanted])


@pytest.mark.parametrize("knob", [*OTHER, "n_good_answers"])
def test_a_knob_changes_the_tables_that_list_it_and_no_others(name, world, knob, whole):
    value = {"harmless": 4, "helpful": 48}[name] if knob == "n_good_answers" else OTHER[knob]
    each = world(**{knob: value})
    changed = {wanted for wanted in TABLES if not table(each, wanted, world()).equals(whole[wanted])}
    listed = {wanted for wanted in TABLES if knob in DEPENDS[wanted]}
    # demonstrations are drawn for validation prompts as for training prompts: only `split` changes
    assert changed == (listed & {"prompts"} if knob == "n_validation" else listed) != set()


def test_every_knob_is_listed(name):
    listed, fields = {knob for knobs in DEPENDS.values() for knob in knobs}, set(WORLDS[name][1].model_fields)
    assert listed == fields
    assert set(OTHER) | ONLY_LABELS | {"name", "n_good_answers", "variant"} == fields


def test_splits_that_leave_nothing_to_train_on_are_refused(world, prompts):
    with pytest.raises(SpecError, match=f"must leave training prompts out of {len(prompts)}"):
        world(n_validation=len(prompts) - 100, n_test=100).prompts(0)


def test_the_judge_is_total_and_bounded_on_any_words(name, full, prompts):
    rng = np.random.default_rng(0)
    sample = prompts.sample(300, random_state=1)
    clauses = [" ".join(words) for words in full.inventory().clauses]
    texts = [" ".join(rng.choice(full.alphabet, size=rng.integers(0, 30))) for _ in range(150)]
    texts += [" ".join(rng.choice(clauses, size=rng.integers(1, 9))) for _ in range(150)]
    points = full.judge(prompts, pd.DataFrame({"prompt_id": sample["prompt_id"].to_numpy(), "text": texts}))
    assert points["value"].between(WORST[name], BEST[name]).all()
    assert points["value"].nunique() > 10
    np.testing.assert_allclose(points[list(full.components)].sum(axis=1), points["value"])


def test_good_answers_exist_and_are_not_the_rule(full, prompts, demonstrations):
    good = full.judge(prompts, demonstrations)["value"] >= GOOD
    assert 0.15 < good.mean() < 0.8


def test_counterfactuals_differ_in_what_they_say(full, prompts, demonstrations):
    texts = demonstrations.head(150).assign(source="pi_sft")
    edits = full.counterfactuals(prompts, texts)
    before = full.judge(prompts, texts)["value"]
    value = dict(zip(zip(texts["prompt_id"], texts["draw"], strict=True), before, strict=True))
    gained = full.judge(prompts, edits)["value"] - [
        value[key] for key in zip(edits["prompt_id"], edits["draw"], strict=True)
    ]
    by_edit = gained.groupby(edits["edit"])
    assert (by_edit.get_group("mark added") == 0).all() and edits["text"].str.contains(MARK).any()
    assert (by_edit.get_group("a fitting part made unfitting") < 0).all()
    assert (by_edit.get_group("a fitting part added") >= -0.31).all()  # a slip more may make it a fault
    assert by_edit.get_group("a fitting part added").mean() > 0.2
    assert by_edit.get_group("style opener added").abs().max() < 0.31
