"""What the page on free features shows of worlds: frozen leads beside predictions, weights in training."""

from collections.abc import Mapping

import pandas as pd

from afd_study.evaluation.free_feature import predicted_leads, prediction_errors, weights_left
from afd_study.study.chapters.heterogeneity_map import frozen_map
from afd_study.study.frozen.files import read_frozen

__all__ = ["heterogeneities", "leads", "prediction_errors", "training_weights"]


def heterogeneities() -> list[float]:
    """Return the values of h in the frozen map, ascending."""
    return sorted(frozen_map()["h"].unique().tolist())


def leads(kept: Mapping[str, Mapping[float, float]]) -> pd.DataFrame:
    """Return evaluation.free_feature.predicted_leads of the frozen map.

    Raises StoreError where the map is missing or does not match its manifest.
    """
    return predicted_leads(frozen_map(), kept)


def training_weights(*tasks: str) -> pd.DataFrame:
    """Return evaluation.free_feature.weights_left of frozen studies at their last setting, with column task.

    Raises StoreError where a table is missing or does not match its manifest.
    """
    parts = []
    for task in tasks:
        evaluations = read_frozen(f"experiment/{task}", "evaluations")
        parts.append(weights_left(evaluations).assign(task=task, setting=evaluations["setting"].iloc[0]))
    return pd.concat(parts, ignore_index=True)
