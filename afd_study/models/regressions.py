"""Logistic regressions on features that stay as they are: of texts of two sources, or of compared pairs.

Both minimise the summed log loss (nats) + l2 / 2 |weights|^2, by scikit-learn. A regression of this kind has
one optimum, so that it needs no seed.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from afd_study.errors import DataError, SpecError

Array: TypeAlias = NDArray[np.float64]
Rows: TypeAlias = Array | sparse.csr_array

TOLERANCE, MAX_ITER = 1e-6, 2000


def discriminator(rows: Rows, is_high: NDArray[np.bool_], *, l2: float) -> tuple[Array, float]:
    """Return weights (F,) and intercept of the logit of `is_high` (n,) on rows (n, F).

    Raises SpecError for an l2 that is not positive.
    """
    return _fitted(rows, is_high, l2, intercept=True)


def bradley_terry(gaps: Rows, *, l2: float) -> Array:
    """Return weights (F,) of the score by which the preferred answer of each pair wins.

    `gaps` (n, F) are the preferred answers' features less the rejected ones'. There is no intercept: the
    order of a pair does not matter. Raises SpecError for an l2 that is not positive, DataError without pairs.
    """
    n = gaps.shape[0]
    if not n:
        raise DataError("there is no pair to fit a judge to")
    # every second pair stands the other way round: a regression needs both classes
    sign = np.where(np.arange(n) % 2 == 0, 1.0, -1.0)
    turned = (
        gaps * sign[:, None]
        if isinstance(gaps, np.ndarray)
        else sparse.csr_array(gaps.multiply(sign[:, None]))
    )
    return _fitted(turned, sign > 0, l2, intercept=False)[0]


def _fitted(rows: Rows, labels: NDArray[np.bool_], l2: float, *, intercept: bool) -> tuple[Array, float]:
    if not l2 > 0:
        raise SpecError(f"l2 must be positive, got {l2}; without it separable texts have no finite optimum")
    from sklearn.linear_model import LogisticRegression  # takes a second, and few commands need it

    model = LogisticRegression(C=1 / l2, fit_intercept=intercept, tol=TOLERANCE, max_iter=MAX_ITER)
    model.fit(rows, labels)
    return model.coef_[0].astype(np.float64), float(np.atleast_1d(model.intercept_)[0])
