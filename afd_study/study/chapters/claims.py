"""The ledger of claims: judged when it is read, from frozen values."""

from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any

import pandas as pd
import yaml

from afd_study.errors import SpecError
from afd_study.evaluation.claims import (
    UNTESTED,
    chance,
    check_methods,
    effects_by_seed,
    judge_claims,
    load_ledger,
)
from afd_study.evaluation.identities import errors
from afd_study.evaluation.statistics import t_intervals
from afd_study.methods.arms import ARMS, WAYS
from afd_study.methods.best_of_n import SCORERS
from afd_study.methods.reward_data import REWARD_DATA
from afd_study.settings import Settings
from afd_study.study.frozen.files import is_frozen, read_frozen, read_manifest
from afd_study.study.frozen.seed_means import narrow

METHODS = (*REWARD_DATA, *SCORERS, *ARMS, *WAYS, "pi_init", "pi_sft", "demonstrations")
"""Every method that a claim may name."""
RUNS = ("ledger", "arms")  # the frozen results that claims are judged on
SIGNS = {"supported": "yes", "contradicted": "**no**", "inconclusive": "open", UNTESTED: "not yet tested"}
FRONT = (("harmless", "h = 0"), ("harmless", "h = 1"), ("helpful", "h = 0"), ("helpful", "h = 1"))


def judged(runs: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the ledger's verdicts on table `values` of each run (evaluation.claims.judge_claims).

    Raises SpecError for a claim that names what there is not.
    """
    ledger = load_ledger()
    check_methods(ledger, METHODS)
    return judge_claims(ledger, runs, errors())


def claims() -> pd.DataFrame:
    """Return every claim with its verdict, judged anew from the frozen values.

    Raises StoreError where the values are missing or damaged, SpecError for a claim that names what there is
    not.
    """
    return judged(frozen_runs())


def by_seed() -> pd.DataFrame:
    """Return the effect of every claim at each ledger seed: id, task, setting, seed, effect."""
    return effects_by_seed(load_ledger(), frozen_runs())


def frozen_values() -> pd.DataFrame:
    """Return table `values` of the ledger, a row a seed."""
    return narrow(read_frozen("ledger", "values"))


def frozen_runs() -> dict[str, pd.DataFrame]:
    """Return table `values` of each run that claims are judged on: the ledger's, and that of the arms.

    A run that nothing was frozen of is left out, and its claims are not yet tested.
    """
    there = [name for name in RUNS if name == RUNS[0] or is_frozen(name)]
    return {name: narrow(read_frozen(name, "values")) for name in there}


def manifest() -> dict[str, Any]:
    """Return how the ledger was computed: seeds, profile, commit, hardware, seconds."""
    return read_manifest("ledger")


def claim_ids() -> list[str]:
    """Return the ids of all claims, in order."""
    return [claim.id for claim in load_ledger().claims]


def chances(results: pd.DataFrame) -> dict[str, float]:
    """Return how many tests the ledger made and how many false verdicts are to be expected by chance."""
    return chance(results, load_ledger().level)


def covering() -> pd.DataFrame:
    """Return covering and seeking of pi_SFT at both sizes: task, policy, metric, mean, low, high."""
    values = frozen_values()
    sizes = {"h = 1": "usual", "small policy": "small"}
    chosen = values[(values["table"] == "coverage") & (values["method"] == "pi_sft")]
    chosen = chosen[chosen["setting"].isin(list(sizes))]
    found = t_intervals(chosen, ("task", "metric", "setting"))
    found = found.assign(policy=found["setting"].map(sizes))
    return found[["task", "policy", "metric", "mean", "low", "high"]]


class Finding(Settings):
    """A sentence of the front page, and what it rests on: claim -> verdict -> task -> settings.

    Beside the verdicts, "below zero" and "above zero" ask for an interval wholly on that side.
    """

    says: str
    rests_on: dict[str, dict[str, dict[str, tuple[str, ...]]]]


def in_words(results: pd.DataFrame) -> list[str]:
    """Return what was found in sentences (findings.yaml), each checked against the verdicts it rests on.

    Raises SpecError where the ledger no longer says so: the sentence has to be written anew.
    """
    text = files("afd_study.study.chapters").joinpath("findings.yaml").read_text(encoding="utf-8")
    known = {(row["id"], row["task"], row["setting"]): _told(row) for row in results.to_dict("records")}
    told = [Finding.model_validate(entry) for entry in yaml.safe_load(text)]
    for finding in told:
        for cell, wanted in _cells(finding):
            found = known.get(cell, ["no such row"])
            if wanted not in found:
                raise SpecError(
                    f"the front page says '{finding.says[:60]}...', which rests on {cell} being {wanted}, "
                    f"but the ledger has {' and '.join(found)}: write it anew in study/chapters/findings.yaml"
                )
    return [finding.says for finding in told]


def _cells(finding: Finding) -> Iterator[tuple[tuple[str, str, str], str]]:
    """Yield (claim, task, setting) and what the ledger must say there."""
    for claim, verdicts in finding.rests_on.items():
        for verdict, tasks in verdicts.items():
            yield from (((claim, task, name), verdict) for task, named in tasks.items() for name in named)


def _told(row: Mapping[Any, Any]) -> list[str]:
    sides = {"below zero": row["high"] < 0, "above zero": row["low"] > 0}
    return [str(row["verdict"]), *(side for side, holds in sides.items() if holds)]


def front_page() -> str:
    """Return the ledger's summary as a Markdown table: a row a claim, a column a task and setting.

    Claims that are judged in other settings show there as a dash; the sentences are the ledger's own.
    """
    found = claims()
    lines = ["| | claim | " + " | ".join(f"{task}, {setting}" for task, setting in FRONT) + " |"]
    lines.append("|---|---|" + "---|" * len(FRONT))
    for claim in load_ledger().claims:
        rows = found[found["id"] == claim.id]
        known = {(row["task"], row["setting"]): row["verdict"] for row in rows.to_dict("records")}
        if claim.kind == "identity":
            told = [SIGNS[str(rows["verdict"].iloc[0])]] * len(FRONT)
        else:
            told = [SIGNS.get(str(known.get(cell, "")), "–") for cell in FRONT]
        sentence = claim.sentence.replace("|", r"\|")  # a bar would end the cell
        lines.append(f"| {claim.id} | {sentence} | " + " | ".join(told) + " |")
    return "\n".join(lines) + "\n"
