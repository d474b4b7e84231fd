"""Replicates on a page: their mean, without what they pick together."""

import pandas as pd
import pytest

from afd_study.study.chapters.chapter import open_chapter
from afd_study.study.chapters.replicates import averaged, first_of_each

ROWS = [
    (0, "init_sft", 1.0),
    (0, "init_sft#1", 2.0),
    (0, "init_sft#1_without_length", 5.0),
    (0, "init_sft_without_length", 3.0),
    (0, "init_sft_ensemble", 9.0),
    (0, "random", 0.0),
    (1, "init_sft", 4.0),
    (1, "init_sft#1", 6.0),
]
TABLE = pd.DataFrame(ROWS, columns=["seed", "method", "value"])


def test_replicates_are_averaged_seed_by_seed_and_ensembles_left_out():
    table = averaged(TABLE)
    assert list(table.columns) == list(TABLE.columns)
    assert table.set_index(["seed", "method"])["value"].to_dict() == {
        (0, "init_sft"): 1.5,
        (0, "init_sft_without_length"): 4.0,
        (0, "random"): 0.0,
        (1, "init_sft"): 5.0,
    }


def test_a_table_without_replicates_comes_back_as_it_is():
    alone = TABLE[TABLE["method"].isin(["init_sft", "random"])]
    pd.testing.assert_frame_equal(averaged(alone), alone)


def test_the_first_of_each_kind_is_kept():
    assert list(first_of_each(TABLE, column="method")["value"]) == [1.0, 3.0, 0.0, 4.0]


@pytest.mark.parametrize(("kind", "name"), [("experiment", "curves"), ("probes", "rank_correlations")])
def test_a_chapter_of_studies_with_replicates_names_kinds_alone(kind, name, elsewhere):
    overrides = {"reward.replicates": 2, "reward.kinds": ["init_sft", "init_demo"]}
    chapter = open_chapter(kind, "helpful", "smoke", n_seeds=1, overrides=overrides)
    methods = set(chapter.table(name)["method"])
    assert {"init_sft", "init_demo"} <= methods and not any("#" in m or "_ensemble" in m for m in methods)
