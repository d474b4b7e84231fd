"""What chapter 4 shows of recipes, from a small frozen grid."""

import pandas as pd
import pytest

from afd_study.study.chapters.recipes import (
    beside,
    chosen,
    gains,
    learning_curve,
    of_task,
    recipe_table,
)
from afd_study.study.frozen.files import freeze
from afd_study.study.frozen.recipe_grid import EQUAL, FREE, recipe_choice, recipe_grid


@pytest.fixture
def frozen(tmp_path, monkeypatch):
    monkeypatch.setenv("AFD_RESULTS", str(tmp_path))
    grid, rows = recipe_grid(), []
    for place, recipe in enumerate(grid.recipes):
        for task, worlds in grid.worlds.items():
            for world in worlds:
                for kind in grid.kinds:
                    value = 1.0 + 0.1 * place
                    row = {"recipe": recipe, "world": f"{task} {world}", "kind": kind, "task": task}
                    names = ("judge", "judge_16", "judge_50", "ensemble_16", "agreement")
                    row |= dict.fromkeys(names, value) | {"held_out_loss": 0.7 - 0.01 * place}
                    row |= dict.fromkeys(("held_out_loss_sd", "judge_16_sd", "judge_50_sd"), 0.05)
                    row |= {"seconds": 9.0, "sample_seconds": 3.0, "flops": 1e12 + place}
                    row |= {"random_16": 0.5, "demonstrations": 1.2}
                    rows.append(row)
    results = pd.DataFrame(rows)
    freeze("recipes", {"results": results, **recipe_choice(results)})


def test_every_recipe_has_a_row_a_task_and_says_what_it_changes(frozen):
    table = recipe_table("init_sft").set_index(["task", "recipe"])
    assert len(table) == 2 * len(recipe_grid().recipes)
    assert tuple(table.loc[("harmless", "today"), ["times", "batch"]]) == (1, 32)
    assert tuple(table.loc[("harmless", "x40, batch 128"), ["times", "batch"]]) == (40, 128)
    assert set(recipe_table("preferences")["times"]) == {1}, "labels are not free"


def test_the_curve_holds_samples_and_batch_alone(frozen):
    curve = learning_curve(("init_sft",))
    assert set(zip(curve["batch"], curve["times"], strict=True)) == {
        (32, 1), (32, 10), (128, 1), (128, 4), (128, 10), (128, 40)
    }  # fmt: skip
    assert (curve.groupby(["task", "batch", "times"]).size() == 4).all()


def test_both_criteria_are_shown(frozen):
    table = chosen()
    assert set(table["criterion"]) == {"held_out_loss", "judge"}
    assert set(table["kind"]) == set(recipe_grid().kinds)
    free = table[table["samples"] == FREE]
    assert set(free["best"]) == {"x40, batch 128"} and "preferences" not in set(free["kind"])
    equal = table[table["samples"] == EQUAL]
    assert set(equal["best"]) == {"batch 128, rate 3e-4"} and set(equal["kind"]) == set(recipe_grid().kinds)


def test_a_page_shows_the_recipes_of_its_task_and_none_of_another(frozen):
    table = of_task("harmless")
    assert set(table["method"]) == set(recipe_grid().kinds) and (table["core_seconds"] == 12).all()
    assert list(table.query("method == 'preferences'")["recipe"])[:2] == ["today", "rate 3e-4"]
    assert of_task("a task without a grid").empty and gains("a task without a grid").empty


def test_what_free_samples_are_worth_is_counted_world_by_world(frozen):
    rows = gains("helpful")
    assert len(rows) == 8 and rows["gain"].to_numpy() == pytest.approx(0.6)
    assert set(rows["kind"]) == {"init_sft", "init_demo"}


def test_two_changes_stand_beside_the_choice(frozen):
    table = beside().set_index("kind")
    assert table.at["init_sft", "points"] == pytest.approx(0.3)
    assert table.at["preferences", "points"] == pytest.approx(0.2)
    assert tuple(table.loc["preferences", ["n_higher_loss", "n_worlds"]]) == (0, 8)
