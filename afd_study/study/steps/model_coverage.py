"""The step that measures covering and seeking by the law of a language model that demonstrates."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from afd_study.evaluation.model_coverage import (
    best_of_n_coverage,
    model_thresholds,
    policy_coverage,
    summary,
)
from afd_study.methods.best_of_n import JUDGE, SCORERS, scores_of
from afd_study.study.steps.encoding import ROW, texts_of
from afd_study.study.workflow.context import Context
from afd_study.study.workflow.tables import read_table, write_table

POLICIES = ("pi_init", "pi_sft")


def model_coverage(
    out: Path,
    context: Context,
    *,
    task: str,
    seed: int,
    n: int,
    densities: Path,
    scored: Path,
    pool: Path,
    held_out: Path,
) -> None:
    """Measure both policies, and Best-of-n of pi_SFT by every rule (evaluation.model_coverage).

    Tables: `coverage` (a row a prompt; `policy` is best_of_16_RULE where `method` is a rule and n = 16),
    `summary` (means and intervals over prompts; the column `judge` names the metric), and
    `demonstrator_thresholds`.
    """
    laws = read_table(densities, "densities")
    sets, common = model_thresholds(laws), dict[str, Any](task=task, seed=seed)
    frames = [policy_coverage(laws, thresholds=sets, policy=name, **common) for name in POLICIES]
    texts = {"pi_sft": texts_of(pool, "pi_sft"), "demonstrations": texts_of(held_out, "demonstrations")}
    scores = _every_rule(laws, read_table(scored, "scores"), texts)
    frames.append(best_of_n_coverage(laws, scores, thresholds=sets, n=n, **common))
    table = pd.concat(frames, ignore_index=True)
    write_table(out, "coverage", table)
    write_table(out, "summary", summary(table, np.random.default_rng([seed, 11])))
    write_table(out, "demonstrator_thresholds", sets)


def _every_rule(laws: pd.DataFrame, scores: pd.DataFrame, texts: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the scores of samples and demonstrations by every rule that picks; the judge is the oracle.

    Rules without training score only samples in table `scores`. Here they score demonstrations too, by the
    same float32 laws.
    """
    ids = pd.concat(texts.values(), ignore_index=True)[[*ROW, "token_ids"]]
    own = laws.rename(columns={"logprob_pi_init": "logprob_init"}).assign(logprob=laws["logprob_pi_sft"])
    plain = scores_of(ids.merge(own[[*ROW, "logprob", "logprob_init"]], on=ROW, validate="one_to_one"))
    learned = scores[scores["source"].isin(texts) & ~scores["scorer"].isin(SCORERS)]
    learned = learned.assign(scorer=learned["scorer"].replace({JUDGE: "oracle"}))
    return pd.concat([plain[plain["scorer"] != "random"], learned], ignore_index=True)
