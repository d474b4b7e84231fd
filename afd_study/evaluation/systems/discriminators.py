"""Discriminators between real systems: (base, fine-tuned), (base, demonstrator), (fine-tuned, demonstrator).

No policy is sampled or trained. A logistic regression learns to tell the answers of two systems apart on some
prompts, and scores every system's answers to the others, so that no score is of a prompt that it learned
from.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from afd_study.errors import DataError, SpecError
from afd_study.evaluation.ranking import weighted_auc
from afd_study.evaluation.systems.features import Features
from afd_study.evaluation.systems.grid import Grid
from afd_study.models.regressions import discriminator
from afd_study.settings import Settings
from afd_study.worlds.entries import unit_hash

ROLES: Mapping[str, tuple[str, str]] = {
    "init_sft": ("tuned", "base"),
    "init_demo": ("demonstrator", "base"),
    "sft_demo": ("demonstrator", "tuned"),
}
"""A discriminator's name -> which system of a triple is to score high, and which low."""
LONGEST = "longest"


class Triple(NamedTuple):
    """The systems in the roles of pi_init, pi_SFT and demonstrator."""

    base: str
    tuned: str
    demonstrator: str


class Fitting(Settings):
    """How discriminators are fitted: folds over prompts, how often these are drawn anew, and the penalty.

    A score is the mean logit over `splits` divisions into `folds`; `l2` / 2 times the squared weights is
    added to the summed log loss (nats).
    """

    folds: int = 5
    splits: int = 1
    l2: float = 1.0
    seed: int = 0


USUAL = Fitting()


def folds_of(names: Sequence[str], *, folds: int, seed: int) -> NDArray[np.int64]:
    """Return the fold of each name (P,): equal parts by a hash of name and seed, so that order is no matter.

    Raises SpecError for fewer than two folds, DataError for fewer names than folds.
    """
    if folds < 2:
        raise SpecError(f"folds must be at least 2, got {folds}")
    different = sorted(set(names), key=lambda name: (unit_hash(name, seed=seed, use="folds"), name))
    if len(different) < folds:
        raise DataError(f"{len(different)} prompts or openings are too few for {folds} folds")
    place = {name: number * folds // len(different) for number, name in enumerate(different)}
    return np.array([place[name] for name in names], dtype=np.int64)


def scores_of(
    grid: Grid, triple: Triple, features: Features, fitting: Fitting = USUAL
) -> dict[str, NDArray[np.float64]]:
    """Return the logits that each discriminator gives to every system's answers, (P, S) each.

    A prompt is scored by discriminators that were fitted on other prompts. NaN where a system has no answer.
    "longest" is there too: log(1 + words). Raises SpecError for a system that is not there, DataError where a
    side has no answers.
    """
    total = {name: np.zeros(grid.rows.shape) for name in ROLES}
    for split in range(fitting.splits):
        fold = folds_of(grid.prompts.tolist(), folds=fitting.folds, seed=fitting.seed + split)
        for part in range(fitting.folds):
            held_out = grid.rows[fold == part]
            for name, (high, low) in ROLES.items():
                one, other = (texts_of(grid, getattr(triple, role), fold != part) for role in (high, low))
                logits = logits_of(features, one, other, np.maximum(held_out, 0).ravel(), fitting.l2)
                total[name][fold == part] += logits.reshape(held_out.shape) / fitting.splits
    scores = {name: np.where(grid.rows >= 0, logits, np.nan) for name, logits in total.items()}
    return scores | {LONGEST: grid.lengths}


def held_out_losses(
    grid: Grid, triple: Triple, features: Features, fitting: Fitting = USUAL
) -> dict[str, float]:
    """Return each discriminator's mean log loss (nats a text) on its own systems' answers to other prompts.

    It is what a penalty is chosen by: no verdict goes into it. One split into folds is used.
    """
    fold = folds_of(grid.prompts.tolist(), folds=fitting.folds, seed=fitting.seed)
    losses = {}
    for name, roles in ROLES.items():
        parts = list[NDArray[np.float64]]()
        for part in range(fitting.folds):
            fit, rest = (
                [texts_of(grid, getattr(triple, role), mask) for role in roles]
                for mask in (fold != part, fold == part)
            )
            logits = logits_of(features, fit[0], fit[1], np.concatenate(rest), fitting.l2)
            sign = np.repeat([1.0, -1.0], [len(side) for side in rest])
            parts.append(np.logaddexp(0, -sign * logits))
        losses[name] = float(np.concatenate(parts).mean())
    return losses


def texts_of(grid: Grid, system: str, mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the numbers of a system's answers to some prompts (P,). Raises DataError without any."""
    rows = grid.rows[mask, grid.column(system)]
    if not (rows >= 0).any():
        raise DataError(f"'{system}' answers none of the prompts that a discriminator is fitted on")
    return rows[rows >= 0]


def logits_of(
    features: Features, high: NDArray[np.int64], low: NDArray[np.int64], of: NDArray[np.int64], l2: float
) -> NDArray[np.float64]:
    """Fit on the texts of two systems and return the logits of the texts `of` (m,)."""
    both = np.concatenate([high, low])
    seen, asked = features(fit_on=both, of=[both, of])
    weights, intercept = discriminator(seen, np.arange(len(both)) < len(high), l2=l2)
    return asked @ weights + intercept


def told_apart(grid: Grid, triple: Triple, scores: Mapping[str, NDArray[np.float64]]) -> pd.DataFrame:
    """Return how well each discriminator tells its own two systems apart, of its scores (`scores_of`).

    Columns discriminator, high, low, auc, auc_by_length: the second is what length alone does. Where it is
    near 0 or 1 the discriminator needs nothing else.
    """
    lengths, rows = scores[LONGEST], []
    for name, roles in ROLES.items():
        columns = [grid.column(getattr(triple, role)) for role in roles]
        positive = np.repeat([True, False], len(grid.prompts))
        auc, by_length = (_auc(values[:, columns].T.ravel(), positive) for values in (scores[name], lengths))
        rows.append((name, *(getattr(triple, role) for role in roles), auc, by_length))
    return pd.DataFrame(rows, columns=["discriminator", "high", "low", "auc", "auc_by_length"])


def _auc(values: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    is_there = ~np.isnan(values)
    return float(weighted_auc(values[is_there], positive=positive[is_there]))
