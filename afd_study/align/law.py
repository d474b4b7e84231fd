"""What the law of chapter 8 says of a model and its demonstrations, or why it says nothing.

The law (evaluation/when.py) predicts Init-SFT's lead from diagnostics. Most are of reward models and of their
replicates, which texts alone do not give.
"""

from collections.abc import Mapping
from importlib.resources import files
from typing import NamedTuple

import numpy as np
import pandas as pd

from afd_study.evaluation.when import DIAGNOSTICS, Law, read_law

FILE = "when_law.json"  # `Law.model_dump_json` of a fitted law; none ships today


class Prediction(NamedTuple):
    """Init-SFT's predicted leads over its rivals (shares of the gap), and whom to pick by; or why none.

    `lacking` are the diagnostics that were not measured.
    """

    leads: Mapping[str, float]
    choice: str
    reasons: tuple[str, ...]
    lacking: tuple[str, ...]


def shipped_law() -> Law | None:
    """Return the fitted law that ships with the package; None where none does."""
    file = files("afd_study.align").joinpath(FILE)
    return read_law(file.read_text(encoding="utf-8"), place=FILE) if file.is_file() else None


def predict(measured: Mapping[str, float], law: Law | None) -> Prediction:
    """Ask a law what it says of a case, by what was measured of `when.DIAGNOSTICS` (NaN: not measured).

    It says nothing without a law, without one of the law's diagnostics, and outside of the range in which it
    was fitted.
    """
    wanted = DIAGNOSTICS if law is None else law.diagnostics
    lacking = tuple(name for name in wanted if np.isnan(measured.get(name, np.nan)))
    reasons = [] if law is not None else ["no fitted law ships with this version of afd_study"]
    if lacking:
        reasons.append(f"{len(lacking)} of the law's {len(wanted)} diagnostics were not measured")
    if law is None or lacking:
        return Prediction({}, "", tuple(reasons), lacking)
    row = law.predict(pd.DataFrame([dict(measured)])).iloc[0]
    if row["no_prediction"]:
        return Prediction({}, "", (str(row["no_prediction"]),), ())
    leads = {rival: float(row[f"predicted_{rival}"]) for rival in law.coefficients}
    return Prediction(leads, str(row["choice"]), (), ())
