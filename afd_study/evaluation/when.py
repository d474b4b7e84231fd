"""When does Init-SFT pick best? A law that predicts its lead from what needs no judge.

The law is linear in a few diagnostics (`DIAGNOSTICS`), fixed beforehand, and knows the range in which it was
fitted: outside of it there is *no prediction*. It is a record that JSON holds (`model_dump_json`,
`read_law`), and needs nothing but itself to predict. `when_fit` fits it and `when_trial` tries
it on other worlds. Beside it stands one rule in words, whose thresholds no data chose.

A lead is Init-SFT's judge score less a rival's, as a share of the random-to-oracle gap.
"""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, FiniteFloat, ValidationError, model_validator
from scipy import stats

from afd_study.errors import DataError
from afd_study.evaluation.statistics import require_columns
from afd_study.settings import Settings

Array = NDArray[np.float64]
DIAGNOSTICS: Mapping[str, str] = MappingProxyType(
    {
        "auc_init_sft": "held-out AUC of Init-SFT at its own sources",
        "auc_init_sft_without_length": "the same among pairs alike in length",
        "auc_init_demo": "held-out AUC of Init-Demo at its own sources",
        "auc_init_demo_without_length": "the same among pairs alike in length",
        "auc_sft_demo": "held-out AUC of SFT-Demo at its own sources",
        "auc_sft_demo_without_length": "the same among pairs alike in length",
        "disagreement_init_sft": "1 less the rank correlation, within prompts, of two replicates' rewards",
        "disagreement_init_demo": "the same of Init-Demo",
        "likelihood_correlation": "rank correlation, within prompts, of Init-SFT's reward and log pi_SFT",
        "length_correlation": "rank correlation, within prompts, of Init-SFT's reward and length",
        "share_that_stops": "share of pi_init's samples that end by themselves",
    }
)
"""Column -> what it is; each is measured without a judge, for one policy and one set of demonstrations."""
RIVALS = ("init_demo", "random", "longest", "likelihood")
"""Whom Init-SFT is compared with; `random` is a plain draw from pi_SFT: SFT alone."""
METHOD = "init_sft"


class Range(Settings):
    """The least and the largest value of one diagnostic in the cells that a law was fitted on."""

    low: FiniteFloat
    high: FiniteFloat


class Law(Settings):
    """A fitted law; arrays stand in the order of `diagnostics`.

    The lead over a rival is its intercept (the fitted cells' mean lead) plus coefficients times diagnostics
    less `centre` over `scale`. `errors` are root mean squares of the predicted lead in worlds that were left
    out of the fit. A cell is inside where each diagnostic lies in its range, widened on both sides by `slack`
    times its width, and where all together are no farther than `radius` (times 1 + slack) from the centre by
    Mahalanobis's distance, with the matrix `precision`: alone each may be usual, and together they are not.
    """

    diagnostics: tuple[str, ...] = Field(min_length=1)
    centre: tuple[FiniteFloat, ...]
    scale: tuple[FiniteFloat, ...]
    intercepts: dict[str, FiniteFloat]
    coefficients: dict[str, tuple[FiniteFloat, ...]]
    penalty: FiniteFloat
    errors: dict[str, FiniteFloat]
    ranges: dict[str, Range]
    precision: tuple[tuple[FiniteFloat, ...], ...]
    radius: FiniteFloat
    slack: FiniteFloat = Field(ge=0)
    n_worlds: int
    n_cells: int

    @model_validator(mode="after")
    def _fits_together(self) -> "Law":
        size = len(self.diagnostics)
        rows = [self.centre, self.scale, *self.coefficients.values(), *self.precision, self.precision]
        if any(len(row) != size for row in rows) or set(self.ranges) != set(self.diagnostics):
            raise ValueError(f"a law of {size} diagnostics needs {size} of each of its numbers, and ranges")
        if not set(self.intercepts) == set(self.coefficients) == set(self.errors):
            raise ValueError("a law needs intercept, coefficients and error of the same rivals")
        return self

    def lead(self, cells: pd.DataFrame) -> dict[str, Array]:
        """Return the lead over each rival, (N,), without asking whether the cells are inside."""
        z = self._standardised(cells)
        return {rival: self.intercepts[rival] + z @ np.array(row) for rival, row in self.coefficients.items()}

    def _standardised(self, cells: pd.DataFrame) -> Array:
        require_columns(cells, self.diagnostics)
        values = cells[list(self.diagnostics)].to_numpy(dtype=float)
        return (values - np.array(self.centre)) / np.array(self.scale)

    def outside(self, cells: pd.DataFrame) -> list[str]:
        """Say of each cell why there is no prediction; "" where there is one."""
        z = self._standardised(cells)
        distance = np.sqrt(np.einsum("ni,ij,nj->n", z, np.array(self.precision), z))
        reasons = []
        for far, (_, cell) in zip(distance, cells.iterrows(), strict=True):
            faults = [fault for name in self.diagnostics if (fault := self._fault(name, float(cell[name])))]
            if not faults and far > self.radius * (1 + self.slack):
                faults = [f"the diagnostics lie {far:.1f} from the centre, more than {self.radius:.1f}"]
            reasons.append("; ".join(faults))
        return reasons

    def _fault(self, name: str, value: float) -> str:
        low, high = self.ranges[name].low, self.ranges[name].high
        room = self.slack * (high - low)
        if np.isnan(value):
            return f"{name} is undefined"
        if low - room <= value <= high + room:
            return ""
        return f"{name} = {value:.3g} is outside of {low:.3g} to {high:.3g}"

    def predict(self, cells: pd.DataFrame) -> pd.DataFrame:
        """Return what the law says of each cell (index as in `cells`).

        Columns: no_prediction (the reason, or ""), predicted_RIVAL (share of the gap), chance_RIVAL (that
        Init-SFT beats it: a normal error with the law's), usual_RIVAL (the lead of the fitted cells, which
        knows no diagnostic), and choice: Init-SFT, or the rival that it trails most. NaN, and "" for the
        choice, where there is no prediction. Raises DataError for missing columns.
        """
        reasons = pd.Series(self.outside(cells), index=cells.index, dtype=str)
        inside = (reasons == "").to_numpy()
        leads = {rival: np.where(inside, lead, np.nan) for rival, lead in self.lead(cells).items()}
        table = pd.DataFrame({"no_prediction": reasons}, index=cells.index)
        for rival, lead in leads.items():
            error = max(self.errors[rival], np.finfo(float).tiny)
            table[f"predicted_{rival}"] = lead
            table[f"chance_{rival}"] = stats.norm.cdf(lead / error)
            table[f"usual_{rival}"] = self.intercepts[rival]
        return table.assign(choice=np.where(inside, best_choice(leads), ""))


def read_law(text: str, *, place: str = "the law of when") -> Law:
    """Read a law from JSON, as `model_dump_json` writes it; `place` names the file in an error.

    Raises DataError for what is no law: not JSON, a field that is missing or unknown, numbers that do not fit
    together.
    """
    try:
        return Law.model_validate_json(text)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"])) or "the record"
        raise DataError(f"{place} is no law: {where}: {fault['msg']}; write it again from its fit") from error


def best_choice(leads: Mapping[str, Array]) -> NDArray[np.str_]:
    """Return, from Init-SFT's leads over its rivals, whom to pick by: (N,), Init-SFT at a tie."""
    names = np.array([METHOD, *leads])
    trails = np.vstack([np.zeros_like(next(iter(leads.values()))), *(-lead for lead in leads.values())])
    return names[np.argmax(np.nan_to_num(trails, nan=-np.inf), axis=0)]


class RuleInWords(Settings):
    """One rule that a reader can remember; its thresholds are set beforehand and fitted to nothing."""

    learned: FiniteFloat = 0.6
    told_apart: FiniteFloat = 0.98

    @property
    def words(self) -> str:
        """The rule as a sentence."""
        return (
            f"Where Init-SFT tells its sources apart with an AUC under {self.learned:g} among pairs alike in "
            "length, it has learned nothing that ranks: take a plain draw of pi_SFT. Else, where Init-Demo's "
            f"AUC is above {self.told_apart:g}, demonstrations have what no sample has: pick by Init-SFT. "
            "Else pick by Init-Demo."
        )

    def choose(self, cells: pd.DataFrame) -> NDArray[np.str_]:
        """Return whom to pick by in each cell, (N,): random, init_sft or init_demo."""
        require_columns(cells, ("auc_init_sft_without_length", "auc_init_demo"))
        learned = (cells["auc_init_sft_without_length"] >= self.learned).to_numpy()
        apart = (cells["auc_init_demo"] > self.told_apart).to_numpy()
        return np.where(~learned, "random", np.where(apart, METHOD, "init_demo"))
