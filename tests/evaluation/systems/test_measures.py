"""Scores agree with verdicts beyond systems and prompts, or they do not; picks and intervals say how far."""

import itertools

import numpy as np
import pytest
from alpaca_folders import made_up
from scipy import stats

from afd_study.errors import DataError, SpecError
from afd_study.evaluation.systems import picks as pk
from afd_study.evaluation.systems.agreement import (
    NO_LENGTH,
    NONE,
    RAW,
    RESIDUAL,
    agreement,
    rank_agreement,
    values_of,
)
from afd_study.evaluation.systems.grid import grid_of, system_means, two_way_residuals, without_length
from afd_study.evaluation.systems.two_way import two_way_table

NAMES = ["method", "means", "adjustment", "less_method"]


@pytest.fixture
def generator():
    return np.random.default_rng(0)


def measured(scores, verdicts, lengths=None, **settings):
    lengths = np.random.default_rng(9).normal(size=verdicts.shape) if lengths is None else lengths
    values = values_of(scores, verdicts, lengths)
    return agreement(values, generator=np.random.default_rng(0), resamples=60, **settings).set_index(NAMES)


def test_residuals_are_those_of_least_squares(generator):
    values = generator.normal(size=(7, 5))
    values[2, 3] = values[0, 0] = np.nan
    rows, columns = np.nonzero(~np.isnan(values))
    design = np.concatenate([np.eye(7)[rows], np.eye(5)[columns]], axis=1)
    observed = values[rows, columns]
    expected = observed - design @ np.linalg.lstsq(design, observed, rcond=None)[0]
    rest = two_way_residuals(values)
    assert np.allclose(rest[rows, columns], expected, atol=1e-6)
    assert np.isnan(rest[2, 3]) and np.isnan(rest[0, 0])


def test_rank_agreement_is_spearmans_mean_and_leaves_out_what_is_missing(generator):
    scores, verdicts = generator.normal(size=(6, 9)), generator.integers(0, 3, size=(6, 9)) / 2
    verdicts[0, 4], verdicts[5] = np.nan, 1.0
    expected = []
    for ours, theirs in zip(scores[:5], verdicts[:5], strict=True):
        there = ~np.isnan(theirs)
        expected.append(stats.spearmanr(ours[there], theirs[there]).statistic)
    assert np.isclose(rank_agreement(scores[None], verdicts)[0], np.mean(expected))


def test_what_counts_twice_is_what_stands_there_twice(generator):
    scores, verdicts = generator.normal(size=(3, 12, 8)), generator.integers(0, 3, size=(12, 8)) / 2
    verdicts[0, 4] = verdicts[3, 1] = np.nan
    scores = np.where(np.isnan(verdicts), np.nan, scores)
    prompts, systems = generator.integers(0, 3, size=12), np.array([2, 1, 0, 3, 1, 1, 0, 2])
    rows, columns = np.repeat(np.arange(12), prompts), np.repeat(np.arange(8), systems)
    seen, there = np.unique(rows), np.unique(columns)
    often = {"prompts": prompts[seen], "systems": systems[there]}

    def both(values, residuals, ranks):
        apart = residuals(values)
        return apart, ranks(values[1:], values[0]), ranks(apart[1:], apart[0])

    every = np.concatenate([verdicts[None], scores])
    longer = every[:, rows][:, :, columns]
    repeated, *expected = both(longer, two_way_residuals, rank_agreement)
    single, *values = both(
        every[:, seen][:, :, there],
        lambda x: two_way_residuals(x, **often),
        lambda one, other: rank_agreement(one, other, **often),
    )
    places = np.searchsorted(seen, rows), np.searchsorted(there, columns)
    assert np.allclose(single[:, places[0]][:, :, places[1]], repeated, equal_nan=True)
    assert all(np.allclose(one, other) for one, other in zip(values, expected, strict=True))


def test_a_rule_that_knows_the_system_alone_agrees_only_while_its_mean_is_in(generator):
    quality = np.linspace(-1, 1, 20)
    verdicts = (quality + generator.normal(size=(300, 20)) > 0).astype(float)
    table = measured({"init_sft": np.broadcast_to(quality, verdicts.shape).copy()}, verdicts)
    assert table.loc[("init_sft", RAW, NONE, ""), "low"] > 0.3
    assert np.isnan(table.loc[("init_sft", RESIDUAL, NONE, ""), "value"])
    noisy = quality + 0.3 * generator.normal(size=verdicts.shape)
    table = measured({"init_sft": noisy}, verdicts)
    row = table.loc[("init_sft", RESIDUAL, NONE, "")]
    assert row["low"] < 0 < row["high"] and abs(row["value"]) < 0.03


def test_what_a_score_knows_of_an_answer_stays_and_what_is_length_goes(generator):
    lengths, apart = generator.normal(size=(200, 20)), generator.normal(size=(200, 20))
    verdicts = (lengths + apart + generator.normal(size=(200, 20)) > 0).astype(float)
    table = measured(
        {"init_sft": lengths + 0.1 * apart**2, "init_demo": apart, "longest": lengths}, verdicts, lengths
    )
    value = table["value"]
    assert value["init_sft", RESIDUAL, NONE, ""] > 0.3
    assert abs(value["init_sft", RESIDUAL, NO_LENGTH, ""]) < 0.05
    assert value["init_demo", RESIDUAL, NO_LENGTH, ""] > 0.3
    assert ("longest", RESIDUAL, NO_LENGTH, "") not in table.index
    less = table.loc[("init_sft", RESIDUAL, NO_LENGTH, "init_demo")]
    assert less["high"] < 0
    assert np.isclose(
        less["value"],
        value["init_sft", RESIDUAL, NO_LENGTH, ""] - value["init_demo", RESIDUAL, NO_LENGTH, ""],
    )


def test_length_comes_out_within_prompts_and_systems_and_no_system_moves(generator):
    lengths = generator.normal(size=(50, 8)) + np.arange(8)
    scores = 2 * lengths + 5 * (np.arange(8) % 2)
    rest = without_length(scores, lengths)
    assert np.allclose(two_way_residuals(rest), 0, atol=1e-8)
    assert np.allclose(rest - rest[:, :1], 5 * (np.arange(8) % 2), atol=1e-6)


def test_systems_are_drawn_anew_too(generator):
    """A value that differs between systems has an interval that more prompts do not narrow."""
    spread = np.array([0.0, 1.0] * 10)

    def width(n_prompts):
        table = two_way_table(
            lambda rows, columns: np.array([spread[columns].mean()]),
            [("mean",)],
            ["method"],
            shape=(n_prompts, 20),
            generator=generator,
            resamples=300,
        )
        return (table["high"] - table["low"]).item()

    assert all(0.3 < width(n) < 0.55 for n in (10, 1000))


def test_two_way_intervals_cover_no_agreement_about_as_often_as_they_say():
    covered = []
    for seed in range(40):
        generator = np.random.default_rng(seed)
        score = generator.normal(size=(30, 12)) + generator.normal(size=12)
        verdicts = (generator.normal(size=(30, 12)) + generator.normal(size=12) > 0).astype(float)
        both = np.stack([score, verdicts])

        def statistic(rows, columns, both=both):
            apart = two_way_residuals(both[:, rows][:, :, columns])
            return rank_agreement(apart[:1], apart[1])

        shape = (30, 12)
        table = two_way_table(
            statistic, [("x",)], ["method"], shape=shape, generator=generator, resamples=60
        ).iloc[0]
        covered.append(table["low"] < 0 < table["high"])
    assert np.mean(covered) >= 0.88


def test_shapes_and_systems_without_verdicts_are_refused():
    verdicts = np.ones((4, 3))
    with pytest.raises(DataError, match="scores"):
        values_of({"a": np.ones((4, 2))}, verdicts, verdicts)
    verdicts[:3, 1] = np.nan
    with pytest.raises(DataError, match="beta lacks 75%"):
        values_of({"a": np.ones((4, 3))}, verdicts, np.ones((4, 3)), names=("alpha", "beta", "gamma"))


def test_picks_are_the_mean_over_all_subsets_and_stand_beside_constant_rules(generator):
    verdicts = generator.integers(0, 2, size=(5, 6)).astype(float)
    scores = generator.normal(size=(5, 6))
    values = values_of({"init_sft": scores}, verdicts, scores)
    table = pk.picks(values, generator=generator, n=4, resamples=20).set_index(["method", "less_method"])[
        "value"
    ]

    def by_hand(rule):
        subsets = list(itertools.combinations(range(6), 4))
        return np.mean(
            [[verdicts[p, max(some, key=lambda s: rule[p, s])] for some in subsets] for p in range(5)]
        )

    assert np.isclose(table["init_sft", ""], by_hand(scores))
    assert np.isclose(table[pk.ALWAYS + "init_sft", ""], by_hand(system_means(scores)))
    assert np.isclose(table["random", ""], verdicts.mean())
    assert np.isclose(table["init_sft", "random"], by_hand(scores) - verdicts.mean())
    assert ("init_sft", pk.ALWAYS + "init_sft") in table.index


def test_an_answer_without_a_verdict_is_never_picked_and_small_pools_are_refused(generator):
    verdicts = np.array([[np.nan, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    scores = np.array([[9.0, 2.0, 1.0]] * 3)
    values = values_of({"longest": scores}, verdicts, scores)
    table = pk.picks(values, generator=generator, n=3, resamples=5).set_index(["method", "less_method"])
    assert np.isclose(table.loc[("longest", ""), "value"], 1 / 3)
    assert np.isclose(table.loc[("random", ""), "value"], (1 / 2 + 1 / 3 + 1 / 3) / 3)
    with pytest.raises(SpecError, match="16 answers are to be picked from, and 3 systems"):
        pk.picks(values, generator=generator)


def test_a_systems_mean_leaves_the_prompt_itself_out():
    values = np.array([[1.0, 5.0], [3.0, np.nan], [8.0, 7.0]])
    assert np.array_equal(system_means(values), [[5.5, 7.0], [4.5, 6.0], [2.0, 5.0]])


def test_the_pair_within_a_policy_is_compared_with_its_published_picks(generator):
    answers, verdicts = made_up(n_systems=2, n_prompts=80)
    names = dict(zip(["s00", "s01"], pk.WITHIN_POLICY, strict=True))
    grid = grid_of(answers.replace({"system": names}), verdicts.replace({"system": names}))
    part = grid.of(pk.WITHIN_POLICY)
    table = pk.within_policy(grid, {"init_sft": part.verdicts, "longest": part.lengths}, generator=generator)
    value = table.set_index(["method", "adjustment", "measure"])["value"]
    gain = (part.verdicts[:, 1] - part.verdicts[:, 0]).mean()
    assert np.isclose(value["pairrm", NONE, "gain of PairRM's picks"], gain)
    assert value["init_sft", NONE, "agrees with GPT-4"] == 1.0
    assert np.isclose(value["init_sft", NONE, "agrees with PairRM"], (1 + gain) / 2)
