"""What chapter 8 shows of the law of when: fitted on half of a family's worlds, tried on what is left."""

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import pandas as pd
from pydantic import Field

from afd_study.errors import StoreError, unknown_name
from afd_study.evaluation.ledger.contrasts import gap
from afd_study.evaluation.ledger.records import load_ledger
from afd_study.evaluation.ledger.values import Values, minus
from afd_study.evaluation.when import DIAGNOSTICS, METHOD, Law, RuleInWords
from afd_study.evaluation.when_fit import fit_law, halves
from afd_study.evaluation.when_trial import calibration, lead_errors, regrets
from afd_study.plain_yaml import read_yaml
from afd_study.settings import Settings
from afd_study.study.frozen.judging import frozen_values, worlds_of

RUN = "scorers"


class Plan(Settings):
    """What was fixed before any judging world was run (when_plan.yaml)."""

    seed: int = Field(description="of the split into halves, drawn within strata")
    slack: float = Field(
        ge=0, description="by which a diagnostic's range is widened, as a share of its width"
    )
    rule: RuleInWords
    kinds: dict[str, str] = Field(description="what the law calls a method -> the scorer that is meant")


class Trial(NamedTuple):
    """A law, and how it does on worlds that it has not seen: errors, calibration, regret."""

    law: Law
    errors: pd.DataFrame
    calibration: pd.DataFrame
    regrets: pd.DataFrame


@cache
def plan() -> Plan:
    """Return the plan of the law's trial."""
    text = files("afd_study.study.chapters").joinpath("when_plan.yaml").read_text(encoding="utf-8")
    return Plan.model_validate(read_yaml(text, "when_plan.yaml"))


def cells(values: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return a row a world and setting: family, world, setting, half, DIAGNOSTICS, lead_over_RIVAL.

    Leads are shares of the world's gap, means over replicates. `values` is table `values` of the run RUN;
    without it the frozen one is read. Raises StoreError where there is none.
    """
    table = frozen_values(RUN) if values is None else values
    if table is None:
        raise StoreError(f"the run '{RUN}' has not been computed: `make results WHAT=judging`")
    ledger, own = load_ledger(), Values(table)
    frames = [
        _cells_of(own, family, setting, ledger.n)
        for family in ledger.families
        if family in set(table["family"])
        for setting in ledger.runs[RUN].settings
    ]
    every = pd.concat(frames, ignore_index=True)
    sides = pd.concat([_halves(family) for family in every["family"].unique()])
    return every.assign(half=every["world"].map(sides))


def _halves(family: str) -> "pd.Series[str]":
    worlds = worlds_of(load_ledger(), RUN, family).reset_index()
    worlds["world"] = family + " " + worlds["world"].astype(str)
    return halves(worlds, seed=plan().seed)


def _cells_of(values: Values, family: str, setting: str, n: int) -> pd.DataFrame:
    kinds = plan().kinds
    width = gap(values, family, setting, n).mean(axis=1)
    best = values.at(family, setting, "judge", kinds[METHOD], n)
    columns = {
        f"lead_over_{rival}": minus(best, values.at(family, setting, "judge", name, n)).mean(axis=1) / width
        for rival, name in kinds.items()
        if rival != METHOD
    }
    measured = {name: values.at(family, setting, name, "study").mean(axis=1) for name in DIAGNOSTICS}
    table = pd.DataFrame({**measured, **columns}).groupby(level="world").mean().reset_index()
    names = family + " " + table["world"].astype(str)
    return table.assign(world=names, family=family, setting=setting)


def trial(family: str, table: pd.DataFrame | None = None) -> dict[str, Trial]:
    """Fit the law on half A of a family's worlds; try it on half B, and on every world of other families.

    Returns a trial for each: "other worlds" and "another family". Raises SpecError for an unknown family.
    """
    every = cells() if table is None else table
    families = list(dict.fromkeys(every["family"]))
    if family not in families:
        raise unknown_name("family", family, families)
    rivals = [name for name in plan().kinds if name != METHOD]
    own = every["family"] == family
    law = fit_law(every[own & (every["half"] == "A")], rivals=rivals, slack=plan().slack)
    unseen = {"other worlds": every[own & (every["half"] == "B")], "another family": every[~own]}
    return {name: _tried(law, part, rivals) for name, part in unseen.items() if len(part)}


def _tried(law: Law, part: pd.DataFrame, rivals: Sequence[str]) -> Trial:
    predicted = law.predict(part)
    return Trial(
        law=law,
        errors=lead_errors(part, predicted, rivals=rivals),
        calibration=calibration(part, predicted),
        regrets=regrets(part, predicted, rule=plan().rule, rivals=rivals),
    )
