"""Picking one of n systems' answers, beside rules that always take the same system.

This is no Best-of-N: the answers are not draws of one policy, and nothing is matched. A rule that ignores the
prompt and takes whichever system writes longest does well. So each score stands beside its own mean over the
*other* prompts, a rule that knows the system alone.

The one pair within a policy is tulu-2-dpo-13b and, of the same policy, the best of 16 draws by a published
reward model (PairRM).
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from afd_study.errors import SpecError
from afd_study.evaluation.statistics import BOOTSTRAP, bootstrap_statistic, ratio
from afd_study.evaluation.systems.agreement import NO_LENGTH, NONE, Values
from afd_study.evaluation.systems.discriminators import LONGEST
from afd_study.evaluation.systems.grid import Grid, system_means, without_length
from afd_study.evaluation.systems.two_way import two_way_table
from afd_study.theory.best_of_n import expected_best

ALWAYS = "always the same system: "
RANDOM, BEST_SYSTEM = "random", f"{ALWAYS}best verdicts"
WITHIN_POLICY = ("tulu-2-dpo-13b", "pairrm-tulu-2-13b")
"""A policy's single draw, and its best of 16 draws by PairRM."""


def picks(
    values: Values,
    *,
    generator: np.random.Generator,
    n: int = 16,
    resamples: int = 400,
    level: float = 0.95,
) -> pd.DataFrame:
    """Return the verdict on the answer that each rule picks out of n systems', exact over subsets of n.

    Columns method, less_method, value (the mean over prompts of GPT-4's preference for the answer), low,
    high, interval, n_prompts, n_systems. Rules: random; each score; each score's mean over the other prompts
    ("always the same system: ..."); the system with the best verdicts on the other prompts. Behind them:
    each score less random, and less its own constant rule. An answer without a verdict is never picked.

    Raises SpecError where the pool has fewer than n systems.
    """
    n_prompts, n_systems = values.verdicts.shape
    if not 1 <= n <= n_systems:
        raise SpecError(f"{n} answers are to be picked from, and {n_systems} systems are in the pool")
    rules = _rules(values)
    is_there = ~np.isnan(values.verdicts)
    stacked = np.where(is_there, np.stack(list(rules.values())), -np.inf)
    worth = np.where(is_there, values.verdicts, 0.0)

    def statistic(rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float64]:
        rows, often = np.unique(rows, return_counts=True)
        scores = stacked[:, rows][:, :, columns]
        value = np.broadcast_to(worth[rows][:, columns], scores.shape)
        return expected_best(values=value.copy(), scores=scores, n=n).numpy() @ (often / often.sum())

    names = list(rules)
    place = {name: number for number, name in enumerate(names)}
    pairs = [(place[name], place[RANDOM]) for name in names[1:]]
    pairs += [(place[name], place[ALWAYS + name]) for name in values.names]
    if {"init_sft", "init_demo"} <= set(names):
        pairs.append((place["init_sft"], place["init_demo"]))
    return two_way_table(
        statistic,
        [(name,) for name in names],
        ["method"],
        shape=(n_prompts, n_systems),
        generator=generator,
        resamples=resamples,
        level=level,
        minus=pairs,
    )


def _rules(values: Values) -> dict[str, NDArray[np.float64]]:
    """Return what each rule picks by: the highest of its values (P, S)."""
    scores = dict(zip(values.names, values.scores, strict=True))
    constant = {ALWAYS + name: system_means(each) for name, each in scores.items()}
    chance = {RANDOM: np.zeros_like(values.verdicts)}
    return chance | scores | constant | {BEST_SYSTEM: system_means(values.verdicts)}


def within_policy(
    grid: Grid,
    scores: Mapping[str, NDArray[np.float64]],
    *,
    generator: np.random.Generator,
    resamples: int = 1000,
    level: float = 0.95,
) -> pd.DataFrame:
    """Compare each score with PairRM's picks and with GPT-4's verdicts, within one policy's two answers.

    `scores` are of WITHIN_POLICY's answers, (P, 2) each, in that order. Rows: measure "gain of PairRM's
    picks" (the verdict on the pick less that on the single draw); for each score and adjustment "agrees with
    PairRM" (how often the pick scores higher) and "agrees with GPT-4" (how often the answer with the better
    verdict does, where the verdicts differ); a tie counts half. Intervals are over prompts.
    """
    part = grid.of(WITHIN_POLICY)
    verdicts = part.verdicts
    is_there: NDArray[np.bool_] = np.asarray(~np.isnan(verdicts).any(axis=1))
    better = np.sign(verdicts[:, 1] - verdicts[:, 0])
    options = {"generator": generator, "level": level, "resamples": resamples}
    rows = []

    def add(
        method: str, kind: str, measure: str, value: NDArray[np.float64], mask: NDArray[np.bool_]
    ) -> None:
        mean = lambda weights: ratio(weights @ value[mask], weights.sum(axis=1))  # noqa: E731
        interval = bootstrap_statistic(mean, part.prompts[mask], **options)  # type: ignore[arg-type]
        rows.append((method, kind, measure, *interval, int(mask.sum()), BOOTSTRAP))

    add("pairrm", NONE, "gain of PairRM's picks", verdicts[:, 1] - verdicts[:, 0], is_there)
    for name, values in scores.items():
        for kind in (NONE,) if name == LONGEST else (NONE, NO_LENGTH):
            score = values if kind == NONE else without_length(values, part.lengths)
            higher = np.sign(score[:, 1] - score[:, 0])
            add(name, kind, "agrees with PairRM", (1 + higher) / 2, ~np.isnan(higher))
            decided = is_there & (better != 0) & ~np.isnan(higher)
            add(name, kind, "agrees with GPT-4", (1 + higher * better) / 2, decided)
    columns = ["method", "adjustment", "measure", "value", "low", "high", "n_prompts", "interval"]
    return pd.DataFrame(rows, columns=columns)
