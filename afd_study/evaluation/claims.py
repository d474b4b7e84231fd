"""The ledger: which claims are judged, by which rule, and what the data say.

`claims.yaml` holds the claims and rules, fixed before any ledger seed was run. Here the effect of each seed
is formed from table `values` (claim_effects.py), an interval is put over seeds, and a verdict follows from
interval and margin. Nothing is merged: every (task, setting) has a row of its own.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field, ValidationError

from afd_study.errors import SpecError, unknown_name
from afd_study.evaluation.claim_effects import FORMS, Claim, Values, same_h
from afd_study.evaluation.coverage import METRICS as OF_COVERING
from afd_study.evaluation.identities import IDENTITIES
from afd_study.evaluation.statistics import seed_interval
from afd_study.evaluation.verdicts import verdict
from afd_study.plain_yaml import read_yaml
from afd_study.settings import Settings, faults_of

METRICS: Mapping[str, tuple[str, ...]] = {
    "outcomes": ("judge",),
    "win_rates": ("win_rate_over_pi_sft",),
    "coverage": tuple(OF_COVERING),
    "probes": ("rank_correlation_without_length_and_style", "rank_correlation_with_closed_form"),
    "separability": ("auc", "auc_without_length"),
    "cost": ("flops",),
}
MEASURED_BY: Mapping[str, tuple[str, ...]] = {
    "difference": ("coverage", "probes", "separability", "cost"),
    "win_rate": ("win_rates",),
    "predicts": ("separability",),
}
"""Form -> the tables it can read; every other form compares the judge's means, in table `outcomes`."""
UNTESTED = "not yet tested"
RESULT_COLUMNS = (
    *("id", "sentence", "source", "task", "setting", "kind"),
    *("effect", "low", "high", "margin", "n_seeds", "verdict"),
)


class Ledger(Settings):
    """The whole file.

    `tasks` are those in which claims are judged, `usual` lists most claims' settings, `coverage_only` the
    settings without picks.
    """

    tasks: tuple[str, ...] = Field(min_length=1)
    seeds: tuple[int, ...] = Field(min_length=8)
    level: float
    n: int
    settings: dict[str, dict[str, Any]]
    coverage_only: tuple[str, ...]
    usual: tuple[str, ...]
    claims: tuple[Claim, ...]

    def overrides(self, task: str, setting: str) -> dict[str, Any]:
        """Return the study's settings of one cell; a value that stands by task is looked up.

        Raises SpecError for an unknown setting, and for a task that such a value lacks.
        """
        if setting not in self.settings:
            raise unknown_name("setting of the ledger", setting, self.settings)
        own = {}
        for key, value in self.settings[setting].items():
            if isinstance(value, dict) and task not in value:
                raise unknown_name(f"task ({key} of the ledger's setting '{setting}')", task, value)
            own[key] = value[task] if isinstance(value, dict) else value
        return own


@cache
def load_ledger(text: str = "") -> Ledger:
    """Read the ledger (the package's own, or `text` as YAML) and check every name in it.

    A claim without tasks gets those of the ledger. Raises SpecError for an unknown form, table, metric, task,
    setting or field, with the nearest known name, and for what is no plain YAML (plain_yaml).
    """
    text = text or files("afd_study.evaluation").joinpath("claims.yaml").read_text(encoding="utf-8")
    try:
        ledger = Ledger.model_validate(read_yaml(text, "the ledger of claims"))
    except ValidationError as fault:
        raise SpecError(f"the ledger of claims: {faults_of(fault)}") from None
    claims = tuple(claim.model_copy(update={"tasks": claim.tasks or ledger.tasks}) for claim in ledger.claims)
    ledger = ledger.model_copy(update={"claims": claims})
    _check_settings(ledger)
    ids = [claim.id for claim in ledger.claims]
    repeated = {name for name in ids if ids.count(name) > 1}
    if repeated:
        raise SpecError(f"the ledger of claims names {min(repeated)} twice; give each claim an id of its own")
    for claim in ledger.claims:
        _check(claim, ledger)
    return ledger


def _check_settings(ledger: Ledger) -> None:
    for name in (*ledger.coverage_only, *ledger.usual):
        if name not in ledger.settings:
            raise unknown_name("setting of the ledger", name, ledger.settings)
    for name, overrides in ledger.settings.items():
        for key, value in overrides.items():
            for task in value if isinstance(value, dict) else ():
                if task not in ledger.tasks:
                    raise unknown_name(f"task ({key} of setting '{name}')", task, ledger.tasks)


def _check(claim: Claim, ledger: Ledger) -> None:
    where = f"(claim {claim.id})"
    if claim.kind == "identity":
        if claim.metric not in IDENTITIES:
            raise unknown_name(f"identity {where}", claim.metric, IDENTITIES)
        return
    others = [claim.against] if claim.form == "between_tasks" else []
    for kind, name, names in (
        ("form", claim.form, FORMS),
        ("table", claim.table, METRICS),
        ("metric", claim.metric, METRICS.get(claim.table, ())),
        (f"table of form {claim.form}", claim.table, MEASURED_BY.get(claim.form, ("outcomes",))),
        *(("setting", setting, ledger.settings) for setting in (*claim.settings, *_against(claim))),
        *(("task", task, ledger.tasks) for task in (*claim.tasks, *others)),
    ):
        if name not in names:
            raise unknown_name(f"{kind} {where}", name, names)
    if not claim.settings:
        raise SpecError(f"claim {claim.id} names no setting; every verdict holds for one")
    if claim.form == "between_tasks" and claim.against in claim.tasks:
        raise SpecError(
            f"claim {claim.id} compares task '{claim.against}' with itself: let `tasks` name the other tasks"
        )


def _against(claim: Claim) -> list[str]:
    """Return the settings that a claim's own are compared with (claim_effects.FORMS)."""
    if claim.form == "between_settings":
        return [claim.against]
    return [same_h(setting, claim.against) for setting in claim.settings] if claim.form == "lost_lead" else []


def check_methods(ledger: Ledger, names: Iterable[str]) -> None:
    """Raise SpecError where a claim names an unknown method."""
    methods = set(names)
    for claim in ledger.claims:
        for name in {claim.method, claim.than} - {""}:
            if name not in methods:
                raise unknown_name(f"method (claim {claim.id})", name, methods)


Runs = Mapping[str, pd.DataFrame]
"""Table `values` of each run: the ledger's cells, and those with arms, where they have been computed."""


def judge_claims(ledger: Ledger, runs: Runs, identities: Mapping[str, float]) -> pd.DataFrame:
    """Judge every claim in every cell: a table of RESULT_COLUMNS and what the claim compares.

    The further columns are form, unit, table, metric, method, than, run and post_hoc. Both sides of a claim
    are taken from the run that it names, and so from the same policies. Where that run lacks a seed of the
    ledger, or holds nothing of a task, the claim is not yet tested. Seeds outside of the ledger do not count.
    `identities` gives each identity's error.

    Raises SpecError for a setting without values and an identity without an error, DataError for missing or
    repeated values.
    """
    values = _by_run(ledger, runs)
    rows = []
    for claim in ledger.claims:
        if claim.kind == "identity":
            rows.append(_identity(claim, identities))
            continue
        for task in claim.tasks:
            run = values.get(claim.run)
            rows += [_row(claim, task, setting, run, ledger) for setting in claim.settings]
    extra = ("form", "unit", "table", "metric", "method", "than", "run", "post_hoc")
    return pd.DataFrame(rows, columns=[*RESULT_COLUMNS, *extra])


def _by_run(ledger: Ledger, runs: Runs) -> dict[str, Values]:
    counted = {name: frame[frame["seed"].isin(ledger.seeds)] for name, frame in runs.items()}
    return {name: Values(frame, n=ledger.n) for name, frame in counted.items() if len(frame)}


def effects_by_seed(ledger: Ledger, runs: Runs) -> pd.DataFrame:
    """Return what every verdict rests on, seed by seed: columns id, task, setting, seed, effect.

    Seeds whose effect is undefined (no gap) are left out, as in `judge_claims`.
    """
    values = _by_run(ledger, runs)
    rows = [
        (claim.id, task, setting, seed, effect)
        for claim in ledger.claims
        if claim.kind != "identity" and claim.run in values
        for task in claim.tasks
        if _is_computed(claim, task, values[claim.run], ledger.seeds)
        for setting in claim.settings
        for seed, effect in _effects(claim, task, setting, values[claim.run]).items()
    ]
    return pd.DataFrame(rows, columns=["id", "task", "setting", "seed", "effect"])


def _effects(claim: Claim, task: str, setting: str, values: Values) -> "pd.Series[float]":
    return FORMS[claim.form](values, claim, task, setting).dropna()


def _row(claim: Claim, task: str, setting: str, values: Values | None, ledger: Ledger) -> dict[str, Any]:
    front = _front(claim) | {"task": task, "setting": setting}
    if values is None or not _is_computed(claim, task, values, ledger.seeds):
        return front | {"effect": np.nan, "low": np.nan, "high": np.nan, "n_seeds": 0, "verdict": UNTESTED}
    effects = _effects(claim, task, setting, values)
    effect, low, high = map(float, seed_interval(effects, ledger.level))
    outcome = verdict(low=low, high=high, kind=claim.kind, margin=claim.margin)
    return front | {"effect": effect, "low": low, "high": high, "n_seeds": len(effects), "verdict": outcome}


def _is_computed(claim: Claim, task: str, values: Values, seeds: Iterable[int]) -> bool:
    """Return whether there is anything to judge: a new task has no values, and some arms lack seeds."""
    tasks = {task, claim.against} if claim.form == "between_tasks" else {task}
    if not tasks <= values.tasks:
        return False
    return claim.run != "arms" or values.complete({claim.method, claim.than} - {""}, seeds)


def _identity(claim: Claim, identities: Mapping[str, float]) -> dict[str, Any]:
    if claim.metric not in identities:
        raise unknown_name(f"identity (claim {claim.id})", claim.metric, identities)
    error = float(identities[claim.metric])
    holds = "supported" if error <= claim.margin else "contradicted"  # NaN is no support
    return _front(claim) | {
        "task": "enumerated",
        "setting": "",
        "effect": error,
        "n_seeds": 0,
        "verdict": holds,
    }


def _front(claim: Claim) -> dict[str, Any]:
    unit = {"identity": "largest error", "win_rate": "win rate", "predicts": "rank correlation"}
    own = {"coverage": "share", "probes": "rank correlation", "cost": "FLOPs"}.get(claim.table, "")
    compared = ("form", "table", "metric", "method", "than", "run")
    copied = ("id", "sentence", "source", "kind", "margin", "post_hoc", *compared)
    fields = {name: getattr(claim, name) for name in copied}
    return fields | {"unit": own if claim.form == "difference" else unit.get(claim.form, "share of the gap")}


def chance(results: pd.DataFrame, level: float) -> dict[str, float]:
    """Return the numbers of rows, of different tests, and of false verdicts to be expected by chance.

    Marks reach no policy. Where a claim compares nothing that reads them, its rows with and without marks are
    one test. If every effect lay at its margin, an interval of level 0.95 would lie wholly on one side of it
    in 5 % of the tests.
    """
    tested = results[results["n_seeds"] > 0]
    tests = len(tested.drop_duplicates(["id", "task", "effect", "low", "high"]))
    return {"rows": len(tested), "tests": tests, "expected_false": tests * (1 - level)}
