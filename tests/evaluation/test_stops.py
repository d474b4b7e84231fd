"""Stops of a direct method's run: its own, its last, and an oracle's that is no maximum over noise."""

import numpy as np
import pandas as pd
import pytest

from afd_study.errors import DataError
from afd_study.evaluation.stops import STOPS, stops
from afd_study.records import TABLES


def path(losses, judge_1, judge_2, method="a"):
    steps = 50 * np.arange(len(losses))
    table = pd.DataFrame({"method": method, "step": steps, "validation_loss": losses})
    table = table.assign(judge_1=judge_1, judge_2=judge_2, off_grammar=steps / 1000, stray_share=0.1)
    table["judge"] = (table["judge_1"] + table["judge_2"]) / 2
    return table.assign(preferred_logprob=-9.0, rejected_logprob=-9.0, length=20.0, n=384)


def test_each_stop_is_read_where_it_lies():
    table = stops(path([0.5, 0.7, 0.6, 0.65], [0.0, 1.0, 0.5, 0.2], [0.0, 1.2, 0.5, 0.2])).set_index("stop")
    assert tuple(table.index) == STOPS
    assert table["step"].tolist() == [100, 150, 50]  # the start's own loss is not what training returns
    assert table["judge"].tolist() == pytest.approx([0.5, 0.2, 1.1])
    assert table["off_grammar"].tolist() == pytest.approx([0.1, 0.15, 0.05])
    assert table.loc["validated", "validation_loss"] == 0.6


def test_the_oracle_may_choose_the_start():
    table = stops(path([0.7, 0.6], [1.0, 0.5], [1.0, 0.5])).set_index("stop")
    assert table.loc["oracle", "step"] == 0 and table.loc["oracle", "judge"] == 1.0


def test_the_oracle_of_points_that_do_not_differ_gains_nothing_from_noise():
    rng, gains, naive = np.random.default_rng(0), [], []
    for _ in range(300):
        table = path(np.linspace(0.7, 0.6, 13), *rng.normal(0, 0.1, size=(2, 13)))
        gains.append(stops(table).set_index("stop").loc["oracle", "judge"])
        naive.append(table["judge"].max())
    assert abs(np.mean(gains)) < 0.02 < 0.08 < np.mean(naive)


def test_every_path_has_its_own_stops_and_none_has_no_rows():
    both = pd.concat([path([0.7, 0.6], [0, 1], [0, 1]).assign(seed=seed) for seed in (3, 4)])
    table = stops(both, ("seed", "method"))
    assert table["seed"].tolist() == [3] * 3 + [4] * 3 and set(table["method"]) == {"a"}
    nothing = stops(pd.DataFrame(columns=["seed", *TABLES["path"].columns]), ("seed", "method"))
    assert nothing.empty and {"seed", "method", "stop", "judge"} <= set(nothing)


def test_bad_input_is_named():
    with pytest.raises(DataError, match="lacks the columns"):
        stops(path([0.7, 0.6], [0, 1], [0, 1]).drop(columns="judge_2"))
    with pytest.raises(DataError, match="no point behind its start"):
        stops(path([0.7], [0.0], [0.0]))
