"""Steps that judge: verdicts on texts, outcomes of every selection rule, and all scores together."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from afd_study.evaluation.diagnostics import diagnostics, discrimination
from afd_study.evaluation.outcomes import best_of_n_outcomes, levels, summarise, win_rates
from afd_study.methods.best_of_n import JUDGE, scores_of
from afd_study.methods.reward_data import RewardData
from afd_study.models.specs import SamplingSpec
from afd_study.study.steps.encoding import texts_of
from afd_study.study.steps.texts import open_world
from afd_study.study.workflow.context import Context
from afd_study.study.workflow.tables import read_table, write_table


def judged(out: Path, context: Context, *, world: dict[str, Any], prompts: Path, **texts: Path) -> None:
    """Let a controlled world's judge score samples and demonstrations: table `scores`, and the components."""
    asked, verdicts = read_table(prompts, "prompts"), []
    for source, folder in texts.items():
        table = texts_of(folder, source)
        verdict = open_world(world).judge(asked, table)
        verdicts.append(pd.concat([table[["prompt_id", "source", "draw"]], verdict], axis=1))
    components = pd.concat(verdicts, ignore_index=True)
    write_table(out, "components", components)
    scores = components[["prompt_id", "source", "draw"]].assign(scorer=JUDGE, reward=components["value"])
    write_table(out, "scores", scores)


def outcomes(
    out: Path, context: Context, *, task: str, seed: int, sampling: SamplingSpec,
    scorers: dict[str, RewardData], pool: Path, init_logprobs: Path, judged: Path, **scored: Path,
) -> None:  # fmt: skip
    """Judge every selection rule at every n on one pool: outcomes, summary, win rates and diagnostics."""
    everything = _every_score(pool, init_logprobs, read_table(judged, "scores"), scored)
    rng = np.random.default_rng([seed, 6])
    name: dict[str, Any] = {"task": task, "seed": seed, "judge": JUDGE}
    found = best_of_n_outcomes(everything, n_max=sampling.n_max, **name)
    found = pd.concat([found, levels(everything, **name)], ignore_index=True)
    write_table(out, "scores", everything)
    write_table(out, "outcomes", found)
    write_table(out, "summary", summarise(found, rng))
    wanted = sorted({1, min(16, sampling.n_max), sampling.n_max})
    opponents = [
        each
        for each in ("pi_sft", "demonstrations")
        if each in set(everything.loc[everything["scorer"] == JUDGE, "source"])
    ]
    won = [win_rates(everything, opponent=each, n=wanted, **name) for each in opponents]
    write_table(out, "win_rates", pd.concat(won, ignore_index=True))
    write_table(out, "diagnostics", diagnostics(everything, generator=rng, **name))
    write_table(out, "discrimination", _discriminations(everything, scorers, rng))


def all_scores(out: Path, context: Context, *, pool: Path, init_logprobs: Path, **scored: Path) -> None:
    """Gather the scores of every rule where there is no judge: what a person may pick by."""
    write_table(out, "scores", _every_score(pool, init_logprobs, None, scored))


def _every_score(
    pool: Path, init_logprobs: Path, verdicts: pd.DataFrame | None, scored: dict[str, Path]
) -> pd.DataFrame:
    """Return the scores of the judge (if any), of the rules that need no training, and of reward models."""
    ids = ["prompt_id", "source", "draw"]
    samples = read_table(pool, "samples").merge(
        read_table(init_logprobs, "logprobs"), on=ids, validate="one_to_one"
    )
    rules = scores_of(samples)
    rules = rules[rules["scorer"] != "random"]  # the pool's evaluation has random and oracle itself
    given = [] if verdicts is None else [verdicts]
    return pd.concat([*given, rules, *(read_table(folder, "scores") for folder in scored.values())])


def _discriminations(
    scores: pd.DataFrame, scorers: dict[str, RewardData], rng: np.random.Generator
) -> pd.DataFrame:
    """On test prompts, how well each discriminator tells its own two sources apart.

    Preferences are no sources of test responses: a study of that reward model alone has an empty table.
    """
    sources = set(scores["source"].unique())
    bounds = [f"{name}{end}" for name in ("accuracy", "auc") for end in ("", "_low", "_high")]
    columns = ["scorer", "positive", "negative", *bounds, "interval", "n_prompts"]
    rows = [pd.DataFrame(columns=columns)]
    for scorer, contrast in scorers.items():
        if {contrast.high, contrast.low} <= sources:
            rows.append(discrimination(
                scores, scorer=scorer, positive=contrast.high, negative=contrast.low, generator=rng,
            ))  # fmt: skip
    return pd.concat(rows[1:] or rows, ignore_index=True)
