"""What chapter 4 shows of recipes: the table by which they were chosen, and the curve over free samples."""

import pandas as pd

from afd_study.study.frozen.files import is_frozen, read_frozen
from afd_study.study.frozen.grids import PROFILE
from afd_study.study.frozen.recipe_grid import CRITERIA, recipe_grid
from afd_study.study.spec import load_spec

NAME = "recipes"
SHOWN = (
    *("held_out_loss", "held_out_loss_sd", "agreement", "judge_16", "judge_16_sd"),
    *("judge_50", "judge_50_sd", "ensemble_16", "seconds", "sample_seconds"),
)
LEVELS = ("random_16", "demonstrations")


def has_recipes() -> bool:
    """Tell whether the grid of recipes has been computed and frozen."""
    return is_frozen(NAME)


def recipe_table(kind: str) -> pd.DataFrame:
    """Return a kind's recipes in each task, means over worlds: task, recipe, times, batch, rate, and more.

    Losses are in nats a response, judge's means in points. A `_sd` is the standard deviation between reward
    models of one recipe in one world. The further columns are SHOWN and LEVELS, which picks lie beside.
    """
    results = read_frozen(NAME, "results")
    own = results[results["kind"] == kind]
    means = own.groupby(["task", "recipe"], sort=False)[[*SHOWN, *LEVELS]].mean().reset_index()
    return means.merge(_recipes(kind), on="recipe")[
        ["task", "recipe", "times", "batch", "rate", *SHOWN, *LEVELS]
    ]


def _recipes(kind: str) -> pd.DataFrame:
    """Return how many samples a demonstration, which batch and which rate each recipe has."""
    grid, rows = recipe_grid(), []
    reward = load_spec(next(iter(grid.worlds)), PROFILE).reward
    for name in grid.recipes:
        own = reward.model_validate(reward.model_dump() | {"recipes": grid.recipes_of(name)})
        data, training = own.recipe(kind)
        rows.append((name, data.times, training.batch_size, training.learning_rate))
    return pd.DataFrame(rows, columns=["recipe", "times", "batch", "rate"])


def learning_curve(kinds: tuple[str, ...] = ("init_sft", "init_demo")) -> pd.DataFrame:
    """Return the judge's mean over free samples and batch: task, world, kind, batch, times, mean and more.

    A row is a recipe in a world, of recipes that differ from today's in samples and batch alone. `sd` is the
    spread between reward models.
    """
    results = read_frozen(NAME, "results")
    rows = []
    for kind in kinds:
        table = _recipes(kind)
        usual = table["rate"].iloc[0]
        plain = [name for name in table["recipe"] if not set(_changes(name)) - {"batch_size"}]
        chosen = table[table["recipe"].isin(plain) & (table["rate"] == usual)]
        own = results[results["kind"] == kind].merge(chosen, on="recipe")
        rows.append(own.rename(columns={"judge_16": "mean", "judge_16_sd": "sd"}))
    columns = ["task", "world", "kind", "batch", "times", "mean", "sd", "held_out_loss", *LEVELS]
    return pd.concat(rows, ignore_index=True)[columns]


def _changes(name: str) -> list[str]:
    return list(recipe_grid().recipes[name].training)


def chosen() -> pd.DataFrame:
    """Return each kind's recipe by both criteria: `criterion`, and the columns of `recipes.choice`."""
    tables = {name: read_frozen(NAME, f"by_{name}") for name in CRITERIA}
    return pd.concat([table.assign(criterion=name) for name, table in tables.items()], ignore_index=True)
