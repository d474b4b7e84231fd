"""What chapters 6 and 9 show: what reward models have learned, over seeds, with intervals."""

from collections.abc import Mapping

import pandas as pd

from afd_study.methods.best_of_n import WITHOUT_LENGTH
from afd_study.methods.reward_data import REWARD_DATA
from afd_study.study.chapters.experiment import Maker, Studies, settings, with_intervals
from afd_study.study.chapters.replicates import averaged, first_of_each
from afd_study.study.study import compare


def _intervals(studies: Studies, table: str, by: tuple[str, ...], value: str = "value") -> pd.DataFrame:
    column = "scorer" if "scorer" in by else "method"
    return with_intervals(averaged(compare(studies, table), [value], column=column), ("setting", *by), value)


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
    """Return the AUC with which each discriminator tells its sources apart, over all pairs or those alike."""
    if all(len(study.seeds) == 1 for study in studies.values()):  # its own interval, over prompts
        own = first_of_each(compare(studies, "conditional_auc"), column="scorer")
        table = own.rename(columns={"auc": "mean"}).assign(n_seeds=1)
    else:
        table = _intervals(studies, "conditional_auc", ("within", "scorer"), "auc")
    return table.rename(columns={"scorer": "method"})


def calibration(studies: Studies) -> pd.DataFrame:
    """Return how each discriminator's logit compares with the exact log ratio, by metric.

    The ratio is that of the laws without marks. Where demonstrations carry marks (h > 0) a discriminator of
    demonstrations sees another one, shifted by log(1 - h) on unmarked text: only ranks are compared there.
    """
    table = _intervals(studies, "calibration", ("metric", "method"))
    marked = [name for name, study in studies.items() if getattr(study.spec.world, "heterogeneity", 0) > 0]
    kinds = [kind for kind, data in REWARD_DATA.items() if "demonstrations" in data[:2]]
    shifted = table["setting"].isin(marked) & table["method"].isin(kinds)
    return table[~shifted | (table["metric"] == "rank_correlation")].reset_index(drop=True)


def calibration_curve(studies: Studies) -> pd.DataFrame:
    """Return mean logit and mean exact log ratio in bins, averaged over seeds."""
    bins = averaged(compare(studies, "calibration_curve"), ["logit", "log_ratio"]).groupby(
        ["setting", "method", "bin"]
    )
    return bins[["logit", "log_ratio"]].mean().reset_index()


def remedies(studies: Studies) -> pd.DataFrame:
    """Return the judge's mean of the best of n by each kind's rewards, with length and without it."""
    outcomes = averaged(compare(studies, "outcomes"))
    kinds = {kind for study in studies.values() for kind in study.spec.reward.kinds}
    cured = {f"{kind}{WITHOUT_LENGTH}" for kind in kinds}
    sizes = set(outcomes.loc[outcomes["method"].isin(cured), "n"])
    shown = outcomes["method"].isin({*kinds, *cured, "random", "oracle"}) & outcomes["n"].isin(sizes)
    return with_intervals(outcomes[shown], ("setting", "method", "n"))


TABLES: Mapping[str, Maker] = {
    "settings": settings,
    "rank_correlations": rank_correlations,
    "regression": regression,
    "edit_effects": edit_effects,
    "conditional_auc": conditional_auc,
    "calibration": calibration,
    "calibration_curve": calibration_curve,
    "remedies": remedies,
}
"""What chapter 6 shows of one task, by the names that the notebook uses."""
