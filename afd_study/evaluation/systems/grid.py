"""Prompts by systems: verdicts, answers and lengths as matrices, and what is left without both means."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from afd_study.errors import DataError, unknown_name
from afd_study.evaluation.text_features import LENGTHS


@dataclass(frozen=True)
class Grid:
    """P prompts by S systems.

    `verdicts` (P, S) is the judge's preference in [0, 1], NaN where there is none. `rows` (P, S) is the
    number of each answer among the M texts that a reader's features are of, -1 where there is none. `lengths`
    (P, S) is log(1 + words), NaN where there is no answer.
    """

    prompts: NDArray[np.str_]
    systems: tuple[str, ...]
    verdicts: NDArray[np.float64]
    rows: NDArray[np.int64]
    lengths: NDArray[np.float64]

    def of(self, systems: Sequence[str]) -> "Grid":
        """Return the grid of some systems, in their order. Raises SpecError for one that is not there."""
        columns = [self.column(name) for name in systems]
        return replace(
            self,
            systems=tuple(systems),
            verdicts=self.verdicts[:, columns],
            rows=self.rows[:, columns],
            lengths=self.lengths[:, columns],
        )

    def among(self, prompts: ArrayLike) -> "Grid":
        """Return the grid of the prompts whose ids are among `prompts`."""
        mask = np.isin(self.prompts, np.asarray(prompts))
        return replace(
            self,
            prompts=self.prompts[mask],
            verdicts=self.verdicts[mask],
            rows=self.rows[mask],
            lengths=self.lengths[mask],
        )

    def column(self, system: str) -> int:
        """Return the number of a system's column. Raises SpecError for one that is not there."""
        if system not in self.systems:
            raise unknown_name("system", system, self.systems)
        return self.systems.index(system)

    def per_text(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what belongs to each answer (P, S) by the answer's number: (M,), NaN for other texts."""
        flat = np.full(int(self.rows.max()) + 1, np.nan)
        is_there = self.rows >= 0
        flat[self.rows[is_there]] = values[is_there]
        return flat


def grid_of(answers: pd.DataFrame, verdicts: pd.DataFrame) -> Grid:
    """Return the grid of tables with columns prompt_id, system, text and prompt_id, system, value.

    An answer's number is its row. Raises DataError for a system that answers a prompt twice, and without any
    answer.
    """
    if not len(answers) or answers.duplicated(["prompt_id", "system"]).any():
        raise DataError("a grid needs one answer of a system to a prompt, and at least one in all")
    rows = answers.reset_index(drop=True).reset_index(names="row").pivot(
        index="prompt_id", columns="system", values="row"
    )  # fmt: skip
    values = verdicts.pivot(index="prompt_id", columns="system", values="value").reindex_like(rows)
    words = np.array([LENGTHS["words"](text) for text in answers["text"]])
    places = rows.fillna(-1).to_numpy(dtype=np.int64)
    return Grid(
        prompts=rows.index.to_numpy(dtype=str),
        systems=tuple(map(str, rows.columns)),
        verdicts=values.to_numpy(dtype=float),
        rows=places,
        lengths=np.where(places >= 0, words[places], np.nan),
    )


def two_way_residuals(
    values: ArrayLike, *, prompts: ArrayLike | None = None, systems: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Take out the means of prompts and of systems: (..., P, S) to the same, NaN where `values` are.

    What is left is the least-squares residual of prompt + system, whatever cells are missing. `prompts` (P,)
    and `systems` (S,) say how often each counts; once, if not given.
    """
    rest = np.array(values, dtype=float)
    cells = rest.reshape(-1, *rest.shape[-2:])
    is_there = ~np.isnan(cells)
    cells[~is_there] = 0
    rows = np.ones(rest.shape[-2]) if prompts is None else np.asarray(prompts, dtype=float)
    columns = np.ones(rest.shape[-1]) if systems is None else np.asarray(systems, dtype=float)
    alike = (is_there == is_there[:1]).all()  # then one solution is for all
    for part in [slice(None)] if alike else [slice(i, i + 1) for i in range(len(cells))]:
        mask = is_there[part][0] if len(cells) else np.zeros(rest.shape[-2:], dtype=bool)
        cells[part] = np.where(mask, cells[part] - _effects(cells[part], mask, rows, columns), np.nan)
    return cells.reshape(rest.shape)


def _effects(
    cells: NDArray[np.float64],
    mask: NDArray[np.bool_],
    rows: NDArray[np.float64],
    columns: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the least-squares prompt + system of K matrices (K, P, S), which are 0 outside the mask (P, S).

    Prompts are eliminated from the normal equations, so that one system of S equations is left.
    """
    total = np.maximum(mask @ columns, 1e-300)  # of each prompt's weights
    means = cells @ columns / total
    shares = mask * (rows / total)[:, None]
    equations = np.diag(rows @ mask) - shares.T @ (mask * columns)
    known = np.einsum("p,kps->ks", rows, cells) - (means * rows) @ mask
    of_systems = np.linalg.lstsq(equations, known.T, rcond=None)[0].T
    of_prompts = means - of_systems @ (mask * columns).T / total
    return of_prompts[:, :, None] + of_systems[:, None, :]


def system_means(values: ArrayLike) -> NDArray[np.float64]:
    """Replace each value by its system's mean over all *other* prompts: (P, S) to (P, S).

    So a verdict has no say in a rule that picks for its own prompt. NaN where there is no other.
    """
    numbers = np.asarray(values, dtype=float)
    is_there = ~np.isnan(numbers)
    known = np.where(is_there, numbers, 0)
    count = is_there.sum(axis=0) - is_there
    return np.where(count > 0, (known.sum(axis=0) - known) / np.maximum(count, 1), np.nan)


def without_length(scores: ArrayLike, lengths: ArrayLike) -> NDArray[np.float64]:
    """Take a cubic in log length out of scores: (P, S) and (P, S) to (P, S).

    Its coefficients are fitted where prompts' and systems' means are already out of both, so that no label
    and no difference between systems goes into them.
    """
    values, x = np.asarray(scores, dtype=float), np.asarray(lengths, dtype=float)
    x = np.where(np.isnan(values), np.nan, x)
    centred = x - np.nanmean(x)
    powers = np.stack([centred, centred**2, centred**3])
    apart, rest = two_way_residuals(powers), two_way_residuals(np.where(np.isnan(x), np.nan, values))
    is_there = ~np.isnan(rest)
    weights = np.linalg.lstsq(apart[:, is_there].T, rest[is_there], rcond=None)[0]
    return values - np.tensordot(weights, powers, axes=1)
