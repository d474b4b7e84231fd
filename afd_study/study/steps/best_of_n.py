"""Steps that judge: verdicts on texts, outcomes of every selection rule, and all scores together."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from afd_study.evaluation.best_of_n import best_of_n_curve, levels, summarise, win_rates
from afd_study.evaluation.diagnostics import diagnostics, discrimination
from afd_study.evaluation.pessimism import pessimism_curve
from afd_study.evaluation.probes import residualised
from afd_study.evaluation.sizes import SIZES
from afd_study.evaluation.text_features import LENGTHS
from afd_study.methods.best_of_n import JUDGE, NO_REMAINDER, SCORERS, WITHOUT_LENGTH, scores_of
from afd_study.methods.ensembles import with_ensembles
from afd_study.methods.reward_pairs import RewardData
from afd_study.models.specs import SamplingSpec
from afd_study.study.steps.encoding import ROW, texts_of
from afd_study.study.workflow.context import Context
from afd_study.study.workflow.tables import read_table, write_table
from afd_study.worlds.controlled import open_world

LOG_RATIOS = ("closed_form", "late_closed_form")  # rules without training that pessimism is tried on


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
    half_logprobs: Path | None = None,
    **scored: Path,
) -> None:
    """Judge every selection rule at every n on one pool: outcomes, summary, win rates and diagnostics.

    Rules without length are judged in tables outcomes and win_rates alone. They and pessimism have the n of
    evaluation.sizes.
    """
    rules = _every_score(pool, init_logprobs, half_logprobs, read_table(judged, "scores"), scored)
    scores = with_ensembles(rules, ensembles)
    rng = np.random.default_rng([seed, 6])
    name: dict[str, Any] = {"task": task, "seed": seed, "judge": JUDGE}
    kept = [n for n in SIZES if n <= sampling.n_max]
    curves = best_of_n_curve(scores, n_max=sampling.n_max, **name)
    curves = pd.concat([curves, levels(scores, **name)], ignore_index=True)
    rest = _without_length(scores, pool)
    bare = best_of_n_curve(pd.concat([scores[scores["scorer"] == JUDGE], rest]), n=kept, **name)
    bare = bare[~bare["method"].isin(NO_REMAINDER)]  # random and oracle, which every curve has
    write_table(out, "scores", scores)
    write_table(out, "outcomes", pd.concat([curves, bare], ignore_index=True))
    write_table(out, "summary", summarise(curves, rng))
    write_table(out, "win_rates", _win_rates(pd.concat([scores, rest]), sampling.n_max, name))
    write_table(out, "diagnostics", diagnostics(scores, generator=rng, **name))
    write_table(out, "discrimination", _discriminations(scores, scorers, rng))
    others = [each for each in SCORERS if each not in LOG_RATIOS]
    weighed = scores[~scores["scorer"].isin(others)]
    write_table(out, "pessimism", pessimism_curve(weighed, n=kept, **name))


def _win_rates(scores: pd.DataFrame, n_max: int, name: dict[str, Any]) -> pd.DataFrame:
    """Return win rates over a draw of pi_SFT and over a demonstration, where there are any."""
    sizes = sorted({1, min(16, n_max), n_max})
    sources = set(scores.loc[scores["scorer"] == JUDGE, "source"])
    opponents = [each for each in ("pi_sft", "demonstrations") if each in sources]
    won = [win_rates(answered(scores, each), opponent=each, n=sizes, **name) for each in opponents]
    return pd.concat(won, ignore_index=True)


def _without_length(scores: pd.DataFrame, pool: Path) -> pd.DataFrame:
    """Return what is left of each rule's scores of the pool when length (log words) is taken out."""
    samples = read_table(pool, "samples")
    length = samples[ROW].assign(length=samples["text"].map(LENGTHS["words"]))
    own = scores[(scores["source"] == "pi_sft") & ~scores["scorer"].isin([JUDGE, *NO_REMAINDER])]
    return residualised(own, length, on=("length",), suffix=WITHOUT_LENGTH)


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
    half_logprobs: Path | None = None,
    **scored: Path,
) -> None:
    """Gather the scores of every rule where there is no judge: what a person may pick by."""
    rules = _every_score(pool, init_logprobs, half_logprobs, None, scored)
    write_table(out, "scores", with_ensembles(rules, ensembles))


def _every_score(
    pool: Path,
    init_logprobs: Path,
    half_logprobs: Path | None,
    verdicts: pd.DataFrame | None,
    scored: Mapping[str, Path],
) -> pd.DataFrame:
    """Return the scores of the judge (if any), of the rules that need no training, and of reward models."""
    samples = read_table(pool, "samples")
    samples = samples.merge(read_table(init_logprobs, "logprobs"), on=ROW, validate="one_to_one")
    if half_logprobs is not None:
        half = read_table(half_logprobs, "logprobs").rename(columns={"logprob_init": "logprob_half"})
        samples = samples.merge(half, on=ROW, validate="one_to_one")
    rules = scores_of(samples)
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
