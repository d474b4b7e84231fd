"""Covering and seeking: exact fits of small families, checked where the answer is known."""

import pytest
import torch

from afd_study.errors import SpecError
from afd_study.theory import fits
from afd_study.theory.divergences import DIVERGENCES, alpha_divergence, divergence
from afd_study.theory.token_mdp import TokenMDP

GRID = torch.linspace(-6, 6, 121, dtype=torch.float64)


def mixture():
    return fits.mixture(grid=GRID, means=[-2.0, 2.5], deviations=[0.6, 0.8], weights=[0.6, 0.4])


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_forward_kl_matches_the_moments():
    """For an exponential family the best forward KL has the demonstrator's mean and variance."""
    demo = mixture()
    fitted = fits.fit("forward_kl", demo=demo, family=fits.gaussian(grid=GRID), generator=seeded())
    for power in (1, 2):
        assert (fitted.law @ GRID**power).item() == pytest.approx((demo @ GRID**power).item(), abs=1e-5)


def test_forward_kl_covers_and_reverse_kl_seeks_the_heavier_mode():
    demo, family = mixture(), fits.gaussian(grid=GRID)
    covering = fits.fit("forward_kl", demo=demo, family=family, generator=seeded())
    seeking = fits.fit("reverse_kl", demo=demo, family=family, generator=seeded())
    mean, deviation = fits.mean_and_deviation(seeking, grid=GRID)
    assert mean == pytest.approx(-2.0, abs=0.05)
    assert deviation == pytest.approx(0.6, abs=0.05)
    assert fits.mean_and_deviation(covering, grid=GRID)[1] > 2
    assert (
        fits.coverage(demo=demo, policy=covering.law)
        > 0.99
        > 0.65
        > fits.coverage(demo=demo, policy=seeking.law)
    )
    assert (
        fits.precision(demo=demo, policy=seeking.law)
        > 0.9
        > 0.6
        > fits.precision(demo=demo, policy=covering.law)
    )
    # the reverse KL has a local optimum on each mode: starts end in different ones
    assert max(seeking.values) - min(seeking.values) > 0.1
    assert seeking.value == min(seeking.values)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_every_fit_beats_its_neighbours(name):
    demo, family = mixture(), fits.gaussian(grid=GRID)
    fitted = fits.fit(name, demo=demo, family=family, generator=seeded(), starts=3)
    reached = divergence(name, demo=demo, policy=fitted.law).item()
    assert reached == pytest.approx(fitted.value, abs=1e-12)
    for step in torch.eye(2, dtype=torch.float64):
        for sign in (-1, 1):
            beside = family.law(fitted.parameters + 0.02 * sign * step)
            assert divergence(name, demo=demo, policy=beside).item() > reached


@pytest.mark.parametrize("name", ["forward_kl", "reverse_kl", "jensen_shannon"])
def test_a_family_without_limits_reaches_the_demonstrator(name):
    world = TokenMDP(3, 3)
    demo = fits.two_kinds(world=world)
    fitted = fits.fit(name, demo=demo, family=fits.tabular(world=world), generator=seeded(), starts=1)
    assert fitted.value == pytest.approx(0, abs=1e-8)


def test_a_unigram_mixes_both_kinds_or_gives_one_up():
    world = TokenMDP(4, 3)
    demo, family = fits.two_kinds(world=world), fits.unigram(world=world)
    covering = fits.fit("forward_kl", demo=demo, family=family, generator=seeded())
    seeking = fits.fit("reverse_kl", demo=demo, family=family, generator=seeded())
    rule = seeking.parameters.softmax(-1)
    assert rule[0] > 20 * rule[1]
    rule = covering.parameters.softmax(-1)
    assert rule[0] < 3 * rule[1]
    precise = [fits.precision(demo=demo, policy=fitted.law) for fitted in (seeking, covering)]
    assert precise[0] > precise[1] + 0.2
    assert fits.coverage(demo=demo, policy=covering.law) > fits.coverage(demo=demo, policy=seeking.law) + 0.1


def test_more_rank_fits_better():
    world = TokenMDP(4, 2)
    demo = world.response_law(world.random_policy(generator=seeded(3), scale=1.5))
    reached = [
        fits.fit(
            "forward_kl",
            demo=demo,
            family=fits.low_rank(world=world, rank=rank),
            generator=seeded(),
            starts=3,
        ).value
        for rank in (1, 2, 4)
    ]
    assert reached[0] > reached[1] + 0.01 > reached[2] + 0.02
    assert reached[2] == pytest.approx(0, abs=1e-7)


def test_two_kinds_is_the_mixture_described():
    world = TokenMDP(3, 2)
    demo = fits.two_kinds(world=world, weight=0.7, stay=0.8, stray=0.03)
    own, end, other = 0.97 * 0.8 + 0.01, 0.97 * 0.2 + 0.01, 0.01
    # EOS, 0 EOS, 1 EOS, 00, 01, 10, 11
    first = [end, own * end, other * end, own * own, own * other, other * own, other * other]
    second = [end, other * end, own * end, other * other, other * own, own * other, own * own]
    by_hand = [0.7 * a + 0.3 * b for a, b in zip(first, second, strict=True)]
    assert demo.tolist() == pytest.approx(by_hand, abs=1e-12)


def test_fits_repeat_with_their_seed_and_accept_a_further_start():
    demo, family = mixture(), fits.gaussian(grid=GRID)
    record = alpha_divergence(0.3)
    one, two = (fits.fit(record, demo=demo, family=family, generator=seeded(4), starts=2) for _ in range(2))
    assert one.values == two.values
    warm = fits.fit(record, demo=demo, family=family, generator=seeded(4), starts=2, near=one.parameters)
    assert len(warm.values) == 3
    assert warm.value <= one.value + 1e-12


def test_coverage_precision_and_the_highest_probability_set_by_hand():
    demo, policy = [0.5, 0.3, 0.15, 0.05], [0.9, 0.02, 0.08, 0.0]
    assert fits.coverage(demo=demo, policy=policy).item() == pytest.approx(0.5 + 0.15, abs=1e-12)
    assert fits.coverage(demo=demo, policy=policy, factor=20).item() == pytest.approx(0.95, abs=1e-12)
    assert fits.highest_probability_set(law=demo, mass=0.8).tolist() == [True, True, False, False]
    assert fits.highest_probability_set(law=demo, mass=0.81).tolist() == [True, True, True, False]
    assert fits.highest_probability_set(law=demo, mass=1).tolist() == [True] * 4
    other = [0.2, 0.3, 0.1, 0.4]
    assert fits.precision(demo=demo, policy=other, mass=0.8).item() == pytest.approx(0.5, abs=1e-12)
    assert fits.precision(demo=demo, policy=[other, demo]).tolist() == pytest.approx([0.6, 0.95], abs=1e-12)


def test_who_always_gives_the_likeliest_outcome_is_precise_and_covers_little():
    demo = mixture()
    mode = torch.zeros_like(demo)
    mode[demo.argmax()] = 1.0
    assert fits.precision(demo=demo, policy=mode).item() == 1
    assert fits.precision(demo=demo, policy=demo).item() == pytest.approx(0.9, abs=0.02)
    assert fits.coverage(demo=demo, policy=demo).item() == pytest.approx(1)
    assert fits.coverage(demo=demo, policy=mode).item() < 0.1


def test_smoothing_adds_made_up_observations_evenly():
    law = fits.smoothed(counts=[3.0, 0.0, 1.0, 0.0], pseudo=2)
    assert law.tolist() == pytest.approx([3.5 / 6, 0.5 / 6, 1.5 / 6, 0.5 / 6], abs=1e-12)
    nothing_seen = fits.smoothed(counts=[[0.0, 0.0], [9.0, 0.0]])
    assert nothing_seen.tolist() == [[0.5, 0.5], pytest.approx([0.95, 0.05])]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: fits.gaussian(grid=[0.0, 1.0]), "at least 3 points"),
        (lambda: fits.gaussian(grid=[0.0, 1.0, 3.0]), "even steps"),
        (lambda: fits.gaussian(grid=[2.0, 1.0, 0.0]), "even steps"),
        (lambda: fits.low_rank(world=TokenMDP(3, 2), rank=4), "rank = 4 is above 3: full rank"),
        (lambda: fits.two_kinds(world=TokenMDP(2, 2)), "vocab_size = 2"),
        (lambda: fits.two_kinds(world=TokenMDP(3, 2), stray=0), "stray = 0 must lie inside"),
        (lambda: fits.highest_probability_set(law=[1.0], mass=0), "mass = 0"),
        (lambda: fits.smoothed(counts=[1.0, -1.0]), "counts must hold"),
        (lambda: fits.smoothed(counts=[1.0], pseudo=0), "pseudo = 0"),
        (
            lambda: fits.mixture(grid=GRID, means=[0.0], deviations=[0.0], weights=[1.0]),
            "smallest of deviations = 0",
        ),
        (
            lambda: fits.mixture(grid=GRID, means=[0.0, 1.0], deviations=[1.0], weights=[1.0]),
            "shapes differ: means",
        ),
        (
            lambda: fits.fit("kl", demo=[1.0], family=fits.gaussian(grid=GRID), generator=seeded()),
            "unknown divergence",
        ),
        (
            lambda: fits.fit("gan", demo=[1.0], family=fits.gaussian(grid=GRID), generator=seeded()),
            "outcomes differ",
        ),
        (
            lambda: fits.fit(
                "reverse_kl",
                demo=torch.eye(121)[0],
                family=fits.gaussian(grid=GRID),
                generator=seeded(),
                starts=1,
            ),
            "infinite divergence at every start",
        ),
    ],
)
def test_bad_input_names_the_argument(call, says):
    with pytest.raises(SpecError, match=says):
        call()
