"""Steps that make preferences: labelled by a judge, chosen at random, and a judge fitted to them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from afd_study.errors import DataError
from afd_study.evaluation.statistics import preference_accuracy
from afd_study.methods.reward_model import both_sides
from afd_study.methods.reward_pairs import label_preferences
from afd_study.models.policy import context_length, load_policy
from afd_study.models.reward import on_backbone
from afd_study.models.specs import TrainingSpec
from afd_study.models.tokenizers import decode, load_tokenizer
from afd_study.study.steps.encoding import CommonInputs, split_pairs
from afd_study.study.steps.reward_models import fitted_on_pairs
from afd_study.study.workflow.context import Context, derived_seed
from afd_study.study.workflow.tables import read_table, write_table
from afd_study.worlds.controlled import open_world


def judged_preferences(
    out: Path,
    context: Context,
    *,
    world: Mapping[str, Any],
    scale: float,
    noise: float,
    seed: int,
    prompts: Path,
    pi_init: Path,
) -> None:
    """Label pairs of pi_init samples by a controlled world's judge: half as many as there are samples."""
    table = read_table(pi_init, "samples")
    verdicts = open_world(world).judge(read_table(prompts, "prompts"), table)
    n_pairs = table.groupby("prompt_id")["draw"].transform("size") // 2  # of each sample's prompt
    table = table.assign(value=verdicts["value"], response=table["token_ids"])
    first, second = table[table["draw"] < n_pairs], table[table["draw"] >= n_pairs]
    second = second.assign(draw=second["draw"] - n_pairs)
    columns = ["prompt_id", "draw", "response", "value"]
    label_seed = derived_seed(seed, "preferences")
    labels = label_preferences(first[columns], second[columns], scale=scale, noise=noise, seed=label_seed)
    context.cost["labels"] = len(labels)
    write_table(out, "preferences", labels)


def chosen_preferences(
    out: Path, context: Context, *, n: int, seed: int, preferences: Path, tokenizers: Path
) -> None:
    """Keep `n` preferences at random, a larger choice holding every smaller one of the same preferences.

    Their preferred side, as table `demonstrations`, sets the number of pairs of each prompt.

    Raises DataError where there are fewer than `n`.
    """
    table = read_table(preferences, "preferences")
    if n > len(table):
        raise DataError(f"reward.n_preferences={n}, but there are {len(table)} preferences: ask for fewer")
    order = np.random.default_rng(derived_seed(seed, "chosen preferences")).permutation(len(table))
    chosen = table.iloc[np.sort(order[:n])]
    chosen = chosen.assign(draw=chosen.groupby("prompt_id").cumcount())
    context.cost["labels"] = n
    write_table(out, "preferences", chosen)
    texts = list(chosen["preferred"])
    if not isinstance(texts[0], str):
        texts = decode(load_tokenizer(tokenizers / "policy"), [list(ids) for ids in texts])
    write_table(out, "demonstrations", chosen[["prompt_id", "draw"]].assign(text=texts))


def fitted_judge(
    out: Path,
    context: Context,
    *,
    common: CommonInputs,
    training: TrainingSpec,
    corpus: Path,
    policy: Path,
) -> None:
    """Fit a judge to preferences on its own part of the prompts; table `judge_accuracy` on the other part."""
    reader, lm = common.reader_tokenizer, load_policy(policy)
    labels = read_table(corpus, "preferences")
    pairs, split = common.pairs(labels, ("preferred", "rejected"), reader, context=context_length(lm))
    parts = common.prompt_table.set_index("prompt_id")["part"]
    own = parts.reindex(labels["prompt_id"]).to_numpy() == "judge"
    train, validation = split_pairs([pairs[i] for i in np.flatnonzero(own)], split[own])
    seed = common.derived_seed("judge")
    how: dict[str, Any] = {"loss": "bradley_terry", "training": training, "seed": seed}
    model, _ = fitted_on_pairs(out, context, on_backbone(lm, reader), train, validation, **how)
    held_out = [pairs[i] for i in np.flatnonzero(~own)]
    lengths = np.array([(len(pair.high.ids), len(pair.low.ids)) for pair in held_out])
    write_judge_accuracy(out, *both_sides(model, held_out), lengths=lengths, n_training=len(train))


def write_judge_accuracy(
    out: Path, high: np.ndarray, low: np.ndarray, *, lengths: np.ndarray, n_training: int
) -> None:
    """Write how often a judge's scores of held-out pairs (n,) agree with people: table `judge_accuracy`.

    `lengths` (n, 2) are the tokens of the preferred answer and of the rejected one. Column `longer_preferred`
    is how often people prefer the longer one, ties half: what a judge of length alone would get.
    """
    accuracy = preference_accuracy(preferred=high, rejected=low)
    longer = (lengths[:, 0] > lengths[:, 1]) + 0.5 * (lengths[:, 0] == lengths[:, 1])
    row = {
        "accuracy": accuracy.mean,
        "low": accuracy.low,
        "high": accuracy.high,
        "n_right": int((high > low).sum()),
        "n_pairs": len(high),
        "n_training_pairs": n_training,
        "longer_preferred": float(longer.mean()),
    }
    write_table(out, "judge_accuracy", pd.DataFrame([row]))
