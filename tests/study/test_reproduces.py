"""One seed of the frozen ledger, computed again: the same bits on the recorded hardware, close elsewhere."""

import os

import numpy as np
import pytest
from scipy import stats

from afd_study.study.chapters import claims
from afd_study.study.frozen.files import hardware
from afd_study.study.frozen.grids import ledger_cells
from afd_study.study.frozen.seed_means import gather
from afd_study.study.workflow.code_version import library_versions
from afd_study.study.workflow.store import Store

CELLS = [("harmless", "small policy"), ("helpful", "h = 1")]


@pytest.mark.slow
@pytest.mark.parametrize("task, setting", CELLS)
def test_a_seed_of_the_ledger_comes_out_as_it_was_frozen(task, setting, tmp_path):
    made, kept = claims.manifest(), claims.frozen_values()
    [cell] = [each for each in ledger_cells() if (each.task, each.setting) == (task, setting)]
    seed = cell.seeds[0]
    fresh = gather([cell._replace(seeds=(seed,))], store=Store(tmp_path), jobs=os.cpu_count() or 1)
    fresh = fresh[fresh["metric"].isin(kept["metric"])]  # some measures are younger than the table
    here = kept[(kept["task"] == task) & (kept["setting"] == setting)]
    keys = ["metric", "method", "n"]
    both = fresh.merge(here[here["seed"] == seed], on=keys, suffixes=("", "_frozen"), validate="one_to_one")
    assert len(both) == len(fresh) == (here["seed"] == seed).sum()
    now, then = made["hardware"], hardware()
    if now["processor"] == then["processor"] and made["libraries"] == library_versions():
        # nine digits are frozen
        np.testing.assert_allclose(both["value"], both["value_frozen"], rtol=2e-8, atol=1e-12)
        return
    # where one more seed would lie: the interval of the ledger's seeds for a single one
    spread = here.groupby(keys)["value"].agg(["mean", "std", "count"]).reset_index()
    near = both.merge(spread, on=keys)
    half = stats.t.ppf(0.9995, near["count"] - 1) * near["std"] * np.sqrt(1 + 1 / near["count"])
    outside = (near["value"] - near["mean"]).abs() > half + 1e-9
    assert outside.mean() < 0.02, near[outside][[*keys, "value", "mean"]]
