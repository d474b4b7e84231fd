"""Ablations by hand: means, paired effects, and where two lines reach the same score."""

import numpy as np
import pandas as pd
import pytest

from afd_study.errors import DataError
from afd_study.evaluation.ablations import POINT_COLUMNS, effects, equal_score, responses

T2 = 4.302653  # of 97.5 % at two degrees of freedom


def line(method, by_value, *, reference="1000", grid="labels", task="harmless"):
    """Points of a line: value -> the judge's mean at each seed."""
    rows = [
        (grid, task, place, value, value == reference, method, method, seed, judge)
        for place, (value, at_seeds) in enumerate(by_value.items())
        for seed, judge in enumerate(at_seeds)
    ]
    return pd.DataFrame(rows, columns=list(POINT_COLUMNS))


def test_means_have_their_t_intervals():
    result = responses(line("preferences", {"100": [0.0, 0.1, 0.2], "1000": [1.0, 1.0, 1.0]}))
    first = result.iloc[0]
    assert first["mean"] == pytest.approx(0.1) and first["n_seeds"] == 3
    assert first["high"] - first["mean"] == pytest.approx(T2 * 0.1 / np.sqrt(3), rel=1e-5)
    assert result["value"].tolist() == ["100", "1000"] and result.iloc[1]["low"] == pytest.approx(1.0)


def test_an_effect_is_paired_by_seed():
    # seeds differ by whole points, the effect by a hundredth: unpaired it would drown
    points = line("preferences", {"100": [1.00, 2.01, 3.02], "1000": [2.0, 3.0, 4.0]})
    [row] = effects(points.sample(frac=1, random_state=0)).to_dict("records")
    assert row["effect"] == pytest.approx(-0.99) and row["clear"] and row["value"] == "100"
    assert row["high"] - row["effect"] == pytest.approx(T2 * 0.01 / np.sqrt(3), rel=1e-4)
    loose = line("preferences", {"100": [1.0, 3.1, 4.0], "1000": [2.0, 3.0, 4.0]})
    assert not effects(loose)["clear"].any()


def test_a_line_that_sees_nothing_of_what_is_varied_has_no_effects():
    flat = line("init_sft", {"100": [1.0, 2.0, 3.0], "1000": [1.0, 2.0, 3.0]})
    both = pd.concat([flat, line("preferences", {"100": [0.0, 1.0, 1.0], "1000": [1.0, 1.0, 1.0]})])
    assert set(effects(both)["method"]) == {"preferences"}


def test_what_is_lacking_is_named():
    points = line("preferences", {"100": [0.0, 0.1], "1000": [1.0, 1.0]})
    with pytest.raises(DataError, match="lack their reference"):
        effects(points[~points["reference"]])
    with pytest.raises(DataError, match="at least 2 seeds"):
        responses(points[points["seed"] == 0])
    with pytest.raises(DataError, match=r"lacks the columns \['judge'\]"):
        responses(points.drop(columns="judge"))
    with pytest.raises(DataError, match="hold no line init_sft"):
        equal_score(points, rising="preferences", level="init_sft")


def equal(preferences, init_sft=(0.5, 0.5), counts=("100", "1000", "10000")):
    two = [
        line("preferences", dict(zip(counts, preferences, strict=True))),
        line("init_sft", dict.fromkeys(counts, list(init_sft))),
    ]
    result = equal_score(pd.concat(two), rising="preferences", level="init_sft")
    assert result["lowest"].eq(100).all() and result["highest"].eq(10000).all()
    return result.set_index("seed")["count"]


def test_equal_scores_are_interpolated_in_the_logarithm_of_the_count():
    result = equal([[0.0, 0.4], [1.0, 0.8], [1.0, 0.9]])
    assert result["0"] == pytest.approx(np.sqrt(100 * 1000))  # half-way from 0 to 1
    assert result["1"] == pytest.approx(100 * 10**0.25)  # a quarter of the way from .4 to .8
    # the mean's crossing is that of the line from .2 to .9, not the mean of counts
    assert result["mean"] == pytest.approx(100 * 10 ** (0.3 / 0.7))


def test_the_level_may_be_reached_at_a_count_itself_and_the_first_time_counts():
    result = equal([[0.0, 0.5], [0.5, 0.0], [0.7, 0.9]])
    assert result["0"] == pytest.approx(1000) and result["1"] == pytest.approx(100)


def test_beyond_the_range_nothing_is_made_up():
    result = equal([[0.6, 0.1], [0.7, 0.2], [0.8, 0.3]])
    assert result["0"] == 0 and result["1"] == np.inf
    # means .35, .45, .55
    assert result["mean"] == pytest.approx(1000 * 10**0.5)


def test_counts_are_numbers_and_not_words():
    """As words "1000" stands before "200"."""
    counts = {"200": [0.0, 0.0], "1000": [1.0, 1.0]}
    level = line("init_sft", {"200": [0.5, 0.5], "1000": [0.5, 0.5]})
    both = pd.concat([line("preferences", counts), level])
    result = equal_score(both, rising="preferences", level="init_sft")
    assert result["count"].tolist() == pytest.approx([np.sqrt(200 * 1000)] * 3)


def test_a_task_of_any_name_has_its_own_rows():
    by_value = {"100": [0.0, 0.2], "1000": [1.0, 1.1]}
    tasks = ("harmless", "honest", "brief")
    three = pd.concat([line("preferences", by_value, task=task) for task in tasks])
    assert effects(three)["task"].tolist() == list(tasks)
    assert responses(three)["task"].tolist() == [task for task in tasks for _ in by_value]
    levels = pd.concat(
        [line("init_sft", {"100": [0.5, 0.5], "1000": [0.5, 0.5]}, task=task) for task in tasks]
    )
    equal_counts = equal_score(pd.concat([three, levels]), rising="preferences", level="init_sft")
    assert equal_counts.groupby("task")["count"].agg(list).map(tuple).nunique() == 1
    assert set(equal_counts["task"]) == set(tasks)
