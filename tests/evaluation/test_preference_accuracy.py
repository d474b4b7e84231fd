import numpy as np
import pytest

from afd_study.errors import DataError, SpecError
from afd_study.evaluation.statistics import preference_accuracy


def test_preference_accuracy_counts_ties_as_half():
    result = preference_accuracy(preferred=[1] * 8 + [0, 0], rejected=[0] * 9 + [1])
    assert result.mean == pytest.approx(0.85)


def test_wilson_and_clopper_pearson_by_known_values():
    preferred, rejected = np.r_[np.ones(81), np.zeros(182)], np.r_[np.zeros(81), np.ones(182)]
    # Newcombe (1998), table I, 81 of 263: Wilson 0.2553 to 0.3662, Clopper-Pearson 0.2527 to 0.3676
    wilson = preference_accuracy(preferred=preferred, rejected=rejected)
    exact = preference_accuracy(preferred=preferred, rejected=rejected, method="clopper_pearson")
    assert wilson[1:] == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert exact[1:] == pytest.approx((0.2527, 0.3676), abs=5e-5)


@pytest.mark.parametrize("method", ["wilson", "clopper_pearson"])
def test_accuracy_at_the_ends_stays_in_the_unit_interval(method):
    sure = preference_accuracy(preferred=[1, 1, 1], rejected=[0, 0, 0], method=method)
    assert sure.mean == sure.high == 1.0 and 0 < sure.low < 1
    none = preference_accuracy(preferred=[0, 0], rejected=[1, 1], method=method)
    assert none.mean == none.low == 0.0 and 0 < none.high < 1


def test_accuracy_of_nothing_is_undefined_and_mistakes_are_named():
    assert np.isnan(preference_accuracy(preferred=[], rejected=[])).all()
    with pytest.raises(SpecError, match="did you mean 'wilson'"):
        preference_accuracy(preferred=[1], rejected=[0], method="wilsn")
    with pytest.raises(DataError, match="NaN"):
        preference_accuracy(preferred=[np.nan], rejected=[0])
