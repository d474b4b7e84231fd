"""The verdicts: every claim's effect over worlds, with what it rests on, and the sizes it holds at.

Nothing is merged: every family and setting has a row of its own. A claim is judged where its run holds every
world of its design; else it is *not yet tested*.
"""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from afd_study.errors import unknown_name
from afd_study.evaluation.ledger.contrasts import FORMS, GAP, UNITS, gap, rows_of
from afd_study.evaluation.ledger.records import Claim, Ledger
from afd_study.evaluation.ledger.values import Values
from afd_study.evaluation.multiplicity import q_values
from afd_study.evaluation.verdicts import NOT_APPLICABLE, OPEN, with_verdicts
from afd_study.evaluation.world_effects import (
    NONE,
    NOTHING,
    WorldEffect,
    between_groups,
    effect_of_stratum,
    effect_over_worlds,
    shares_of_the_gap,
)
from afd_study.evaluation.world_rows import varying, world_means

UNTESTED = "not yet tested"
KEY = ("id", "family", "setting")
FIELDS = ("sentence", "source", "kind", "form", "table", "metric", "method", "than", "against", "margin")
COLUMNS = (
    *KEY,
    *FIELDS,
    *("run", "primary", "post_hoc", "first", "unit"),
    *WorldEffect._fields,
    *("n_no_room", "n_seeds", "n_replicates", "points", "points_low", "points_high"),
    *("applicable", "verdict", "p", "q", "q_dependent"),
)
"""Columns of the table of verdicts; effect, low, high, tau and predictions are in `unit`."""


class Judged(NamedTuple):
    """Values of a run, and the worlds that its design asks for: their strata by family, indexed by number."""

    values: Values
    worlds: Mapping[str, pd.DataFrame]


Runs = Mapping[str, Judged]


def judge_claims(ledger: Ledger, runs: Runs, identities: Mapping[str, float]) -> pd.DataFrame:
    """Judge every claim: a table of COLUMNS, a row a claim, family and setting.

    Args:
        ledger: claims and rules.
        runs: name -> its values, where it has been computed.
        identities: the error of each identity.

    Raises:
        SpecError: an identity without an error, a setting without values.
        DataError: a value is missing or undefined, one side of a contrast lacks a world.
    """
    rows = []
    for claim in ledger.claims:
        if claim.kind == "identity":
            rows.append(_identity(claim, identities))
            continue
        for family in claim.families:
            rows += [
                _front(claim, family, s) | _measured(ledger, runs, claim, family, s) for s in claim.settings
            ]
    table = pd.DataFrame(rows)
    tested = (table["n_worlds"] > 0).to_numpy() & (table["kind"] != "identity").to_numpy()
    judged = with_verdicts(table[tested], level=ledger.level)
    table.loc[tested, ["verdict", "p"]] = judged[["verdict", "p"]]
    table = _with_premises(ledger, table)
    return q_values(table, test=KEY)[list(COLUMNS)]


def _with_premises(ledger: Ledger, table: pd.DataFrame) -> pd.DataFrame:
    """Set the verdict of claims whose premise fails: the row that it names has another verdict."""
    verdicts = table.set_index(list(KEY))["verdict"]
    table = table.assign(applicable=True)
    for place, row in enumerate(table.to_dict("records")):
        premise = ledger.claim(row["id"]).premise
        if premise is None or row["verdict"] == UNTESTED:
            continue
        place_of = (premise.claim, row["family"], premise.setting)
        if place_of not in verdicts.index:
            raise unknown_name(
                f"row of the premise (claim {row['id']})", str(place_of), map(str, verdicts.index)
            )
        if verdicts[place_of] != premise.verdict:
            changes = {"applicable": False, "verdict": NOT_APPLICABLE, "p": np.nan}
            table.loc[table.index[place], list(changes)] = pd.Series(changes)
    return table


def contrast_rows(
    ledger: Ledger, runs: Runs, claim: Claim, family: str, setting: str, *, n: int | None = None
) -> pd.DataFrame:
    """Return a claim's effects as rows of worlds (judge points with each world's gap, or its own unit).

    Undefined effects (a rank correlation of what is constant) are left out.
    """
    values, worlds = runs[claim.run]
    effects = FORMS[claim.form].make(values, claim, family, setting, ledger.n if n is None else n)
    gaps = gap(values, family, setting, ledger.n) if FORMS[claim.form].unit == GAP else None
    rows = rows_of(effects, gaps, family, worlds[family])
    for stratum, value in claim.where.items():
        rows = rows[rows[stratum] == value]
    return rows.dropna(subset=["effect"])


def is_computed(ledger: Ledger, runs: Runs, claim: Claim, family: str, setting: str) -> bool:
    """Tell whether a claim's run holds both sides of it in every world, family and setting compared."""
    if claim.run not in runs:
        return False
    values, worlds = runs[claim.run]
    others = {"between_families": (claim.against, setting), "between_settings": (family, claim.against)}
    places = [(family, setting), *([others[claim.form]] if claim.form in others else [])]
    methods = [name for name in (claim.method, claim.than) if name]
    for place, at in places:
        for method in methods:
            sizes = (ledger.n, 1, 0)
            found = [values.at(place, at, claim.metric, method, n) for n in sizes
                     if values.has(place, at, claim.metric, method, n)]  # fmt: skip
            if not found or set(found[0].index.get_level_values("world")) != set(worlds[place].index):
                return False
    return True


def _measured(ledger: Ledger, runs: Runs, claim: Claim, family: str, setting: str) -> dict[str, Any]:
    if not is_computed(ledger, runs, claim, family, setting):
        return {**NOTHING._asdict(), "verdict": UNTESTED, "p": np.nan}
    rows = contrast_rows(ledger, runs, claim, family, setting)
    if claim.form == "between_families":
        other = contrast_rows(ledger, runs, claim, claim.against, setting)
        return _both_units(ledger, claim, [rows, other], _between)
    estimate = partial(_at_stratum, claim.against) if claim.form == "between_strata" else _over_worlds
    return _both_units(ledger, claim, [rows], estimate)


def _both_units(ledger: Ledger, claim: Claim, parts: list[pd.DataFrame], estimate: Any) -> dict[str, Any]:
    """Return the effect in the claim's unit and, of scores, in judge points beside it."""
    counts = {
        "n_seeds": int(parts[0].groupby("world")["seed"].nunique().min()) if len(parts[0]) else 0,
        "n_replicates": int(parts[0]["replicate"].nunique()),
    }
    if FORMS[claim.form].unit != GAP:
        return estimate(parts, ledger.level)._asdict() | counts
    points = estimate(parts, ledger.level)
    shares = [shares_of_the_gap(part, smallest_gap=ledger.smallest_gap) for part in parts]
    effect = estimate([rows for rows, _ in shares], ledger.level)
    beside = {"points": points.effect, "points_low": points.low, "points_high": points.high}
    return effect._asdict() | counts | beside | {"n_no_room": sum(len(narrow) for _, narrow in shares)}


def _over_worlds(parts: list[pd.DataFrame], level: float) -> WorldEffect:
    (rows,) = parts
    if not len(rows):
        return NOTHING
    strata = varying(rows)
    return effect_over_worlds(world_means(rows, strata), strata, level=level)


def _at_stratum(stratum: str, parts: list[pd.DataFrame], level: float) -> WorldEffect:
    """Return the effect where a property has the larger of its values less that where it has the other."""
    (rows,) = parts
    if not len(rows):
        return NOTHING
    strata = varying(rows)
    return effect_of_stratum(world_means(rows, strata), stratum, strata, level=level)


def _between(parts: list[pd.DataFrame], level: float) -> WorldEffect:
    """Return the mean of one family's worlds less that of another's, its degrees of freedom by Welch."""
    here, there = (_over_worlds([part], level) for part in parts)
    squares = np.array([here.error, there.error]) ** 2
    df = squares.sum() ** 2 / (squares**2 / np.array([here.df, there.df])).sum()
    worlds = here.n_worlds + there.n_worlds
    error = float(np.sqrt(squares.sum()))
    return between_groups(here.effect - there.effect, error, float(df), n_worlds=worlds, level=level)


def _identity(claim: Claim, identities: Mapping[str, float]) -> dict[str, Any]:
    if claim.metric not in identities:
        raise unknown_name(f"identity (claim {claim.id})", claim.metric, identities)
    error = float(identities[claim.metric])
    holds = "yes" if error <= claim.margin else "reversed"  # NaN is no support
    front = _front(claim, "enumerated", "") | NOTHING._asdict()
    return front | {"effect": error, "estimator": NONE, "verdict": holds, "p": np.nan, "primary": False}


def _front(claim: Claim, family: str, setting: str) -> dict[str, Any]:
    unit = FORMS[claim.form].unit or UNITS.get(claim.table, "")
    fields = {name: getattr(claim, name) for name in (*FIELDS, "run", "primary", "post_hoc", "first")}
    usual = dict.fromkeys(COLUMNS, np.nan) | {
        "n_no_room": 0,
        "n_seeds": 0,
        "n_replicates": 0,
        "verdict": OPEN,
    }
    place = {"id": claim.id, "family": family, "setting": setting}
    return usual | place | fields | {"unit": "largest error" if claim.kind == "identity" else unit}


def over_sizes(ledger: Ledger, runs: Runs, claims: Iterable[Claim] | None = None) -> pd.DataFrame:
    """Return each claim on picks at every n of the ledger and every margin: how much hangs on either.

    Columns of KEY, n, margin, effect, low, high, n_worlds, verdict and `turns`: that at two n the intervals
    lie on opposite sides of 0. Only claims that compare two methods' picks have an n to vary; the n that a
    run's pools are too small for are left out.
    """
    tables = []
    for claim in claims or ledger.claims:
        if claim.form != "share":
            continue
        for family in claim.families:
            for setting in claim.settings:
                if is_computed(ledger, runs, claim, family, setting):
                    tables.append(_at_all_sizes(ledger, runs, claim, family, setting))
    if not tables:
        return pd.DataFrame(
            columns=[*KEY, "n", "margin", "effect", "low", "high", "n_worlds", "verdict", "turns"]
        )
    return pd.concat(tables, ignore_index=True)


def _at_all_sizes(ledger: Ledger, runs: Runs, claim: Claim, family: str, setting: str) -> pd.DataFrame:
    values, rows = runs[claim.run].values, []
    for n in ledger.sizes:
        if not all(values.has(family, setting, "judge", name, n) for name in (claim.method, claim.than)):
            continue
        points = contrast_rows(ledger, runs, claim, family, setting, n=n)
        shares, _ = shares_of_the_gap(points, smallest_gap=ledger.smallest_gap)
        rows.append({"n": n, **_over_worlds([shares], ledger.level)._asdict()})
    curve = pd.DataFrame(rows)
    turns = bool((curve["low"] > 0).any() and (curve["high"] < 0).any())
    grid = curve.merge(pd.DataFrame({"margin": ledger.margins}), how="cross").assign(kind=claim.kind)
    grid = with_verdicts(grid, level=ledger.level)
    grid = grid.assign(id=claim.id, family=family, setting=setting, turns=turns)
    return grid[[*KEY, "n", "margin", "effect", "low", "high", "n_worlds", "verdict", "turns"]]
