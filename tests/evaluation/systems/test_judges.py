"""Judges see neither the group nor the system that they are tried on, and length stands beside them."""

import gzip
import json

import numpy as np
import pytest
from alpaca_folders import made_up

from afd_study.errors import DataError, SpecError
from afd_study.evaluation.systems import judges as jd
from afd_study.evaluation.systems.features import arrays, bag, gram_counts
from afd_study.evaluation.systems.grid import grid_of
from afd_study.worlds import hh_rlhf


@pytest.fixture(scope="module")
def grid():
    return grid_of(*made_up(n_prompts=40, n_systems=8))


@pytest.fixture(scope="module")
def features():
    return bag(gram_counts(made_up(n_prompts=40, n_systems=8)[0]["text"]))


@pytest.fixture(scope="module")
def pairs(grid):
    return jd.verdict_pairs(grid, generator=np.random.default_rng(0), per_prompt=6)


def test_pairs_are_of_one_prompt_and_apart_in_the_verdict(grid, pairs):
    assert np.bincount(np.unique(pairs.groups, return_inverse=True)[1]).max() <= 6
    prompt = {row: p for p, rows in enumerate(grid.rows) for row in rows}
    value = {
        row: v
        for rows, vs in zip(grid.rows, grid.verdicts, strict=True)
        for row, v in zip(rows, vs, strict=True)
    }
    for better, worse, group in zip(pairs.preferred, pairs.rejected, pairs.groups, strict=True):
        assert prompt[better] == prompt[worse] and grid.prompts[prompt[better]] == group
        assert value[better] - value[worse] >= 0.5


def test_a_judge_learns_what_verdicts_follow_and_not_from_the_group_itself(pairs, features):
    rows = jd.tried(pairs, features, l2=1.0)
    assert len(rows) == len(pairs.groups) and (rows["group"].to_numpy() == pairs.groups).all()
    table = jd.accuracy(rows, generator=np.random.default_rng(0), resamples=100).set_index(
        ["stratum", "rule"]
    )
    assert table.loc[("all", "judge"), "low"] > 0.6
    assert table.loc["all", "n_pairs"].iloc[0] == sum(table.loc[s, "n_pairs"].iloc[0] for s in jd.STRATA[1:])
    longer, shorter = (table.loc[("all", rule), "accuracy"] for rule in ("longer", "shorter"))
    assert np.isclose(longer + shorter, 1)
    own = np.random.default_rng(1).normal(size=(len(pairs.lengths), 300))
    noise = jd.tried(pairs, arrays(own), l2=1.0)["judge"].mean()
    assert 0.35 < noise < 0.65


def test_length_taken_out_leaves_a_judge_of_length_nothing(pairs):
    rows = jd.tried(pairs, arrays(pairs.lengths[:, None]), l2=1e-3)
    assert rows["judge"].mean() == rows["longer"].mean() or rows["judge"].mean() == rows["shorter"].mean()
    judge = jd.fit_judge(pairs, arrays(pairs.lengths[:, None]), l2=1e-3)
    scores = jd.judge_scores(judge, arrays(pairs.lengths[:, None]), np.arange(len(pairs.lengths)))
    rest = scores - judge.slope * pairs.lengths
    assert np.ptp(rest) < 1e-8


def test_systems_left_out_are_tried_alone_weakest_first(grid, pairs, features):
    parts = jd.weakest_first(grid, 4)
    means = [np.nanmean(grid.of(part).verdicts) for part in parts]
    assert means == sorted(means) and sum(map(len, parts)) == 8
    rows = jd.tried_without(pairs, features, parts[0], l2=1.0)
    assert (rows["system"].isin(parts[0]) | rows["other"].isin(parts[0])).all()
    assert len(rows) == np.isin(pairs.systems, parts[0]).any(axis=1).sum()
    with pytest.raises(DataError, match="have a system of"):
        jd.tried_without(pairs, features, ["nobody"], l2=1.0)
    with pytest.raises(SpecError, match="l2 must be positive"):
        jd.fit_judge(pairs, features, l2=0)


def test_peoples_pairs_are_grouped_by_how_the_dialogue_opens(tmp_path):
    start = "\n\nHuman: question {0}\n\nAssistant:"
    rows = [{"chosen": start.format(n) + f" yes {n}", "rejected": start.format(n) + " no"} for n in range(40)]
    more = rows[3]["chosen"] + "\n\nHuman: and then?\n\nAssistant:"
    rows.append({"chosen": more + " yes", "rejected": more + " no"})
    path = tmp_path / "harmless-base" / "train.jsonl.gz"
    path.parent.mkdir()
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    pairs, texts = jd.human_pairs(hh_rlhf.load(hh_rlhf.HHRLHFSpec(folder=tmp_path)))
    assert len(pairs.groups) == 41 and len(set(pairs.groups)) == 40
    assert texts[pairs.preferred[0]] == "yes 0" and texts[pairs.rejected[0]] == "no"
    rows = jd.tried(pairs, bag(gram_counts(texts)), l2=1.0)
    assert rows["judge"].mean() > 0.9
    with pytest.raises(DataError, match="name no systems"):
        jd.tried_without(pairs, bag(gram_counts(texts)), ["a"], l2=1.0)
