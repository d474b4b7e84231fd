"""Power of labelled pairs, against sums over all outcomes."""

import math

import pytest

from afd_study.align.blind_power import (
    LEAST_GAIN,
    SMALL_GAIN,
    findable_win_rate,
    least_win_rate,
    least_wins,
    limits,
    needed_pairs,
    power_of,
)
from afd_study.errors import SpecError
from afd_study.evaluation.statistics import preference_accuracy


def tail(n, k, rate=0.5):
    """Return P(X >= k) of n tosses, term by term."""
    return math.fsum(math.comb(n, j) * rate**j * (1 - rate) ** (n - j) for j in range(k, n + 1))


def enumerated_wins(n, level):
    return next((k for k in range(n + 1) if 2 * tail(n, k) <= 1 - level), n + 1)


@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_least_wins_is_the_first_outcome_that_the_exact_test_rejects(level):
    sizes = range(1, 90)
    assert least_wins(list(sizes), level=level).tolist() == [enumerated_wins(n, level) for n in sizes]


def test_the_exact_interval_leaves_out_one_half_exactly_from_there_on():
    for n in (1, 2, 5, 6, 7, 13, 24, 50):
        wins = int(least_wins(n))
        for k in range(n + 1):
            _, low, high = preference_accuracy(
                preferred=[1] * k + [0] * (n - k), rejected=[0] * k + [1] * (n - k), method="clopper_pearson"
            )
            assert (low > 0.5, high < 0.5) == (k >= wins, n - k >= wins), (n, k)


def test_fifty_pairs_need_thirty_three_wins():
    assert least_win_rate(50) == 33 / 50
    assert 2 * tail(50, 33) <= 0.05 < 2 * tail(50, 32)


@pytest.mark.parametrize("n", [1, 5])
def test_too_few_pairs_settle_nothing(n):
    assert math.isnan(least_win_rate(n)) and math.isnan(findable_win_rate(n))
    assert "can settle nothing" in limits(n)[0] and "must win" not in " ".join(limits(n))


def test_six_pairs_settle_what_always_wins():
    assert least_win_rate(6) == 1


@pytest.mark.parametrize("n", [6, 20, 50, 200])
@pytest.mark.parametrize("power", [0.5, 0.8, 0.95])
def test_the_findable_win_rate_has_the_power(n, power):
    rate = findable_win_rate(n, power=power)
    assert tail(n, enumerated_wins(n, 0.95), rate) == pytest.approx(power, abs=1e-9)


def test_power_is_the_sum_over_winning_outcomes():
    sums = [tail(n, enumerated_wins(n, 0.95), 0.6) for n in (5, 30, 101)]
    assert power_of([5, 30, 101], 0.1) == pytest.approx(sums, abs=1e-12)


@pytest.mark.parametrize(("gain", "level", "power"), [(0.2, 0.95, 0.8), (0.2, 0.9, 0.5), (0.3, 0.99, 0.95)])
def test_needed_pairs_have_the_power_from_there_on(gain, level, power):
    """By enumeration: at this number and every larger one, but not at the number before."""
    n = needed_pairs(gain, level=level, power=power)
    powers = [tail(m, enumerated_wins(m, level), 0.5 + gain) for m in range(n - 1, n + 40)]
    assert powers[0] < power <= min(powers[1:])


@pytest.mark.parametrize("gain", [0.5, 0.4, 0.25, 0.1, 0.05, SMALL_GAIN])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
@pytest.mark.parametrize("power", [0.5, 0.8, 0.99])
def test_needed_pairs_search_around_the_right_size(gain, level, power):
    """The window that is searched holds the last size that is too small; all sizes say the same."""
    weak = [n for n, value in enumerate(power_of(range(1, 9000), gain, level=level), 1) if value < power]
    assert needed_pairs(gain, level=level, power=power) == (weak[-1] + 1 if weak else 1)


def test_a_published_gain_takes_about_sixteen_hundred_pairs():
    normal = (1.959964 / 2 + 0.841621 * math.sqrt(0.25 - 0.035**2)) ** 2 / 0.035**2
    assert needed_pairs(0.035) == pytest.approx(normal, rel=0.04)


def test_the_smallest_gain_has_an_answer():
    n = needed_pairs(LEAST_GAIN)
    assert power_of(n - 1, LEAST_GAIN) < 0.8 <= power_of(n, LEAST_GAIN)


def test_limits_hold_for_the_number_of_pairs():
    text = " ".join(limits(20))
    assert "win 15 of 20 (75 %)" in text and "79.9 %" in text and f"{needed_pairs(0.035):,}" in text
    assert "50" not in " ".join(limits(20)[:2])


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: needed_pairs(0), "gain"),
        (lambda: needed_pairs(-0.1), "gain"),
        (lambda: needed_pairs(0.6), "gain"),
        (lambda: needed_pairs(math.nan), "gain"),
        (lambda: needed_pairs(0.1, power=1), "power"),
        (lambda: needed_pairs(0.1, power=0.1), "power"),
        (lambda: needed_pairs(0.1, level=1), "level"),
        (lambda: least_win_rate(0), "pair"),
        (lambda: findable_win_rate(0), "pair"),
        (lambda: findable_win_rate(9, power=0), "power"),
        (lambda: least_wins(9, level=95), "level"),
    ],
)
def test_arguments_out_of_range_are_refused(call, word):
    with pytest.raises(SpecError, match=word):
        call()
