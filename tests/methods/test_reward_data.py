"""Pairs are joined by ids and counted fairly; labels are Bradley-Terry's, and noise flips them."""

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from afd_study.errors import DataError
from afd_study.methods.reward_data import REWARD_DATA, TRAINED
from afd_study.methods.reward_pairs import RewardData, label_preferences, paired_responses

PROMPTS = {"p1": 2, "p2": 1, "p3": 3}


def source(name, times=1, shuffle=None):
    rows = [(p, draw, f"{name}-{p}-{draw}") for p, n in PROMPTS.items() for draw in range(n * times)]
    frame = pd.DataFrame(rows, columns=["prompt_id", "draw", "response"])
    return frame if shuffle is None else frame.sample(frac=1, random_state=shuffle)


def counted_rows(shuffle=None):
    return source("demonstrations", shuffle=shuffle)[["prompt_id", "draw"]]


def sources(times=1, shuffle=None):
    names = ("pi_init", "pi_sft", "demonstrations", "preferred", "rejected")
    return {
        name: source(
            name,
            1 if name == "demonstrations" else times,
            None if shuffle is None else shuffle + i,
        )
        for i, name in enumerate(names)
    }


@pytest.mark.parametrize("kind", REWARD_DATA)
def test_pairs_answer_the_same_prompt_and_are_joined_by_ids(kind):
    contrast = REWARD_DATA[kind]
    table = paired_responses(contrast, sources(contrast.times), counted_rows())
    for row in table.itertuples():
        repeated = contrast.high == "demonstrations" and contrast.times > 1  # demonstrations are not free
        place = row.draw % PROMPTS[row.prompt_id] if repeated else row.draw
        assert row.high == f"{contrast.high}-{row.prompt_id}-{place}"
        assert row.low == f"{contrast.low}-{row.prompt_id}-{row.draw}"
    counts = table.groupby("prompt_id").size().to_dict()
    assert counts == {prompt: n * contrast.times for prompt, n in PROMPTS.items()}
    # the order of the rows that come in has no say
    assert_frame_equal(
        paired_responses(contrast, sources(contrast.times, shuffle=3), counted_rows(shuffle=4)), table
    )


def test_the_table_is_the_papers():
    """Which side is to score high decides the reward's sign: the better source is always the high one."""
    assert {name: each[:2] for name, each in REWARD_DATA.items()} == {
        "init_sft": ("pi_sft", "pi_init"),
        "init_demo": ("demonstrations", "pi_init"),
        "sft_demo": ("demonstrations", "pi_sft"),
        "preferences": ("preferred", "rejected"),
        "init_sft_x10": ("pi_sft", "pi_init"),
        "init_demo_x10": ("demonstrations", "pi_init"),
        "sft_demo_x10": ("demonstrations", "pi_sft"),
        "init_sft_bt": ("pi_sft", "pi_init"),
        "init_demo_bt": ("demonstrations", "pi_init"),
        "init_sft_linear": ("pi_sft", "pi_init"),
        "preferences_128": ("preferred", "rejected"),
        "preferences_bce": ("preferred", "rejected"),
    }
    losses = {name: each.loss for name, each in REWARD_DATA.items()}
    assert {name for name, loss in losses.items() if loss == "bradley_terry"} == {
        "preferences",
        "preferences_128",
        "init_sft_bt",
        "init_demo_bt",
    }
    assert set(losses.values()) == {"bradley_terry", "discriminator_bce"}
    times = {name: each.times for name, each in REWARD_DATA.items()}
    ten = {name for name in times if name.endswith("_x10")}
    assert ten == {"init_sft_x10", "init_demo_x10", "sft_demo_x10"}
    assert all(times[name] == (10 if name in ten else 1) for name in times)
    assert REWARD_DATA["init_sft_linear"] == REWARD_DATA["init_sft"] and set(TRAINED) == {"init_sft_linear"}


def test_a_demonstration_is_paired_with_several_samples():
    data = REWARD_DATA["init_demo"]._replace(times=3)
    table = paired_responses(data, sources(times=3, shuffle=2), counted_rows())
    assert len(table) == 3 * sum(PROMPTS.values()) and table["low"].is_unique
    assert (table["high"].value_counts() == 3).all()
    high = {
        f"demonstrations-{row.prompt_id}-{row.draw % PROMPTS[row.prompt_id]}" for row in table.itertuples()
    }
    assert set(table["high"]) == high


def test_more_samples_than_are_called_for_are_left_alone():
    table = paired_responses(REWARD_DATA["init_sft"], sources(times=10), counted_rows())
    assert len(table) == sum(PROMPTS.values()) and table["draw"].max() == 2


def test_too_few_samples_are_refused():
    with pytest.raises(DataError, match="pi_sft and pi_init give 6 pairs where 60 are called for"):
        paired_responses(REWARD_DATA["init_sft_x10"], sources(), counted_rows())
    lacking = sources()
    lacking["pi_init"] = lacking["pi_init"].query("prompt_id != 'p2'")
    with pytest.raises(DataError, match="give 5 pairs where 6"):
        paired_responses(REWARD_DATA["init_demo"], lacking, counted_rows())


def test_a_source_that_repeats_a_draw_is_refused():
    twice = sources()
    twice["pi_init"] = pd.concat([twice["pi_init"], twice["pi_init"].tail(1)])
    with pytest.raises(ValueError, match="one-to-one"):
        paired_responses(REWARD_DATA["init_sft"], twice, counted_rows())


def test_responses_may_be_token_ids():
    ids = sources()
    for name in ("pi_sft", "pi_init"):
        ids[name] = ids[name].assign(response=[np.array([3, len(name), 1])] * len(ids[name]))
    table = paired_responses(RewardData("pi_sft", "pi_init"), ids, counted_rows())
    assert [list(each) for each in table["high"]] == [[3, 6, 1]] * 6
    assert [list(each) for each in table["low"]] == [[3, 7, 1]] * 6


# preferences

N = 20000


def candidates(values, name="a", shuffle=None):
    frame = pd.DataFrame(
        {
            "prompt_id": [f"p{i}" for i in range(len(values))],
            "draw": 0,
            "value": values,
            "response": [f"{name}{i}" for i in range(len(values))],
        }
    )
    return frame if shuffle is None else frame.sample(frac=1, random_state=shuffle)


def share_first(*, difference, scale=2.0, noise=0.0, seed=0):
    table = label_preferences(
        candidates([difference] * N, "a"), candidates([0.0] * N, "b"), scale=scale, noise=noise, seed=seed
    )
    return table["preferred"].str.startswith("a").mean()


@pytest.mark.parametrize("difference", [-1.0, -0.2, 0.0, 0.5])
@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_labels_follow_bradley_terry(difference, scale):
    expected = 1 / (1 + np.exp(-scale * difference))
    assert share_first(difference=difference, scale=scale) == pytest.approx(expected, abs=4 * 0.5 / N**0.5)


@pytest.mark.parametrize("noise", [0.1, 0.3, 0.5])
def test_noise_flips_its_share_of_labels(noise):
    sure = 50.0  # points apart: without noise the first always wins
    assert share_first(difference=sure) == 1.0 and share_first(difference=-sure) == 0.0
    assert share_first(difference=sure, noise=noise) == pytest.approx(1 - noise, abs=4 * 0.5 / N**0.5)
    assert share_first(difference=-sure, noise=noise) == pytest.approx(noise, abs=4 * 0.5 / N**0.5)
    chance = 1 / (1 + np.exp(-1.0))
    mixed = chance * (1 - noise) + (1 - chance) * noise
    assert share_first(difference=0.5, noise=noise) == pytest.approx(mixed, abs=4 * 0.5 / N**0.5)


def test_candidates_are_joined_by_ids_and_both_stay_with_their_prompt():
    rng = np.random.default_rng(0)
    first = rng.permutation(200).astype(float)
    second = first + rng.choice([-1.0, 1.0], size=200)
    table = label_preferences(
        candidates(first, "a", shuffle=1), candidates(second, "b", shuffle=2), scale=50.0, noise=0.0, seed=0
    )
    for row in table.itertuples():
        i = int(row.prompt_id[1:])
        better, worse = (f"a{i}", f"b{i}") if first[i] > second[i] else (f"b{i}", f"a{i}")
        assert (row.preferred, row.rejected) == (better, worse)
    assert len(table) == 200


def test_labels_depend_on_the_seed_alone():
    tables = [
        label_preferences(
            candidates([0.1] * 300, "a"), candidates([0.0] * 300, "b"), scale=2.0, noise=0.2, seed=seed
        )
        for seed in (0, 0, 1)
    ]
    assert_frame_equal(tables[0], tables[1])
    assert not tables[0].equals(tables[2])


def test_equal_answers_are_preferred_either_way():
    assert share_first(difference=0.0, scale=1000.0) == pytest.approx(0.5, abs=4 * 0.5 / N**0.5)
