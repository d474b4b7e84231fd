"""What chapters show of what reward models have learned: probe tables over seeds, with intervals."""

import numpy as np
import pandas as pd

from afd_study.evaluation.statistics import interval
from afd_study.methods.reward_data import REWARD_DATA
from afd_study.study.chapters.experiment import Studies
from afd_study.study.study import compare


def _intervals(studies: Studies, table: str, by: tuple[str, ...], value: str = "value") -> pd.DataFrame:
    found = compare(studies, table)
    return interval(found, generator=np.random.default_rng(0), by=("setting", *by), value=value)


def rank_correlations(studies: Studies) -> pd.DataFrame:
    """Return each scorer's rank correlations within prompts, by metric, with judge and with closed form."""
    return _intervals(studies, "rank_correlations", ("metric", "method"))


def regression(studies: Studies) -> pd.DataFrame:
    """Return what each reward pays for components, length and style: standardised coefficients and R2."""
    return _intervals(studies, "regression", ("method", "feature"))


def edit_effects(studies: Studies) -> pd.DataFrame:
    """Return what each scorer pays for an edit of one thing, in its own spread within prompts."""
    return _intervals(studies, "edit_effects", ("edit", "method"))


def conditional_auc(studies: Studies) -> pd.DataFrame:
    """Return with what AUC each discriminator tells its sources apart, all pairs or those alike."""
    if all(len(study.seeds) == 1 for study in studies.values()):  # its own interval, over prompts
        found = compare(studies, "conditional_auc").rename(columns={"auc": "mean"}).assign(n_seeds=1)
    else:
        found = _intervals(studies, "conditional_auc", ("within", "scorer"), "auc")
    return found.rename(columns={"scorer": "method"})


def calibration(studies: Studies) -> pd.DataFrame:
    """Return how each discriminator's logit compares with the exact log ratio, by metric.

    The ratio is that of the laws without marks. Where demonstrations carry marks (h > 0) a discriminator of
    demonstrations sees another one, shifted by log(1 - h) on unmarked text: only ranks are compared there.
    """
    found = _intervals(studies, "calibration", ("metric", "method"))
    marked = [name for name, study in studies.items() if getattr(study.spec.world, "heterogeneity", 0) > 0]
    kinds = [kind for kind, contrast in REWARD_DATA.items() if "demonstrations" in contrast[:2]]
    shifted = found["setting"].isin(marked) & found["method"].isin(kinds)
    return found[~shifted | (found["metric"] == "rank_correlation")].reset_index(drop=True)


def calibration_curve(studies: Studies) -> pd.DataFrame:
    """Return mean logit and mean exact log ratio in bins, averaged over seeds."""
    found = compare(studies, "calibration_curve").groupby(["setting", "method", "bin"])
    return found[["logit", "log_ratio"]].mean().reset_index()


def remedies(studies: Studies) -> pd.DataFrame:
    """Return the judge's mean of the best of n by rewards with and without what length explains."""
    cured = compare(studies, "remedies")
    sizes = sorted(set(cured["n"]))
    plain = compare(studies, "outcomes")
    known = {name.removesuffix("_without_length") for name in cured["method"]} - {"oracle", "random"}
    plain = plain[plain["method"].isin(known) & plain["n"].isin(sizes)]
    both = pd.concat([cured, plain], ignore_index=True)
    return interval(both, generator=np.random.default_rng(0), by=("setting", "method", "n"))
