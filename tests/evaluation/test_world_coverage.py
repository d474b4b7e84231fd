"""Do intervals over worlds keep their word? Simulated with a fixed seed; bounds are three binomial errors."""

from itertools import product

import numpy as np
import pytest

from afd_study.evaluation.world_effects import WorldEffect, mean_over_worlds

SETS = 250  # of worlds, in each setting
EFFECT, SEED, REPLICATE, K = 0.2, 0.05, 0.1, 4
PROPERTIES = np.array(list(product((-1, 1), repeat=3)))


def design(worlds):
    return np.column_stack([np.ones(worlds), np.tile(PROPERTIES, (worlds // 8, 1))])


def simulated(
    worlds, tau, seeds, *, strata=(0.1, -0.05, 0.08), interaction=0.0, own_variance=False, number=0
):
    """Yield the estimate from each set of worlds, the effect of a new world, and that effect as measured.

    `seeds` (W,) or a number. The within-world variance is pooled over worlds, as in world_rows, here by array
    formulas of its own; with `own_variance` each world keeps its own.
    """
    rng, X = np.random.default_rng(number), design(worlds)
    seeds = np.broadcast_to(seeds, worlds)
    fixed = X[:, 1:] @ strata + interaction * X[:, 1] * X[:, 2]
    for _ in range(SETS):
        true = EFFECT + fixed + tau * rng.standard_normal(worlds)
        noise = SEED * rng.standard_normal((worlds, 2))
        replicates = true[:, None, None] + noise[..., None] + REPLICATE * rng.standard_normal((worlds, 2, K))
        by_seed = replicates.mean(axis=2)
        means = np.where(seeds == 2, by_seed.mean(axis=1), by_seed[:, 0])
        own = by_seed.var(axis=1, ddof=1)
        pooled = (
            own[seeds == 2].mean() if (seeds == 2).any() else replicates[:, 0].var(axis=1, ddof=1).mean() / K
        )
        variances = own / 2 if own_variance else pooled / seeds
        new = EFFECT + rng.choice(fixed) + tau * rng.standard_normal()
        measured = new + rng.choice(means - true)
        yield mean_over_worlds(means, variances, X), new, measured


def covers(sets, value, low="low", high="high"):
    """Return the share of sets whose interval holds a value, which may differ from set to set."""
    return float(np.mean([getattr(each[0], low) < value(each) < getattr(each[0], high) for each in sets]))


def error(n):
    return 3 * np.sqrt(0.95 * 0.05 / n)


TAUS = (0.0, 0.05, 0.15)


@pytest.mark.parametrize("worlds", [24, 8])
def test_t_over_worlds_covers_the_effect(worlds):
    shares = {}
    for tau, seeds in product(TAUS, (1, 2)):
        sets = list(simulated(worlds, tau, seeds, number=int(100 * tau) + seeds))
        assert all(each[0].estimator == "t over worlds" and each[0].df == worlds - 4 for each in sets)
        shares[tau, seeds] = covers(sets, lambda each: EFFECT)
        assert covers(sets, lambda each: each[2], "prediction_low", "prediction_high") > 0.95 - error(SETS)
        assert covers(sets, lambda each: each[1], "prediction_low", "prediction_high") > 0.95 - error(SETS)
    assert all(abs(share - 0.95) < error(SETS) for share in shares.values()), shares
    assert abs(np.mean(list(shares.values())) - 0.95) < error(SETS * len(shares))


@pytest.mark.parametrize("worlds", [24, 8])
def test_hartung_knapp_covers_the_effect_where_half_of_the_worlds_have_one_seed(worlds):
    seeds = np.tile([1, 2, 2, 1], worlds // 4)
    shares = {}
    for tau in TAUS:
        sets = list(simulated(worlds, tau, seeds, number=int(100 * tau)))
        assert all(each[0].estimator == "Hartung-Knapp" for each in sets)
        shares[tau] = covers(sets, lambda each: EFFECT)
        assert covers(sets, lambda each: each[1], "prediction_low", "prediction_high") > 0.95 - error(SETS)
    assert all(abs(share - 0.95) < error(SETS) for share in shares.values()), shares


def test_the_variance_of_two_seeds_alone_is_no_weight():
    """Why the within-world variance is pooled: two seeds tell too little of a world's own."""
    own = covers(list(simulated(24, 0.0, 2, own_variance=True)), lambda each: EFFECT)
    assert own < 0.95 - error(SETS)


def test_properties_that_interact_make_the_interval_wider_and_never_false():
    sets = list(simulated(24, 0.05, 1, interaction=0.1))
    assert covers(sets, lambda each: EFFECT) > 0.95 - error(SETS)


def test_a_prediction_without_strata_is_students_and_keeps_its_word_exactly():
    sets = list(simulated(24, 0.05, 2, strata=(0.0, 0.0, 0.0)))
    assert abs(covers(sets, lambda each: each[2], "prediction_low", "prediction_high") - 0.95) < error(SETS)


def test_an_interval_from_tau_alone_would_not_hold_a_new_world():
    """Why the prediction is not Higgins, Thompson and Spiegelhalter's: tau is often estimated as 0."""
    sets = list(simulated(24, 0.05, 2, strata=(0.0, 0.0, 0.0)))
    halves = [2.09 * np.hypot(each[0].tau, each[0].error) for each in sets]  # t at 19 degrees of freedom
    inside = [abs(new - each.effect) < half for (each, new, _), half in zip(sets, halves, strict=True)]
    assert isinstance(sets[0][0], WorldEffect) and np.mean(inside) < 0.95 - error(SETS)
