"""Steps that judge: verdicts on texts, outcomes of every selection rule, and all scores together."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from afd_study.evaluation.best_of_n import best_of_n_curve, levels, summarise, win_rates
from afd_study.evaluation.diagnostics import diagnostics, discrimination
from afd_study.methods.best_of_n import JUDGE, scores_of
from afd_study.methods.ensembles import with_ensembles
from afd_study.methods.reward_pairs import RewardData
from afd_study.models.specs import SamplingSpec
from afd_study.study.steps.encoding import ROW, texts_of
from afd_study.study.workflow.context import Context
from afd_study.study.workflow.tables import read_table, write_table
from afd_study.worlds.controlled import open_world


def verdicts(out: Path, context: Context, *, world: Mapping[str, Any], prompts: Path, **texts: Path) -> None:
    """Let a controlled world's judge score samples and demonstrations: table `scores`, and the components."""
    prompt_table, frames = read_table(prompts, "prompts"), []
    for source, folder in texts.items():
        table = texts_of(folder, source)
        points = open_world(world).judge(prompt_table, table)
        frames.append(pd.concat([table[ROW], points], axis=1))
    components = pd.concat(frames, ignore_index=True)
    write_table(out, "components", components)
    write_table(out, "scores", components[ROW].assign(scorer=JUDGE, reward=components["value"]))


def outcomes(
    out: Path,
    context: Context,
    *,
    task: str,
    seed: int,
    sampling: SamplingSpec,
    scorers: Mapping[str, RewardData],
    ensembles: Mapping[str, Sequence[str]],
    pool: Path,
    init_logprobs: Path,
    judged: Path,
    **scored: Path,
) -> None:
    """Judge every selection rule at every n on one pool: outcomes, summary, win rates and diagnostics."""
    scores = with_ensembles(
        _every_score(pool, init_logprobs, read_table(judged, "scores"), scored), ensembles
    )
    rng = np.random.default_rng([seed, 6])
    name: dict[str, Any] = {"task": task, "seed": seed, "judge": JUDGE}
    curves = best_of_n_curve(scores, n_max=sampling.n_max, **name)
    curves = pd.concat([curves, levels(scores, **name)], ignore_index=True)
    write_table(out, "scores", scores)
    write_table(out, "outcomes", curves)
    write_table(out, "summary", summarise(curves, rng))
    sizes = sorted({1, min(16, sampling.n_max), sampling.n_max})
    sources = set(scores.loc[scores["scorer"] == JUDGE, "source"])
    opponents = [each for each in ("pi_sft", "demonstrations") if each in sources]
    won = [win_rates(answered(scores, each), opponent=each, n=sizes, **name) for each in opponents]
    write_table(out, "win_rates", pd.concat(won, ignore_index=True))
    write_table(out, "diagnostics", diagnostics(scores, generator=rng, **name))
    write_table(out, "discrimination", _discriminations(scores, scorers, rng))


def answered(scores: pd.DataFrame, *sources: str) -> pd.DataFrame:
    """Return the scores of the prompts that all these sources answer: some may have no demonstration."""
    for source in sources:
        prompts = scores.loc[scores["source"] == source, "prompt_id"].unique()
        scores = scores[scores["prompt_id"].isin(prompts)]
    return scores


def all_scores(
    out: Path,
    context: Context,
    *,
    ensembles: Mapping[str, Sequence[str]],
    pool: Path,
    init_logprobs: Path,
    **scored: Path,
) -> None:
    """Gather the scores of every rule where there is no judge: what a person may pick by."""
    write_table(out, "scores", with_ensembles(_every_score(pool, init_logprobs, None, scored), ensembles))


def _every_score(
    pool: Path, init_logprobs: Path, verdicts: pd.DataFrame | None, scored: Mapping[str, Path]
) -> pd.DataFrame:
    """Return the scores of the judge (if any), of the rules that need no training, and of reward models."""
    logprobs = read_table(init_logprobs, "logprobs")
    rules = scores_of(read_table(pool, "samples").merge(logprobs, on=ROW, validate="one_to_one"))
    rules = rules[rules["scorer"] != "random"]  # the pool's evaluation has random and oracle itself
    frames = [] if verdicts is None else [verdicts]
    return pd.concat([*frames, rules, *(read_table(folder, "scores") for folder in scored.values())])


def _discriminations(
    scores: pd.DataFrame, scorers: Mapping[str, RewardData], rng: np.random.Generator
) -> pd.DataFrame:
    """On test prompts, how well each discriminator tells its own two sources apart.

    Preferences are no sources of test responses: a study of that reward model alone has an empty table.
    """
    sources = set(scores["source"].unique())
    bounds = [f"{name}{end}" for name in ("accuracy", "auc") for end in ("", "_low", "_high")]
    columns = ["scorer", "positive", "negative", *bounds, "interval", "n_prompts"]
    rows = [pd.DataFrame(columns=columns)]
    for scorer, data in scorers.items():
        if {data.high, data.low} <= sources:
            high, low = data.high, data.low
            both = answered(scores, high, low)
            rows.append(discrimination(both, scorer=scorer, positive=high, negative=low, generator=rng))
    return pd.concat(rows[1:] or rows, ignore_index=True)
