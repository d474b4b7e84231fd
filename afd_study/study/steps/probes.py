"""Steps that ask what reward models have learned: on samples, on edited samples, against exact log ratios."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from afd_study.evaluation import probes as probing
from afd_study.evaluation.counterfactual_edits import counterfactuals, edit_effects
from afd_study.methods.reward_pairs import RewardData
from afd_study.models.policy import device
from afd_study.models.reward import load_reward_model
from afd_study.study.steps.best_of_n import answered
from afd_study.study.steps.encoding import ROW, CommonInputs
from afd_study.study.steps.scoring import score_texts
from afd_study.study.workflow.context import Context
from afd_study.study.workflow.tables import read_table, write_table
from afd_study.worlds.controlled import open_world

EDITED_DRAWS = 2  # samples a test prompt that are edited
AUC_DRAWS = 16  # texts a prompt and source that AUCs are taken over
CALIBRATION = ("task", "seed", "method", "metric", "value")
CURVE = ("method", "bin", "logit", "log_ratio", "n")
AUC = ("scorer", "positive", "negative", "within", "auc", "low", "high", "interval", "n_prompts")


def edits(
    out: Path, context: Context, *, world: Mapping[str, Any] | None, seed: int, prompts: Path, pool: Path
) -> None:
    """Edit the first samples of pi_SFT to each test prompt in one thing each: table `edits`.

    Where the world has a judge, a column holds what it says of each text.
    """
    samples = read_table(pool, "samples")
    texts = samples[samples["draw"] < EDITED_DRAWS][[*ROW, "text"]].reset_index(drop=True)
    rng, prompt_table = np.random.default_rng([seed, 7]), read_table(prompts, "prompts")
    if world is None:
        write_table(out, "edits", counterfactuals(texts, generator=rng))
        return
    judge = open_world(world)
    table = counterfactuals(texts, generator=rng, extra=judge.counterfactuals(prompt_table, texts))
    write_table(out, "edits", table.assign(judge=judge.judge(prompt_table, table)["value"].to_numpy()))


def edit_scores(
    out: Path, context: Context, *, common: CommonInputs, scorer: str, reward_model: Path, edits: Path
) -> None:
    """Score edited texts by a reward model: table `edit_scores`."""
    table = read_table(edits, "edits")
    values = score_texts(load_reward_model(reward_model, device()), table, common, context, scorer=scorer)
    write_table(out, "edit_scores", table[[*ROW, "edit"]].assign(scorer=scorer, reward=values))


def probes(
    out: Path,
    context: Context,
    *,
    task: str,
    seed: int,
    world: Mapping[str, Any] | None,
    data: Mapping[str, RewardData],
    pool: Path,
    pool_init: Path,
    shown: Path,
    init_logprobs: Path,
    judged: Path,
    outcomes: Path,
    edits: Path,
    densities: Path | None = None,
    **edited: Path,
) -> None:
    """Ask every scorer what it has learned (evaluation.probes and evaluation.counterfactual_edits).

    Tables: regression, rank_correlations, conditional_auc, calibration, calibration_curve, edit_effects.
    """
    scores = read_table(outcomes, "scores")
    common: dict[str, Any] = {"task": task, "seed": seed}
    texts = [read_table(folder, "samples")[[*ROW, "text"]] for folder in (pool, pool_init)]
    texts.append(read_table(shown, "demonstrations").assign(source="demonstrations")[[*ROW, "text"]])
    style = open_world(world).style if world is not None else ()
    features = probing.text_features(pd.concat(texts, ignore_index=True), style=style)
    own = scores[scores["source"] == "pi_sft"]
    explaining = features.copy()
    if world is not None:
        parts = read_table(judged, "components").drop(columns="value")
        explaining = features.merge(parts, on=ROW, how="left", validate="one_to_one").fillna(0.0)
    write_table(out, "regression", probing.reward_regression(own, explaining, **common))
    write_table(out, "rank_correlations", _rank_correlations(own, features, common))
    write_table(out, "conditional_auc", _aucs(scores, features, data, seed))
    _calibrations(out, own, _log_ratios(pool, init_logprobs, densities), data, common)
    write_table(out, "edit_effects", _edit_effects(edits, edited, outcomes, common))


def _calibrations(
    out: Path,
    own: pd.DataFrame,
    log_ratios: Mapping[tuple[str, str], pd.DataFrame],
    data: Mapping[str, RewardData],
    common: dict[str, Any],
) -> None:
    """Write how each discriminator's logit compares with the exact log ratio of its two sources."""
    truths = {kind: log_ratios[data[kind][:2]] for kind in data if data[kind][:2] in log_ratios}
    fits = [probing.calibration(own, truth, scorer=kind, **common) for kind, truth in truths.items()]
    curves = [probing.calibration_curve(own, truth, scorer=kind) for kind, truth in truths.items()]
    write_table(out, "calibration", _stacked(fits, CALIBRATION))
    write_table(out, "calibration_curve", _stacked(curves, CURVE))


def _rank_correlations(own: pd.DataFrame, features: pd.DataFrame, common: dict[str, Any]) -> pd.DataFrame:
    style = [name for name in features.columns if name not in (*ROW, "length")]
    metrics: dict[str, dict[str, Any]] = {
        "rank_correlation": {},
        "rank_correlation_without_length": {"given": ["length"]},
        "rank_correlation_without_length_and_style": {"given": ["length", *style]},
        "rank_correlation_with_closed_form": {"against": "closed_form"},
    }
    frames = [
        probing.rank_correlations_given(own, features, **common, **how).assign(metric=metric)
        for metric, how in metrics.items()
    ]
    return pd.concat(frames, ignore_index=True).dropna(subset="value")


def _aucs(
    scores: pd.DataFrame, features: pd.DataFrame, data: Mapping[str, RewardData], seed: int
) -> pd.DataFrame:
    """How well each discriminator tells its own two sources apart on test prompts, some features alike."""
    within = [name for name, alike in probing.STRATA.items() if set(alike) <= set(features.columns)]
    few, rng = scores[scores["draw"] < AUC_DRAWS], np.random.default_rng([seed, 8])
    sources, frames = set(scores["source"].unique()), []
    for kind, contrast in data.items():
        if set(contrast[:2]) <= sources:
            high, low = contrast.high, contrast.low
            sides: dict[str, Any] = {"positive": high, "negative": low, "within": within}
            both = answered(few, high, low)
            frames.append(probing.conditional_auc(both, features, scorer=kind, generator=rng, **sides))
    return _stacked(frames, AUC).assign(seed=seed)


def _stacked(frames: list[pd.DataFrame], columns: tuple[str, ...]) -> pd.DataFrame:
    """Stack tables; none at all (a study of the preference model alone) is an empty one."""
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(columns))


def _log_ratios(
    pool: Path, init_logprobs: Path, densities: Path | None
) -> dict[tuple[str, str], pd.DataFrame]:
    """Return the exact log ratios of pi_SFT's samples by (high, low), where both laws are known."""
    samples = read_table(pool, "samples")[[*ROW, "logprob"]]
    both = samples.merge(read_table(init_logprobs, "logprobs"), on=ROW, validate="one_to_one")
    ratios = {("pi_sft", "pi_init"): both["logprob"] - both["logprob_init"]}
    if densities is not None:
        exact = read_table(densities, "densities")[[*ROW, "logprob_demo"]]
        both = both.merge(exact, on=ROW, validate="one_to_one")
        ratios["demonstrations", "pi_init"] = both["logprob_demo"] - both["logprob_init"]
        ratios["demonstrations", "pi_sft"] = both["logprob_demo"] - both["logprob"]
    return {sides: both[ROW].assign(log_ratio=ratio) for sides, ratio in ratios.items()}


def _edit_effects(
    edits: Path, edited: Mapping[str, Path], outcomes: Path, common: dict[str, Any]
) -> pd.DataFrame:
    """What each reward model, and the judge, pays for each edit, in its own spread within prompts."""
    table = read_table(edits, "edits")
    frames = [read_table(folder, "edit_scores") for folder in edited.values()]
    if "judge" in table.columns:
        frames.append(table[[*ROW, "edit"]].assign(scorer="judge", reward=table["judge"]))
    diagnostics = read_table(outcomes, "diagnostics")
    spread = dict(zip(diagnostics["method"], diagnostics["spread_within"], strict=True))
    spread["judge"] = spread["oracle"]
    return edit_effects(pd.concat(frames, ignore_index=True), spread=spread, **common)
