"""The grid of recipes: on exploration worlds alone, within its budget, labels counted alike."""

import pytest
from pydantic import ValidationError

from afd_study.study.frozen.recipe_grid import RecipeGrid, recipe_cells, recipe_grid, recipe_results
from afd_study.study.workflow.store import Store


def test_only_exploration_worlds_are_looked_at():
    assert all(world >= 100 for worlds in recipe_grid().worlds.values() for world in worlds)


def test_every_recipe_meets_every_world_and_worlds_come_whole():
    grid, cells = recipe_grid(), recipe_cells()
    assert len(cells) == len(grid.recipes) * sum(map(len, grid.worlds.values()))
    first = [(cell.task, world) for _, world, cell in cells[: len(grid.recipes)]]
    assert len(set(first)) == 1  # a run that is cut short has whole worlds


def test_labels_are_not_free():
    own = recipe_grid().recipes_of("x10, batch 128")
    assert own["init_sft"]["times"] == own["init_demo"]["times"] == 10 and "times" not in own["preferences"]
    assert own["preferences"]["training"] == own["init_sft"]["training"]


def test_a_recipe_beyond_the_budget_is_refused():
    recipes = {"today": {"training": {}}, "long": {"training": {"steps": 4000}}}
    with pytest.raises(ValidationError, match="recipe 'long' sees more than 51200 pairs"):
        RecipeGrid(**{**recipe_grid().model_dump(), "recipes": recipes})


def test_a_recipe_with_replicates_of_its_own_is_refused():
    recipes = {"today": {"training": {}}, "more": {"replicates": 5}}
    with pytest.raises(ValidationError, match="recipe 'more': a grid has 2 replicates of every recipe"):
        RecipeGrid(**{**recipe_grid().model_dump(), "recipes": recipes})


@pytest.mark.slow
def test_a_small_grid_has_a_row_for_each_kind(tmp_path):
    name, world, cell = recipe_cells()[0]
    small = {"pretraining.steps": 200, "world.n_demonstrations": 300, "world.n_test": 12}
    cells = [(name, world, cell._replace(overrides={**cell.overrides, **small}))]
    tables = recipe_results(cells, Store(tmp_path))
    results, replicates = tables["results"], tables["replicates"]
    assert list(results["kind"]) == list(recipe_grid().kinds)
    assert (results["task"] == cells[0][2].task).all()
    assert results[["held_out_loss", "agreement", "judge", "ensemble_50"]].notna().all(axis=None)
    assert len(replicates) == recipe_grid().replicates * len(results) and (replicates["seconds"] > 0).all()
    own = replicates.groupby("kind", sort=False)["judge_16"].agg(["mean", "std"])
    assert results["judge_16"].to_numpy() == pytest.approx(own["mean"].to_numpy())
    assert results["judge_16_sd"].to_numpy() == pytest.approx(own["std"].to_numpy())
