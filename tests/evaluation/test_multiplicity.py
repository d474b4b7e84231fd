"""q-values over the family of distinct primary tests."""

import numpy as np
import pandas as pd
import pytest

from afd_study.errors import DataError
from afd_study.evaluation.multiplicity import q_values


def rows(p, test=None, primary=True):
    return pd.DataFrame(
        {"test": list("abcdefgh")[: len(p)] if test is None else test, "p": p, "primary": primary}
    )


def test_by_hand():
    # sorted .01, .02, .03, .2: p n / rank = .04, .04, .04, .2; times 1 + 1/2 + 1/3 + 1/4 for any dependence
    table = q_values(rows([0.2, 0.01, 0.03, 0.02]), test=["test"])
    assert table["q"].tolist() == pytest.approx([0.2, 0.04, 0.04, 0.04])
    assert table["q_dependent"].tolist() == pytest.approx([0.2 * 25 / 12, *[0.04 * 25 / 12] * 3])


def test_rows_of_one_test_are_counted_once():
    alone = q_values(rows([0.01, 0.04]), test=["test"])
    twice = q_values(rows([0.01, 0.01, 0.04], test=["a", "a", "b"]), test=["test"])
    assert twice["q"].tolist() == [alone["q"][0], *alone["q"]]


def test_a_test_may_be_named_by_several_columns():
    table = rows([0.01, 0.04], test=["a", "a"]).assign(task=["harmless", "helpful"])
    assert q_values(table, test=["test", "task"])["q"].tolist() == pytest.approx([0.02, 0.04])


def test_what_is_not_of_the_family_has_no_q_and_takes_none():
    table = rows([0.01, 0.02, np.nan, 0.04], primary=[True, False, True, True])
    result = q_values(table, test=["test"])
    assert result["q"].tolist()[::3] == q_values(rows([0.01, 0.04]), test=["test"])["q"].tolist()
    assert result["q"][1:3].isna().all() and result["q_dependent"][1:3].isna().all()
    assert q_values(table.assign(primary=False), test=["test"])["q"].isna().all()


def test_tables_that_are_refused():
    with pytest.raises(DataError, match="test a differ in p"):
        q_values(rows([0.01, 0.02], test=["a", "a"]), test=["test"])
    with pytest.raises(DataError, match="between 0 and 1"):
        q_values(rows([0.01, 1.2]), test=["test"])
    with pytest.raises(DataError, match="primary"):
        q_values(rows([0.01]).drop(columns="primary"), test=["test"])
