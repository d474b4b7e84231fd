"""The grids of arms' settings: on exploration worlds alone, one method each, a choice by what is measured."""

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from afd_study.errors import SpecError, StoreError
from afd_study.methods.arms import ARMS, DirectArm, ImitationArm
from afd_study.study import freeze as freezing
from afd_study.study.frozen import arm_grids
from afd_study.study.frozen.arm_grids import (
    CHOICES,
    ArmGrid,
    adversarial_choice,
    arm_grid,
    chosen_schedules,
    grid_cells,
    grid_results,
    schedule_choice,
)
from afd_study.study.frozen.files import freeze, read_frozen
from afd_study.study.frozen.grids import Cell
from afd_study.study.spec import load_spec
from afd_study.study.workflow.store import Store
from afd_study.worlds.variants import cell as place


@pytest.mark.parametrize("name", CHOICES)
def test_only_exploration_worlds_are_looked_at_and_every_cell_is_a_valid_study(name):
    grid, cells = arm_grid(name), grid_cells(arm_grid(name))
    assert len(cells) == len(grid.schedules) * sum(map(len, grid.worlds.values()))
    for schedule, world, cell in cells:
        assert place(cell.task, world).role == "exploration"
        arms = load_spec(cell.task, "cpu", cell.overrides).arms
        assert arms.schedules == dict.fromkeys(grid.arms, grid.schedules[schedule])
    assert next(iter(grid.schedules.values())) == {}  # today's
    first = [(cell.task, world) for _, world, cell in cells[: len(grid.schedules)]]
    assert len(set(first)) == 1  # a run that is cut short has whole worlds


def test_each_grid_has_the_arms_of_its_method():
    assert {type(ARMS[name]) for name in arm_grid("arm_schedules").arms} == {DirectArm}
    imitated = [ARMS[name] for name in arm_grid("adversarial_grid").arms]
    assert {type(arm) for arm in imitated} == {ImitationArm}
    crossed = {(arm.start, arm.transform) for arm in imitated}
    assert crossed == {(start, kind) for start in ("pi_init", "pi_sft") for kind in ("airl", "gail")}


SMALL = {"worlds": {"harmless": [100]}, "seeds": [0], "arms": ["spin_1"]}
SMALL |= {"schedules": {"today": {}, "faster": {"learning_rate": 0.01}}}
SMALL |= {"setting": {"world.n_demonstrations": 160, "world.n_pretraining": 400, "world.n_test": 12}}


def test_a_grid_that_cannot_be_is_refused():
    with pytest.raises(ValidationError, match="did you mean 'spin_1'"):
        ArmGrid(**{**SMALL, "arms": ["spin_l"]})
    with pytest.raises(ValidationError, match="made by one method"):
        ArmGrid(**{**SMALL, "arms": ["spin_1", "adversarial_js"]})
    with pytest.raises(ValidationError, match="spin follows spin_chi2_1, which is not among"):
        ArmGrid(**{**SMALL, "follow": {"spin": "spin_chi2_1"}})
    with pytest.raises(SpecError, match="no rule that chooses the schedule of 'rl_init_sft_0.2'"):
        grid_cells(ArmGrid(**{**SMALL, "arms": ["rl_init_sft_0.2"]}))


@pytest.fixture
def smoke(monkeypatch):
    """Every cell's study is of the smoke profile."""
    study = Cell.study
    monkeypatch.setattr(
        Cell, "study", lambda cell, store=None, jobs=None, profile="": study(cell, store, jobs, "smoke")
    )


def test_a_small_grid_of_schedules_is_computed_chosen_from_and_frozen(tmp_path, smoke, monkeypatch):
    grid = ArmGrid(**{**SMALL, "worlds": {"harmless": [100], "helpful": [100]}, "follow": {"spin": "spin_1"}})
    monkeypatch.setattr(arm_grids, "arm_grid", lambda name: grid)
    monkeypatch.setattr(freezing, "arm_grid", lambda name: grid)
    monkeypatch.setenv("AFD_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("AFD_RESULTS", str(tmp_path / "results"))
    with pytest.raises(StoreError, match="no frozen results 'arm_schedules'"):
        chosen_schedules("arm_schedules")
    freezing.FREEZERS["arm_schedules"](jobs=1)
    results = read_frozen("arm_schedules", "results")
    assert list(results["recipe"]) == ["today", "faster"] * 2 and set(results["kind"]) == {"spin_1"}
    numbers = ["validation_loss", "judge", "oracle", "off_grammar", "stop", "oracle_stop"]
    assert np.isfinite(results[numbers]).all(axis=None)
    store = Store(tmp_path / "store")
    names = {path.parent.parent.name for path in store.root.rglob("manifest.json")}
    assert "direct_path" in names and not names & {"reward_model", "outcomes", "arms"}  # none of them is read
    losses = results.groupby("recipe")["validation_loss"].mean()
    chosen = read_frozen("arm_schedules", "by_validation_loss").iloc[0]
    assert chosen["recipe"] == losses.idxmin() == chosen["best"]
    own = dict(grid.schedules[chosen["recipe"]])
    assert chosen_schedules("arm_schedules") == {"spin_1": own, "spin": own}


def test_a_small_grid_of_adversarial_settings_has_each_run_s_own_objective(tmp_path, smoke):
    grid = ArmGrid(
        **{**SMALL, "arms": ["adversarial_js_from_sft"], "schedules": {"today": {}, "slow": {"updates": 1}}}
    )
    results = grid_results(grid_cells(grid), Store(tmp_path))
    assert list(results["recipe"]) == ["today", "slow"] and set(results["divergence"]) == {"jensen_shannon"}
    assert (results["objective_end"] == results["end"]).all() and results["start"].nunique() == 1
    assert results[["change", "low", "high", "judge", "judge_start"]].notna().all(axis=None)


def rows(**by_recipe):
    """Changes of the objective (worlds) by recipe, from a start of 5 nats."""
    return pd.DataFrame(
        [
            {"recipe": recipe, "world": f"w{world}", "kind": "a", "change": change, "lowered": change < -0.5}
            for recipe, changes in by_recipe.items()
            for world, change in enumerate(changes)
        ]
    ).assign(objective_end=lambda table: 5 + table["change"])


def test_an_arm_is_applicable_where_its_objective_falls_over_worlds():
    results = rows(today=[2.0, 3.0, 1.0, 2.0], falls=[-1.0, -1.2, -0.8, -1.1], best=[-9.0, 4.0, -2.0, 0.0])
    tables = adversarial_choice(results)
    assert tables["by_objective_end"].iloc[0]["recipe"] == "best"  # the lowest end, though not surely lower
    table = tables["applicable"].set_index("recipe")
    assert table["applicable"].to_dict() == {"today": False, "falls": True, "best": False}
    assert table["chosen"].to_dict() == {"today": False, "falls": False, "best": True}
    assert table["n_lowered"].tolist() == [0, 4, 2] and set(table["n_worlds"]) == {4}


def test_a_schedule_is_chosen_by_its_own_loss_and_the_judge_stands_beside():
    table = pd.DataFrame(
        [
            {
                "recipe": recipe,
                "world": world,
                "kind": "a",
                "validation_loss": loss,
                "judge": judge,
                "oracle": 1,
            }
            for recipe, loss, judge in (("today", 0.6, 0.2), ("other", 0.59, 0.1))
            for world in ("w0", "w1")
        ]
    )
    tables = schedule_choice(table)
    assert tables["by_validation_loss"].iloc[0]["recipe"] == "other"
    assert tables["by_judge"].iloc[0]["recipe"] == "today"


def test_frozen_choices_name_the_settings_themselves(tmp_path, monkeypatch):
    monkeypatch.setenv("AFD_RESULTS", str(tmp_path))
    name, grid = "adversarial_grid", arm_grid("adversarial_grid")
    last = list(grid.schedules)[-1]
    freeze(name, {CHOICES[name][1]: pd.DataFrame({"kind": list(grid.arms), "recipe": last})}, seeds=[0])
    assert chosen_schedules(name) == dict.fromkeys(grid.arms, grid.schedules[last])
