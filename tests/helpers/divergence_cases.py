"""What the tests of divergences go through: every record, pairs of laws, and laws by hypothesis."""

import math

import pytest
import torch
from hypothesis import strategies as st

from afd_study.theory.divergences import DIVERGENCES, alpha_divergence, generalized_jensen_shannon

RECORDS = (
    DIVERGENCES
    | {f"alpha {a}": alpha_divergence(a) for a in (-1.5, -1, 0, 0.3, 0.5, 0.8, 1, 1.7, 2)}
    | {f"gjs {w}": generalized_jensen_shannon(w) for w in (0.1, 0.5, 0.85)}
)
SMOOTH = {name: record for name, record in RECORDS.items() if name != "total_variation"}
RATIOS = [0.07, 0.4, 0.9, 1.3, 2.5, 11.0]

every = pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
every_smooth = pytest.mark.parametrize("record", SMOOTH.values(), ids=SMOOTH)

PAIRS = [
    ([0.2, 0.3, 0.5], [0.4, 0.4, 0.2]),
    ([0.05, 0.15, 0.8], [0.6, 0.1, 0.3]),
    ([0.01, 0.02, 0.9, 0.07], [0.25, 0.5, 0.05, 0.2]),
]


def laws(size, smallest=0.0):
    """Laws with `size` outcomes, zeros among them where `smallest` is 0."""
    # mixing laws must not underflow to a zero that neither had
    chance = st.floats(smallest, 1.0).map(lambda x: x if x > 1e-100 else 0.0)
    weights = st.lists(chance, min_size=size, max_size=size).filter(lambda w: sum(w) > 0.05)
    return weights.map(lambda w: torch.tensor(w, dtype=torch.float64) / math.fsum(w))
