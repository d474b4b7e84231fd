"""The grid that recipes are chosen on (recipe_grid.yaml): its cells, and what is measured in each."""

from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd
import yaml
from pydantic import Field, model_validator

from afd_study.evaluation.recipes import agreement, choice, held_out_loss
from afd_study.methods.ensembles import ensemble_name, replicate_name
from afd_study.methods.reward_data import REWARD_DATA
from afd_study.settings import Settings
from afd_study.study.frozen.grids import PROFILE, Cell, worlds_in_turn
from afd_study.study.reward_spec import Recipe
from afd_study.study.spec import load_spec
from afd_study.study.workflow.step import Step
from afd_study.study.workflow.store import Store

BESIDE = ("random", "oracle")  # what a recipe's picks lie between
CRITERIA = ("held_out_loss", "judge")
EQUAL, FREE = "equal counts", "free samples"
SPENT = ("seconds", "sample_seconds", "flops")


class RecipeGrid(Settings):
    """Worlds, kinds and recipes, all crossed."""

    worlds: dict[str, tuple[int, ...]] = Field(min_length=1)
    seeds: tuple[int, ...]
    replicates: int = Field(ge=2)
    setting: dict[str, Any]
    kinds: tuple[str, ...]
    budget: int = Field(description="pairs that a recipe may see: steps x batch")
    n: tuple[int, ...]
    recipes: dict[str, Recipe] = Field(min_length=2)

    @model_validator(mode="after")
    def _within_budget(self) -> "RecipeGrid":
        reward = load_spec(next(iter(self.worlds)), PROFILE).reward
        for name, recipe in self.recipes.items():
            if recipe.replicates not in (None, self.replicates):
                raise ValueError(f"recipe '{name}': a grid has {self.replicates} replicates of every recipe")
            _, training = reward.model_copy(update={"recipes": {self.kinds[0]: recipe}}).recipe(self.kinds[0])
            if training.steps * training.batch_size > self.budget:
                raise ValueError(f"recipe '{name}' sees more than {self.budget} pairs")
        return self

    def recipes_of(self, name: str) -> dict[str, dict[str, Any]]:
        """Return a recipe for each kind; labels are not free, so that preferences keep their count."""
        recipe = self.recipes[name].model_dump(exclude_unset=True)
        own = {key: value for key, value in recipe.items() if key != "times"}
        return {kind: own if REWARD_DATA[kind].high == "preferred" else recipe for kind in self.kinds}


@cache
def recipe_grid() -> RecipeGrid:
    """Return the grid of recipe_grid.yaml."""
    text = files("afd_study.study.frozen").joinpath("recipe_grid.yaml").read_text(encoding="utf-8")
    return RecipeGrid.model_validate(yaml.safe_load(text))


def recipe_cells() -> list[tuple[str, int, Cell]]:
    """Return recipe, world and cell of the whole grid, the worlds in turn: what stands early is whole."""
    return [
        (name, world, _cell(task, world, name))
        for task, world in worlds_in_turn(recipe_grid().worlds)
        for name in recipe_grid().recipes
    ]


def _cell(task: str, world: int, name: str) -> Cell:
    grid = recipe_grid()
    overrides = {
        **grid.setting,
        "world.variant": world,
        "reward.kinds": list(grid.kinds),
        "reward.replicates": grid.replicates,
        "reward.recipes": grid.recipes_of(name),
    }
    return Cell(task, name, overrides, grid.seeds, ("outcomes",))


def recipe_results(cells: list[tuple[str, int, Cell]], store: Store) -> dict[str, pd.DataFrame]:
    """Return what the grid found, of cells that have been computed.

    `replicates` has a row for each recipe, world, kind and reward model: recipe, world, kind, task, seed,
    replicate, held_out_loss (nats a response), judge_16, judge_50 (points), seconds (of its training),
    sample_seconds (of drawing what it learns from), flops (of both). `results` has their means and spread, as
    `evaluation.recipes.choice` reads them, with the agreement of replicates and what their ensemble picks.
    """
    found = [_of_one_cell(name, world, cell, store) for name, world, cell in cells]
    replicates, together = (pd.concat(frames, ignore_index=True) for frames in zip(*found, strict=True))
    by = ["recipe", "world", "kind"]
    measures = ["held_out_loss", *(f"judge_{n}" for n in recipe_grid().n)]
    grouped = replicates.groupby(by, sort=False)[[*measures, *SPENT]]
    spread = grouped.std()[measures].add_suffix("_sd")
    results = grouped.mean().join(spread).reset_index().merge(together, on=by)
    return {"results": results.assign(judge=results[f"judge_{recipe_grid().n[0]}"]), "replicates": replicates}


def recipe_choice(results: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return tables `by_held_out_loss` and `by_judge`: the rule of recipe_grid.yaml by either criterion.

    Columns are those of `evaluation.recipes.choice`, and `samples`: among recipes with as many samples as
    demonstrations (EQUAL), and among all of them (FREE), for kinds that learn from samples.
    """
    grid = recipe_grid()
    counted = [name for name, recipe in grid.recipes.items() if (recipe.times or 1) == 1]
    free = [kind for kind in grid.kinds if REWARD_DATA[kind].high != "preferred"]
    scopes = {
        EQUAL: results[results["recipe"].isin(counted)],
        FREE: results[results["kind"].isin(free)],
    }
    return {
        f"by_{name}": pd.concat(
            [choice(rows, name, cost="flops").assign(samples=scope) for scope, rows in scopes.items()],
            ignore_index=True,
        )
        for name in CRITERIA
    }


def _of_one_cell(name: str, world: int, cell: Cell, store: Store) -> tuple[pd.DataFrame, pd.DataFrame]:
    study, grid = cell.study(store), recipe_grid()
    scores, outcomes, trained = study.table("scores"), study.table("outcomes"), study.reward_models()
    place, replicates, together = {"recipe": name, "world": f"{cell.task} {world}"}, [], []
    for seed, plan in study.plans().items():
        own = scores[scores["seed"] == seed].drop(columns="seed")
        judged = outcomes[(outcomes["seed"] == seed) & outcomes["n"].isin(grid.n)]
        means = judged.groupby(["method", "n"])["value"].mean()
        losses = trained[trained["seed"] == seed].set_index("scorer")["validation_loss"]
        for kind in grid.kinds:
            members = [replicate_name(kind, r) for r in range(grid.replicates)]
            for replicate, member in enumerate(members):
                measured = {
                    "held_out_loss": _loss(own, kind, member, losses),
                    **{f"judge_{n}": float(means.loc[member, n]) for n in grid.n},
                    **_spent(plan.step(f"reward_{member}"), store),
                }
                at = {"kind": kind, "task": cell.task, "seed": seed, "replicate": replicate}
                replicates.append({**place, **at, **measured})
            ensemble = {f"ensemble_{n}": float(means[ensemble_name(kind), n]) for n in grid.n}
            beside = {f"{other}_{n}": float(means[other, n]) for other in BESIDE for n in grid.n}
            levels = {"demonstrations": float(outcomes[_is_level(outcomes, seed)]["value"].mean())}
            own_place = {**place, "task": cell.task, "kind": kind, "agreement": agreement(own, members)}
            together.append({**own_place, **ensemble, **beside, **levels})
    return pd.DataFrame(replicates), pd.DataFrame(together)


def _is_level(outcomes: pd.DataFrame, seed: int) -> "pd.Series[bool]":
    return (outcomes["seed"] == seed) & (outcomes["method"] == "demonstrations") & (outcomes["n"] == 1)


def _spent(model: Step, store: Store) -> dict[str, float]:
    """Return SPENT of a reward model: seconds of its training, of drawing its samples, and FLOPs of both."""

    def of(step: Step) -> tuple[float, float]:
        manifest = store.manifest(step)
        return (manifest["seconds"], manifest["cost"].get("flops", 0.0)) if manifest else (np.nan, np.nan)

    drawn = [of(step) for step in model.inputs.values() if step.name == "samples"]
    seconds, flops = of(model)
    sample_seconds, sample_flops = np.sum(drawn, axis=0) if drawn else (0.0, 0.0)
    return dict(zip(SPENT, (seconds, sample_seconds, flops + sample_flops), strict=True))


def _loss(scores: pd.DataFrame, kind: str, member: str, validation: pd.Series) -> float:
    """Return a reward model's held-out loss: of Bradley-Terry, whose offset is free, on validation pairs."""
    data = REWARD_DATA[kind]
    if data.loss == "bradley_terry":
        return float(validation[member])
    return held_out_loss(scores, scorer=member, high=data.high, low=data.low)
