"""Steps that make preferences: labelled by a judge, chosen at random, and a judge fitted to them."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from afd_study.errors import DataError
from afd_study.evaluation.statistics import preference_accuracy
from afd_study.methods.reward_model import both_sides, fit
from afd_study.methods.reward_pairs import label_preferences
from afd_study.models.batches import Pair
from afd_study.models.policy import context_length, load_policy
from afd_study.models.reward import on_backbone, save_reward_model
from afd_study.models.specs import SamplingSpec, TrainingSpec
from afd_study.models.tokenizers import decode, load_tokenizer
from afd_study.study.steps.bookkeeping import _count_pairs, write_evaluations
from afd_study.study.steps.encoding import paired_examples
from afd_study.study.steps.texts import open_world
from afd_study.study.workflow.context import Context, derived_seed
from afd_study.study.workflow.tables import read_table, write_table


def judged_preferences(
    out: Path, context: Context, *, world: dict[str, Any], scale: float, noise: float, seed: int,
    prompts: Path, pi_init: Path,
) -> None:  # fmt: skip
    """Label pairs of pi_init samples by a controlled world's judge: half as many as there are samples."""
    asked, drawn = read_table(prompts, "prompts"), read_table(pi_init, "samples")
    n_pairs = drawn.groupby("prompt_id")["draw"].transform("size") // 2  # of each sample's prompt
    drawn = drawn.assign(value=open_world(world).judge(asked, drawn)["value"], response=drawn["token_ids"])
    first, second = drawn[drawn["draw"] < n_pairs], drawn[drawn["draw"] >= n_pairs]
    second = second.assign(draw=second["draw"] - n_pairs)
    columns = ["prompt_id", "draw", "response", "value"]
    labelled = label_preferences(
        first[columns], second[columns], scale=scale, noise=noise, seed=derived_seed(seed, "preferences")
    )
    context.cost["labels"] = len(labelled)
    write_table(out, "preferences", labelled)


def chosen_preferences(
    out: Path, context: Context, *, n: int, seed: int, preferences: Path, tokenizers: Path
) -> None:
    """Keep `n` preferences at random, a larger choice holding every smaller one of the same preferences.

    Their preferred side, as table `demonstrations`, sets the number of pairs of each prompt.
    """
    found = read_table(preferences, "preferences")
    if n > len(found):
        raise DataError(f"reward.n_preferences={n}, but there are {len(found)} preferences: ask for fewer")
    order = np.random.default_rng(derived_seed(seed, "chosen preferences")).permutation(len(found))
    kept = found.iloc[np.sort(order[:n])]
    kept = kept.assign(draw=kept.groupby("prompt_id").cumcount())
    context.cost["labels"] = n
    write_table(out, "preferences", kept)
    texts = list(kept["preferred"])
    if not isinstance(texts[0], str):
        texts = decode(load_tokenizer(tokenizers / "policy"), [list(ids) for ids in texts])
    write_table(out, "demonstrations", kept[["prompt_id", "draw"]].assign(text=texts))


def fitted_judge(
    out: Path, context: Context, *, training: TrainingSpec, sampling: SamplingSpec, seed: int,
    tokenizers: Path, corpus: Path, policy: Path,
) -> None:  # fmt: skip
    """Fit a judge to preferences on its own part of the prompts; table `judge_accuracy` on the other part."""
    asked, prefer = read_table(corpus, "prompts"), read_table(corpus, "preferences")
    reader, lm = load_tokenizer(tokenizers / "reader"), load_policy(policy)
    both, split = paired_examples(
        prefer, ("preferred", "rejected"), asked, reader, sampling, context=context_length(lm)
    )
    own = asked.set_index("prompt_id")["part"].reindex(prefer["prompt_id"]).to_numpy() == "judge"
    train = [both[i] for i in np.flatnonzero(own & (split == "train"))]
    validation = [both[i] for i in np.flatnonzero(own & (split == "validation"))]
    training = training.over(len(train))
    model, evaluations = fit(
        on_backbone(lm, reader), train, validation=validation, loss="bradley_terry", training=training,
        seed=derived_seed(seed, "judge"), workspace=context.workspace,
        progress=context.steps(training.steps),
    )  # fmt: skip
    save_reward_model(model, out)
    write_evaluations(out, evaluations)
    _count_pairs(context, model, train, training, evaluations)
    high, low = both_sides(model, [both[i] for i in np.flatnonzero(~own)])
    right = int((high > low).sum())
    found = preference_accuracy(preferred=high, rejected=low)
    write_table(out, "judge_accuracy", pd.DataFrame([{
        "accuracy": found.mean, "low": found.low, "high": found.high, "n_right": right, "n_pairs": len(high),
        "n_training_pairs": len(train), "longer_preferred": _longer_preferred(both, ~own),
    }]))  # fmt: skip


def _longer_preferred(pairs_: list[Pair], where: np.ndarray) -> float:
    """Return how often people prefer the longer answer, ties half: what a judge of length alone would get."""
    lengths = [(len(pairs_[i].high.ids), len(pairs_[i].low.ids)) for i in np.flatnonzero(where)]
    return float(np.mean([(high > low) + 0.5 * (high == low) for high, low in lengths]))
