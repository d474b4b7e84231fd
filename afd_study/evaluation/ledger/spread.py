"""What verdicts hang on: variance by worlds, seeds and replicates, and flips between halves of replicates."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from afd_study.evaluation.ledger.contrasts import FORMS, GAP
from afd_study.evaluation.ledger.judging import KEY, Judged, Runs, contrast_rows, is_computed, judge_claims
from afd_study.evaluation.ledger.records import Claim, Ledger
from afd_study.evaluation.ledger.values import ALONE, Values, replicates
from afd_study.evaluation.stability import flip_chances, flips
from afd_study.evaluation.variance_components import half_width, variance_components
from afd_study.evaluation.world_effects import shares_of_the_gap
from afd_study.evaluation.world_rows import pooled_variances, varying

BETWEEN = ("between_families", "between_strata")
"""Forms whose effect no one world has: they have no components of their own."""


class Stability(NamedTuple):
    """Flips between two halves of the replicates: which rows, how many, and how many were to be expected."""

    flips: pd.DataFrame
    rows: int
    expected: float
    expected_opposite: float


def rows_in_unit(ledger: Ledger, runs: Runs, claim: Claim, family: str, setting: str) -> pd.DataFrame:
    """Return a contrast's rows in the unit that it is judged in; worlds without room are left out."""
    rows = contrast_rows(ledger, runs, claim, family, setting)
    if FORMS[claim.form].unit == GAP:
        rows, _ = shares_of_the_gap(rows, smallest_gap=ledger.smallest_gap)
    return rows


def components(ledger: Ledger, runs: Runs, *, run: str, setting: str) -> pd.DataFrame:
    """Return the variance components of each contrast of picks, as a run that was explored shows them.

    Columns id, family, world, seed, replicate (standard deviations, shares of the gap) and method of the
    estimate. Contrasts are those of the ledger whose both methods the run has, each once, in one setting.
    """
    table, values = [], runs[run].values
    for claim in ledger.claims:
        if claim.form != "share" or claim.where:
            continue
        here = claim.model_copy(update={"run": run})
        for family in claim.families:
            both = [
                values.has(family, setting, "judge", name, ledger.n) for name in (claim.method, claim.than)
            ]
            if all(both):
                rows = rows_in_unit(ledger, runs, here, family, setting)
                strata = varying(rows)
                strata = strata if rows["world"].nunique() > len(strata) + 1 else []
                table.append((claim.id, family, *variance_components(rows, strata)))
    return pd.DataFrame(table, columns=["id", "family", "world", "seed", "replicate", "method"])


def replicate_sds(ledger: Ledger, runs: Runs) -> pd.DataFrame:
    """Return the standard deviation between replicates of every row that has them: KEY and replicate_sd."""
    table = []
    for claim in ledger.claims:
        if claim.kind == "identity" or claim.form in BETWEEN:
            continue
        for family in claim.families:
            for setting in claim.settings:
                if is_computed(ledger, runs, claim, family, setting):
                    variance = pooled_variances(rows_in_unit(ledger, runs, claim, family, setting)).replicate
                    table.append((claim.id, family, setting, float(np.sqrt(variance))))
    return pd.DataFrame(table, columns=[*KEY, "replicate_sd"])


def widths(ledger: Ledger, runs: Runs, ids: Sequence[str]) -> pd.DataFrame:
    """Return how the half-width of some claims splits: KEY, total, and what worlds and replicates alone give.

    `worlds` holds what seeds add where a world has one seed. Squares of the two parts add up to the total's.
    """
    table = []
    for name in ids:
        claim = ledger.claim(name)
        for family in claim.families:
            for setting in claim.settings:
                if not is_computed(ledger, runs, claim, family, setting):
                    continue
                rows = rows_in_unit(ledger, runs, claim, family, setting)
                strata = varying(rows)
                sizes = {
                    "worlds": rows["world"].nunique(),
                    "seeds": rows["seed"].nunique(),
                    "replicates": rows["replicate"].nunique(),
                }
                parts = half_width(variance_components(rows, strata), n_fixed=len(strata) + 1, **sizes)
                table.append((name, family, setting, parts.total, parts.tau, parts.ours))
    return pd.DataFrame(table, columns=[*KEY, "total", "worlds", "ours"])


def stability(
    ledger: Ledger,
    frames: Mapping[str, pd.DataFrame],
    worlds: Mapping[str, Mapping[str, pd.DataFrame]],
    identities: Mapping[str, float],
    *,
    halves: tuple[Sequence[int], Sequence[int]] = ((0, 1), (2, 3)),
    generator: np.random.Generator,
) -> Stability:
    """Judge the ledger by each half of the replicates, and compare the verdicts.

    A method with fewer replicates than both halves together is left out, and so are claims on it.

    Args:
        ledger: claims and rules.
        frames: run -> its table `values`.
        worlds: run -> family -> strata of the worlds that the run asks for.
        identities: the error of each identity.
        halves: the replicates of each half.
        generator: draws what is to be expected.
    """
    whole_frames = {name: _replicated(frame, [*halves[0], *halves[1]]) for name, frame in frames.items()}

    def runs_of(kept: Sequence[int]) -> Runs:
        return {
            name: Judged(Values(replicates(frame, kept)), worlds[name])
            for name, frame in whole_frames.items()
        }

    names = [claim.id for claim in ledger.claims if claim.run in frames and claim.form not in BETWEEN]
    every = runs_of([*halves[0], *halves[1]])
    whole = judge_claims(ledger, every, identities)
    moving = replicate_sds(ledger, every).query("replicate_sd > 0")
    whole = whole[whole["id"].isin(names)].merge(moving, on=list(KEY))
    chances = flip_chances(whole, seeds=1, replicates=sum(map(len, halves)), generator=generator)
    both = [judge_claims(ledger, runs_of(half), identities) for half in halves]
    compared = [table.merge(whole[list(KEY)], on=list(KEY)) for table in both]
    changed = flips(*compared, key=KEY)
    return Stability(changed, len(whole), float(chances["flip"].sum()), float(chances["opposite"].sum()))


def _replicated(frame: pd.DataFrame, kept: Sequence[int]) -> pd.DataFrame:
    """Return what has all of these replicates, or what no reward model makes."""
    found = frame.groupby("method")["replicate"].agg(set)
    whole = [name for name, own in found.items() if own == {ALONE} or own >= set(kept)]
    return frame[frame["method"].isin(whole)]
