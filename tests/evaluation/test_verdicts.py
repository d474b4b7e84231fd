"""Verdicts by the rule of each kind of comparison."""

import numpy as np
import pytest

from afd_study.errors import SpecError
from afd_study.evaluation.verdicts import verdict


@pytest.mark.parametrize(
    ("low", "high", "kind", "expected"),
    [
        (0.06, 0.2, "better", "supported"),
        (0.05, 0.2, "better", "inconclusive"),
        (-0.2, 0.04, "better", "contradicted"),
        (-0.04, 0.3, "not_worse", "supported"),
        (-0.06, 0.3, "not_worse", "inconclusive"),
        (-0.3, -0.06, "not_worse", "contradicted"),
        (-0.04, 0.04, "equal", "supported"),
        (0.06, 0.2, "equal", "contradicted"),
        (-0.2, -0.06, "equal", "contradicted"),
        (-0.2, 0.01, "equal", "inconclusive"),
        (np.nan, np.nan, "better", "inconclusive"),
    ],
)
def test_the_rule(low, high, kind, expected):
    assert verdict(low=low, high=high, kind=kind, margin=0.05) == expected


def test_an_unknown_kind_is_refused():
    with pytest.raises(SpecError, match="did you mean 'better'"):
        verdict(low=0, high=1, kind="bettr", margin=0.05)
