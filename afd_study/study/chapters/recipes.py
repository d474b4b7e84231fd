"""What chapter 4 shows of recipes: the table by which they were chosen, and the curve over free samples."""

import pandas as pd

from afd_study.study.frozen.files import read_frozen
from afd_study.study.frozen.grids import PROFILE
from afd_study.study.frozen.recipe_grid import CRITERIA, recipe_grid
from afd_study.study.spec import load_spec

NAME = "recipes"
FREE_KINDS = ("init_sft", "init_demo")
SHOWN = (
    *("held_out_loss", "held_out_loss_sd", "agreement", "judge_16", "judge_16_sd"),
    *("judge_50", "judge_50_sd", "ensemble_16", "seconds", "sample_seconds"),
)
ON_PAGE = ("held_out_loss", "held_out_loss_sd", "agreement", "judge_16", "judge_16_sd")
LEVELS = ("random_16", "demonstrations")


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


def learning_curve(kinds: tuple[str, ...] = FREE_KINDS) -> pd.DataFrame:
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


def of_task(task: str) -> pd.DataFrame:
    """Return a task's recipes, kind by kind: method, recipe, ON_PAGE and core_seconds.

    `core_seconds` are those of one reward model and of the samples that it learned from. Preferences, whose
    labels are not free, have a row for each training alone. A task without a grid has no rows.
    """
    frames = []
    for kind in recipe_grid().kinds:
        own = recipe_table(kind).query("task == @task").drop_duplicates(["times", "held_out_loss"])
        spent = own["seconds"] + own["sample_seconds"]
        frames.append(own.assign(method=kind, core_seconds=spent.round().astype(int)))
    return pd.concat(frames, ignore_index=True)[["method", "recipe", *ON_PAGE, "core_seconds"]]


def gains(task: str) -> pd.DataFrame:
    """Return what free samples are worth in each world of a task: kind, world, today, most, gain (points).

    `most` is the judge's mean of the best of 16 with ten times the samples and a batch of 128.
    """
    frames = []
    for kind in FREE_KINDS:
        own = _over_worlds(kind, "judge_16").filter(regex=f"^{task} ", axis="index")
        today, most = own["today"], own["x10, batch 128"]
        frames.append(pd.DataFrame({"kind": kind, "today": today, "most": most, "gain": most - today}))
    return pd.concat(frames).rename_axis("world").reset_index()


def beside() -> pd.DataFrame:
    """Return two changes that no rule chose, over all worlds: kind, change, points, n_higher_loss, n_worlds.

    `points` is what the change adds to the judge's mean of the best of 16; `n_higher_loss` counts the worlds
    in which it raises the held-out loss.
    """
    rows = []
    for kind, new, old in (
        ("init_sft", "x40, batch 128", "x10, batch 128"),
        ("preferences", "batch 128", "today"),
    ):
        judged, lost = _over_worlds(kind, "judge_16"), _over_worlds(kind, "held_out_loss")
        higher = (lost[new] > lost[old]).to_numpy()
        points = float((judged[new] - judged[old]).mean())
        rows.append((kind, f"'{new}' instead of '{old}'", points, int(higher.sum()), len(higher)))
    return pd.DataFrame(rows, columns=["kind", "change", "points", "n_higher_loss", "n_worlds"])


def _over_worlds(kind: str, measure: str) -> pd.DataFrame:
    """Return a measure of a kind: a row a world, a column a recipe."""
    results = read_frozen(NAME, "results")
    return results[results["kind"] == kind].pivot(index="world", columns="recipe", values=measure)
