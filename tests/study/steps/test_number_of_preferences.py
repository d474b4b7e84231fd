"""Fewer preferences: a smaller choice is part of every larger one."""

import pandas as pd
import pytest

from afd_study.errors import DataError
from afd_study.study.steps.preferences import chosen_preferences
from afd_study.study.workflow.context import Context
from afd_study.study.workflow.tables import read_table, write_table


def test_a_larger_choice_of_preferences_holds_every_smaller_one(tmp_path):
    rows = [(f"p{i}", draw, f"good {i} {draw}", f"bad {i} {draw}") for i in range(10) for draw in range(3)]
    columns = ["prompt_id", "draw", "preferred", "rejected"]
    write_table(tmp_path, "preferences", pd.DataFrame(rows, columns=columns))

    def chosen(n, seed=0):
        out = tmp_path / f"{n}-{seed}"
        out.mkdir()
        context = Context(tmp_path)
        chosen_preferences(out, context, n=n, seed=seed, preferences=tmp_path, tokenizers=tmp_path)
        assert context.cost == {"labels": n}
        pairs, counts = read_table(out, "preferences"), read_table(out, "demonstrations")
        assert len(pairs) == n and pairs[["prompt_id", "draw"]].equals(counts[["prompt_id", "draw"]])
        # numbered afresh: pairs are called for by prompt and draw from 0
        assert (pairs["draw"] == pairs.groupby("prompt_id").cumcount()).all()
        good, bad = pairs["preferred"].str.removeprefix("good"), pairs["rejected"].str.removeprefix("bad")
        assert (good == bad).all()
        return set(pairs["preferred"])

    few, many = chosen(7), chosen(20)
    assert few < many and chosen(7, seed=1) != few and len(chosen(30)) == 30
    with pytest.raises(DataError, match="reward.n_preferences=31, but there are 30 preferences"):
        chosen(31)
