"""What chapter 10 and the front page show: the ledger of claims, judged when it is read."""

from collections.abc import Iterator, Mapping
from importlib.resources import files
from itertools import product
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
from afd_study.study.frozen import seed_means
from afd_study.study.frozen.files import is_frozen, read_manifest

METHODS = (*REWARD_DATA, *SCORERS, *ARMS, *WAYS, "pi_init", "pi_sft", "demonstrations")
"""Every method that a claim may name."""
RUNS = ("ledger", "arms")  # the frozen results that claims are judged on
SIGNS = {"supported": "yes", "contradicted": "**no**", "inconclusive": "open", UNTESTED: "not yet tested"}
FRONT_SETTINGS = ("h = 0", "h = 1")  # those of the front page's table, of each of the ledger's tasks


class Finding(Settings):
    """A sentence of the front page, and what it rests on: claim -> verdict -> task -> settings.

    Beside the verdicts, "below zero" and "above zero" ask for an interval wholly on that side.
    """

    says: str
    rests_on: dict[str, dict[str, dict[str, tuple[str, ...]]]]

    def cells(self) -> Iterator[tuple[tuple[str, str, str], str]]:
        """Yield (claim, task, setting) and what the ledger must say there."""
        for claim, verdicts in self.rests_on.items():
            for verdict, tasks in verdicts.items():
                yield from (((claim, task, name), verdict) for task, names in tasks.items() for name in names)


def judged(runs: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the ledger's verdicts on table `values` of each run (evaluation.claims.judge_claims).

    Raises SpecError for a claim that names an unknown method or identity.
    """
    ledger = load_ledger()
    check_methods(ledger, METHODS)
    return judge_claims(ledger, runs, errors())


def claims() -> pd.DataFrame:
    """Return every claim with its verdict, judged anew from the frozen values.

    Raises StoreError where the values are missing or damaged, SpecError for a claim that names an unknown
    method or identity.
    """
    return judged(frozen_runs())


def by_seed() -> pd.DataFrame:
    """Return the effect of every claim at each ledger seed: id, task, setting, seed, effect."""
    return effects_by_seed(load_ledger(), frozen_runs())


def frozen_values() -> pd.DataFrame:
    """Return table `values` of the ledger, a row a seed."""
    return seed_means.frozen_values("ledger")


def frozen_runs() -> dict[str, pd.DataFrame]:
    """Return table `values` of each run that claims are judged on: the ledger's, and that of the arms.

    Arms that have not been frozen are left out, and their claims are not yet tested.
    """
    names = [name for name in RUNS if name == "ledger" or is_frozen(name)]
    return {name: seed_means.frozen_values(name) for name in names}


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
    rows = values[(values["table"] == "coverage") & (values["method"] == "pi_sft")]
    rows = rows[rows["setting"].isin(list(sizes))]
    means = t_intervals(rows, ("task", "metric", "setting"))
    means = means.assign(policy=means["setting"].map(sizes))
    return means[["task", "policy", "metric", "mean", "low", "high"]]


def in_words(results: pd.DataFrame) -> list[str]:
    """Return the findings in sentences (findings.yaml), each checked against the verdicts it rests on.

    A task of the ledger of which no sentence speaks is named in a sentence of its own.

    Raises SpecError where the ledger no longer says so: the sentence has to be written anew.
    """
    text = files("afd_study.study.chapters").joinpath("findings.yaml").read_text(encoding="utf-8")
    findings = [Finding.model_validate(entry) for entry in yaml.safe_load(text)]
    ledger = {(row["id"], row["task"], row["setting"]): _holds(row) for row in results.to_dict("records")}
    covered = set()
    for finding in findings:
        for cell, verdict in finding.cells():
            covered.add(cell[1])
            holds = ledger.get(cell, ["no such row"])
            if verdict not in holds:
                raise SpecError(
                    f"the front page says '{finding.says[:60]}...', which rests on {cell} being {verdict}, "
                    f"but the ledger has {' and '.join(holds)}: write it anew in study/chapters/findings.yaml"
                )
    left_out = [f"`{task}`" for task in load_ledger().tasks if task not in covered]
    closing = f"**These sentences do not speak of {', '.join(left_out)}**: the table has the verdicts there."
    return [*(finding.says for finding in findings), *([closing] if left_out else [])]


def _holds(row: Mapping[Any, Any]) -> list[str]:
    """Return what a finding may say of a row: the verdict, and on which side of zero the interval lies."""
    sides = {"below zero": row["high"] < 0, "above zero": row["low"] > 0}
    return [str(row["verdict"]), *(side for side, holds in sides.items() if holds)]


def front_page() -> str:
    """Return the ledger's summary as a Markdown table: a row a claim, a column a task and setting.

    A claim that is judged in other settings alone has dashes; the sentences are the ledger's own.
    """
    results, columns = claims(), list(product(load_ledger().tasks, FRONT_SETTINGS))
    lines = ["| id | claim | " + " | ".join(f"{task}, {setting}" for task, setting in columns) + " |"]
    lines.append("|---|---|" + "---|" * len(columns))
    for claim in load_ledger().claims:
        rows = results[results["id"] == claim.id]
        verdicts = {(row["task"], row["setting"]): row["verdict"] for row in rows.to_dict("records")}
        if claim.kind == "identity":
            signs = [SIGNS[str(rows["verdict"].iloc[0])]] * len(columns)
        else:
            signs = [SIGNS.get(str(verdicts.get(cell, "")), "–") for cell in columns]
        sentence = claim.sentence.replace("|", r"\|")  # a bar would end the cell
        lines.append(f"| {claim.id} | {sentence} | " + " | ".join(signs) + " |")
    return "\n".join(lines) + "\n"
