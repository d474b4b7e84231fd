"""Table `values`: means over prompts of a study's tables, whole after freezing, computed once."""

import pandas as pd
import pytest

from afd_study.evaluation.claim_effects import VALUE_COLUMNS
from afd_study.evaluation.sizes import SIZES
from afd_study.study.frozen.grids import Cell
from afd_study.study.frozen.seed_means import gather, narrow, wide

PICKS = Cell(
    "helpful", "h = 1", {"world.heterogeneity": 1.0, "reward.kinds": ["init_sft", "init_demo"]}, (0, 1)
)
SMALL = Cell("helpful", "small policy", {"policy.config.n_embd": 8}, (0,), ("coverage",))


@pytest.fixture(scope="module")
def values(store):
    return gather([PICKS, SMALL], store=store, profile="smoke")


def test_values_are_means_over_prompts_of_the_studys_own_tables(values, store):
    table = PICKS.study(store, profile="smoke").table("outcomes")
    table = table.query("method == 'init_sft' and n == 16 and seed == 1")
    judged = values[(values["metric"] == "judge") & (values["method"] == "init_sft") & (values["n"] == 16)]
    assert judged.set_index("seed").loc[1, "value"] == pytest.approx(table["value"].mean())
    assert list(values.columns) == list(VALUE_COLUMNS) and values["value"].notna().all()
    assert set(values["table"]) == {"outcomes", "win_rates", "coverage", "probes", "separability"}
    assert set(values.loc[values["table"] == "outcomes", "n"]) <= set(SIZES)


def test_where_only_covering_is_measured_no_reward_model_is_trained(values, store):
    small = values[values["setting"] == "small policy"]
    assert set(small["table"]) == {"coverage"} and set(small["method"]) == {"pi_init", "pi_sft"}
    first = next(iter(SMALL.steps(SMALL.study(store, profile="smoke"))))
    names = {step.name for step in first.closure().values()}
    assert "reward_model" not in names and "pi_sft" in names


def test_wide_tables_hold_the_same_values(values):
    keys = list(VALUE_COLUMNS)[:-1]
    again, once = (each.sort_values(keys).reset_index(drop=True) for each in (narrow(wide(values)), values))
    pd.testing.assert_frame_equal(again, once, check_dtype=False)


def test_nothing_is_computed_twice(values, store):
    before = sorted(path.stat().st_mtime_ns for path in store.root.rglob("manifest.json"))
    gather([SMALL, SMALL], store=store, profile="smoke")
    assert sorted(path.stat().st_mtime_ns for path in store.root.rglob("manifest.json")) == before
