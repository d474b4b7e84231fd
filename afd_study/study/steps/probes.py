"""Steps that look inside: densities under both laws, covering and seeking, and what reward models learned."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from afd_study.evaluation import probes as probing
from afd_study.evaluation.claim_effects import SIZES
from afd_study.evaluation.counterfactual_edits import counterfactuals, edit_effects
from afd_study.evaluation.outcomes import best_of_n_outcomes
from afd_study.methods.reward_data import RewardData
from afd_study.models.distributed import map_across_ranks
from afd_study.models.policy import device, n_parameters
from afd_study.models.reward import load_reward_model, rewards
from afd_study.models.specs import SamplingSpec
from afd_study.models.tokenizers import load_tokenizer
from afd_study.study.steps.bookkeeping import refuse_infinite
from afd_study.study.steps.encoding import ROW, examples_from
from afd_study.study.steps.texts import open_world
from afd_study.study.workflow.context import Context
from afd_study.study.workflow.tables import read_table, write_table

EDITED_DRAWS = 2  # samples a test prompt that are edited
ASKED_DRAWS = 16  # texts a prompt and source that AUCs are taken over
REMEDY = "_without_length"
CALIBRATION = ("task", "seed", "method", "metric", "value")
CURVE = ("method", "bin", "logit", "log_ratio", "n")
AUC = ("scorer", "positive", "negative", "within", "auc", "low", "high", "interval", "n_prompts")


def edits(
    out: Path, context: Context, *, world: dict[str, Any] | None, seed: int, prompts: Path, pool: Path
) -> None:
    """Edit the first samples of pi_SFT to each test prompt in one thing each: table `edits`.

    Where the world has a judge, a column holds what it says of each text.
    """
    drawn = read_table(pool, "samples")
    texts = drawn[drawn["draw"] < EDITED_DRAWS][[*ROW, "text"]].reset_index(drop=True)
    rng, asked = np.random.default_rng([seed, 7]), read_table(prompts, "prompts")
    if world is None:
        write_table(out, "edits", counterfactuals(texts, generator=rng))
        return
    known = open_world(world)
    found = counterfactuals(texts, generator=rng, extra=known.counterfactuals(asked, texts))
    write_table(out, "edits", found.assign(judge=known.judge(asked, found)["value"].to_numpy()))


def edit_scores(
    out: Path, context: Context, *, scorer: str, sampling: SamplingSpec, reward_model: Path, tokenizers: Path,
    prompts: Path, edits: Path,
) -> None:  # fmt: skip
    """Score edited texts by a reward model: table `edit_scores`."""
    model, reader = load_reward_model(reward_model, device()), load_tokenizer(tokenizers / "reader")
    table = read_table(edits, "edits")
    rows = examples_from(table, read_table(prompts, "prompts"), reader, sampling, context=10**9)
    examples = list(rows["example"])
    context.spend(tokens=sum(len(e.ids) for e in examples), parameters=n_parameters(model), passes=1)
    values = map_across_ranks(examples, partial(rewards, model))
    refuse_infinite(values, table, scorer, context)
    found = table[[*ROW, "edit"]].assign(scorer=scorer, reward=values)
    write_table(out, "edit_scores", found)


def probes(
    out: Path, context: Context, *, task: str, seed: int, world: dict[str, Any] | None,
    data: dict[str, RewardData], pool: Path, pool_init: Path, shown: Path, init_logprobs: Path, judged: Path,
    outcomes: Path, edits: Path, densities: Path | None = None, **edited: Path,
) -> None:  # fmt: skip
    """Ask every scorer what it has learned (evaluation.probes and evaluation.edits).

    Tables: regression, rank_correlations, conditional_auc, calibration, calibration_curve, edit_effects,
    remedies (outcomes of rewards without what length explains).
    """
    scores = read_table(outcomes, "scores")
    named: dict[str, Any] = {"task": task, "seed": seed}
    style = open_world(world).style if world is not None else ()
    texts = [read_table(folder, "samples")[[*ROW, "text"]] for folder in (pool, pool_init)]
    texts.append(read_table(shown, "demonstrations").assign(source="demonstrations")[[*ROW, "text"]])
    features = probing.text_features(pd.concat(texts, ignore_index=True), style=style)
    own = scores[scores["source"] == "pi_sft"]
    measured = features.copy()
    if world is not None:
        parts = read_table(judged, "components").drop(columns="value")
        measured = features.merge(parts, on=ROW, how="left", validate="one_to_one").fillna(0.0)
    write_table(out, "regression", probing.reward_regression(own, measured, **named))
    write_table(out, "rank_correlations", _rank_correlations(own, features, named))
    write_table(out, "conditional_auc", _aucs(scores, features, data, seed))
    exact = _truths(pool, init_logprobs, densities)
    truths = {kind: exact[data[kind][:2]] for kind in data if data[kind][:2] in exact}
    fits = [probing.calibration(own, truth, scorer=kind, **named) for kind, truth in truths.items()]
    curves = [probing.calibration_curve(own, truth, scorer=kind) for kind, truth in truths.items()]
    write_table(out, "calibration", _stacked(fits, CALIBRATION))
    write_table(out, "calibration_curve", _stacked(curves, CURVE))
    write_table(out, "edit_effects", _edit_effects(edits, edited, outcomes, named))
    trained = own[own["scorer"].isin(list(data))]
    rest = probing.residualised(trained, features, on=("length",), suffix=REMEDY)
    both = pd.concat([rest, own[own["scorer"] == "judge"]], ignore_index=True)
    n_max = len(own.loc[own["prompt_id"] == own["prompt_id"].iloc[0], "draw"].unique())
    sizes = [n for n in SIZES if n <= n_max]
    write_table(out, "remedies", best_of_n_outcomes(both, judge="judge", n=sizes, **named))


def _rank_correlations(own: pd.DataFrame, features: pd.DataFrame, named: dict[str, Any]) -> pd.DataFrame:
    style = [name for name in features.columns if name not in (*ROW, "length")]
    asked: dict[str, dict[str, Any]] = {
        "rank_correlation": {},
        "rank_correlation_without_length": {"given": ["length"]},
        "rank_correlation_without_length_and_style": {"given": ["length", *style]},
        "rank_correlation_with_closed_form": {"against": "closed_form"},
    }
    frames = [
        probing.rank_correlations_given(own, features, **named, **how).assign(metric=metric)
        for metric, how in asked.items()
    ]
    return pd.concat(frames, ignore_index=True).dropna(subset="value")


def _aucs(
    scores: pd.DataFrame, features: pd.DataFrame, data: dict[str, RewardData], seed: int
) -> pd.DataFrame:
    """How well each discriminator tells its own two sources apart on test prompts, some features alike."""
    within = [name for name, alike in probing.STRATA.items() if set(alike) <= set(features.columns)]
    few = scores[scores["draw"] < ASKED_DRAWS]
    sources, rng = set(scores["source"].unique()), np.random.default_rng([seed, 8])
    frames = [
        probing.conditional_auc(
            few,
            features,
            scorer=kind,
            positive=contrast.high,
            negative=contrast.low,
            generator=rng,
            within=within,
        )
        for kind, contrast in data.items()
        if set(contrast[:2]) <= sources
    ]
    return _stacked(frames, AUC).assign(seed=seed)


def _stacked(frames: list[pd.DataFrame], columns: tuple[str, ...]) -> pd.DataFrame:
    """Stack tables; none at all (a study of the preference model alone) is an empty one."""
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(columns))


def _truths(pool: Path, init_logprobs: Path, densities: Path | None) -> dict[tuple[str, str], pd.DataFrame]:
    """Return the exact log ratios of pi_SFT's samples by (high, low), where both laws are known."""
    both = read_table(pool, "samples")[[*ROW, "logprob"]].merge(
        read_table(init_logprobs, "logprobs"), on=ROW, validate="one_to_one"
    )
    found = {("pi_sft", "pi_init"): both["logprob"] - both["logprob_init"]}
    if densities is not None:
        exact = read_table(densities, "densities")[[*ROW, "logprob_demo"]]
        both = both.merge(exact, on=ROW, validate="one_to_one")
        found["demonstrations", "pi_init"] = both["logprob_demo"] - both["logprob_init"]
        found["demonstrations", "pi_sft"] = both["logprob_demo"] - both["logprob"]
    return {sides: both[ROW].assign(log_ratio=ratio) for sides, ratio in found.items()}


def _edit_effects(
    edits: Path, edited: dict[str, Path], outcomes: Path, named: dict[str, Any]
) -> pd.DataFrame:
    """What each reward model, and the judge, pays for each edit, in its own spread within prompts."""
    table = read_table(edits, "edits")
    frames = [read_table(folder, "edit_scores") for folder in edited.values()]
    if "judge" in table.columns:
        frames.append(table[[*ROW, "edit"]].assign(scorer="judge", reward=table["judge"]))
    found = read_table(outcomes, "diagnostics")
    known = dict(zip(found["method"], found["spread_within"], strict=True))
    known["judge"] = known["oracle"]
    return edit_effects(pd.concat(frames, ignore_index=True), spread=known, **named)
