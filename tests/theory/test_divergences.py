"""Values of every divergence: closed forms, zeros, families, the laws of f-divergences, and bad input."""

import math

import pytest
import torch
from divergence_cases import PAIRS, every, laws
from hypothesis import given, settings, strategies as st

from afd_study.errors import SpecError
from afd_study.theory.divergences import (
    DIVERGENCES,
    alpha_divergence,
    divergence,
    find,
    generalized_jensen_shannon,
    variational_bound,
)


def kl(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


def mix(w, p, q):
    return [w * a + (1 - w) * b for a, b in zip(p, q, strict=True)]


# what each divergence is, written out without generators: of lists demo and policy
CLOSED = {
    "forward_kl": lambda p, q: kl(p, q),
    "reverse_kl": lambda p, q: kl(q, p),
    "jensen_shannon": lambda p, q: (kl(p, mix(0.5, p, q)) + kl(q, mix(0.5, p, q))) / 2,
    "gan": lambda p, q: kl(p, mix(0.5, p, q)) + kl(q, mix(0.5, p, q)) - math.log(4),
    "pearson_chi2": lambda p, q: sum((a - b) ** 2 / b for a, b in zip(p, q, strict=True)),
    "neyman_chi2": lambda p, q: sum((a - b) ** 2 / a for a, b in zip(p, q, strict=True)),
    "squared_hellinger": lambda p, q: 1 - sum(math.sqrt(a * b) for a, b in zip(p, q, strict=True)),
    "total_variation": lambda p, q: sum(abs(a - b) for a, b in zip(p, q, strict=True)) / 2,
}


def test_the_table_holds_the_named_divergences():
    assert list(DIVERGENCES) == list(CLOSED)


@pytest.mark.parametrize("name", CLOSED)
@pytest.mark.parametrize(("p", "q"), PAIRS)
def test_closed_forms_in_both_directions(name, p, q):
    assert divergence(name, demo=p, policy=q).item() == pytest.approx(CLOSED[name](p, q), abs=1e-12)
    assert divergence(name, demo=q, policy=p).item() == pytest.approx(CLOSED[name](q, p), abs=1e-12)


def test_the_numbers_of_the_first_table_as_fractions_and_logarithms():
    demo, policy = PAIRS[0]
    value = {name: divergence(name, demo=demo, policy=policy).item() for name in DIVERGENCES}
    log = math.log
    assert value["forward_kl"] == pytest.approx(
        0.2 * log(1 / 2) + 0.3 * log(3 / 4) + 0.5 * log(5 / 2), abs=1e-12
    )
    assert value["reverse_kl"] == pytest.approx(0.4 * log(2) + 0.4 * log(4 / 3) + 0.2 * log(2 / 5), abs=1e-12)
    assert value["pearson_chi2"] == pytest.approx(0.04 / 0.4 + 0.01 / 0.4 + 0.09 / 0.2, abs=1e-12)
    assert value["neyman_chi2"] == pytest.approx(0.04 / 0.2 + 0.01 / 0.3 + 0.09 / 0.5, abs=1e-12)
    assert value["total_variation"] == pytest.approx(0.3, abs=1e-12)
    assert value["squared_hellinger"] == pytest.approx(1 - 0.08**0.5 - 0.12**0.5 - 0.1**0.5, abs=1e-12)
    assert value["gan"] == pytest.approx(2 * value["jensen_shannon"] - log(4), abs=1e-12)


@pytest.mark.parametrize(("p", "q"), PAIRS)
def test_the_families_close_on_the_table(p, q):
    value = {name: divergence(name, demo=p, policy=q).item() for name in DIVERGENCES}
    members = {1: 1, 0: 1, 2: 0.5, -1: 0.5, 0.5: 4}
    names = {1: "forward_kl", 0: "reverse_kl", 2: "pearson_chi2", -1: "neyman_chi2", 0.5: "squared_hellinger"}
    for a, factor in members.items():
        alpha = divergence(alpha_divergence(a), demo=p, policy=q).item()
        assert alpha == pytest.approx(factor * value[names[a]], abs=1e-12)
    for w in (0.2, 0.5, 0.9):
        middle = mix(w, p, q)
        by_hand = w * kl(p, middle) + (1 - w) * kl(q, middle)
        skewed = divergence(generalized_jensen_shannon(w), demo=p, policy=q).item()
        assert skewed == pytest.approx(by_hand, abs=1e-12)


@pytest.mark.parametrize(("p", "q"), PAIRS)
def test_the_families_tend_to_both_kls(p, q):
    near = {"forward_kl": (1 - 1e-7, 1 + 1e-7, 1e-7), "reverse_kl": (1e-7, -1e-7, 1 - 1e-7)}
    for name, (below, above, w) in near.items():
        limit = divergence(name, demo=p, policy=q).item()
        for a in (below, above):
            assert divergence(alpha_divergence(a), demo=p, policy=q).item() == pytest.approx(limit, abs=1e-5)
        skewed = divergence(generalized_jensen_shannon(w), demo=p, policy=q).item() / (w * (1 - w))
        assert skewed == pytest.approx(limit, abs=1e-5)
    for a in (1e-12, 1 - 1e-12):
        assert divergence(alpha_divergence(a), demo=p, policy=p).item() == pytest.approx(0, abs=1e-15)


# demo (.5, .5, 0, 0), policy (.5, 0, .5, 0): one outcome shared, one each alone, one of neither
ZEROS = {
    "forward_kl": math.inf,
    "reverse_kl": math.inf,
    "jensen_shannon": math.log(2) / 2,
    "gan": -math.log(2),
    "pearson_chi2": math.inf,
    "neyman_chi2": math.inf,
    "squared_hellinger": 0.5,
    "total_variation": 0.5,
}


@pytest.mark.parametrize("name", ZEROS)
def test_where_both_laws_have_zeros(name):
    value = divergence(name, demo=[0.5, 0.5, 0, 0], policy=[0.5, 0, 0.5, 0])
    assert value.item() == pytest.approx(ZEROS[name], abs=1e-15)


@pytest.mark.parametrize("name", ZEROS)
def test_where_one_law_has_a_zero(name):
    full, half = [0.25, 0.75], [0.0, 1.0]
    log = math.log
    with_demo_half = {
        "forward_kl": log(4 / 3),
        "reverse_kl": math.inf,
        "jensen_shannon": (log(8 / 7) + 0.25 * log(2) + 0.75 * log(6 / 7)) / 2,
        "pearson_chi2": 0.25 + 1 / 12,
        "neyman_chi2": math.inf,
        "squared_hellinger": 1 - 0.75**0.5,
        "total_variation": 0.25,
    }
    with_demo_half["gan"] = 2 * with_demo_half["jensen_shannon"] - log(4)
    swapped = {"forward_kl": "reverse_kl", "reverse_kl": "forward_kl"}
    swapped |= {"pearson_chi2": "neyman_chi2", "neyman_chi2": "pearson_chi2"}
    there = divergence(name, demo=half, policy=full).item()
    back = divergence(swapped.get(name, name), demo=full, policy=half).item()
    assert there == pytest.approx(with_demo_half[name], abs=1e-12)
    assert back == pytest.approx(with_demo_half[name], abs=1e-12)


def test_the_families_at_zeros():
    demo, policy = [0.0, 1.0], [0.25, 0.75]
    # (sum p^a q^(1 - a) - 1) / (a (a - 1))
    for a in (0.3, 0.5, 0.8, 1.7):
        exact = (0.75 ** (1 - a) - 1) / (a * (a - 1))
        assert divergence(alpha_divergence(a), demo=demo, policy=policy).item() == pytest.approx(
            exact, abs=1e-12
        )
    for a in (0, -1.5):
        assert divergence(alpha_divergence(a), demo=demo, policy=policy).item() == math.inf
    for w in (0.1, 0.85):
        middle = mix(w, demo, policy)
        exact = w * kl(demo, middle) + (1 - w) * kl(policy, middle)
        value = divergence(generalized_jensen_shannon(w), demo=demo, policy=policy).item()
        assert value == pytest.approx(exact, abs=1e-12)


def test_ratios_that_overflow_keep_their_divergence():
    tiny = 1e-310
    value = divergence("forward_kl", demo=[0.5, 0.5], policy=[tiny, 1.0]).item()
    assert value == pytest.approx(0.5 * (math.log(0.5) - math.log(tiny)) + 0.5 * math.log(0.5), rel=1e-12)
    assert divergence("jensen_shannon", demo=[1.0, 0.0], policy=[tiny, 1.0]).item() == pytest.approx(
        math.log(2)
    )


@every
def test_gradients_at_zeros_are_never_nan(record):
    demo = torch.tensor([0.5, 0.3, 0.2, 0.0, 0.0], dtype=torch.float64)
    policy = torch.tensor([0.1, 0.6, 0.0, 0.3, 0.0], dtype=torch.float64, requires_grad=True)
    value = divergence(record, demo=demo, policy=policy)
    value.backward()
    assert not torch.isnan(value)
    assert not torch.isnan(policy.grad).any()
    # where policy gives mass that demo doesn't, the slope is f(0)
    assert policy.grad[3].item() == pytest.approx(record.generator(torch.zeros(1).double()).item())


@every
def test_rows_are_independent_and_leading_axes_broadcast(record):
    demo = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    policies = torch.tensor([[0.4, 0.4, 0.2], [0.1, 0.1, 0.8]], dtype=torch.float64)
    together = divergence(record, demo=demo, policy=policies)
    alone = [divergence(record, demo=demo, policy=policy) for policy in policies]
    assert together.shape == (2,)
    assert torch.allclose(together, torch.stack(alone), atol=1e-15, rtol=0)


# -- laws of f-divergences, by hypothesis --


def floor_of(record):
    return -math.log(4) if record is DIVERGENCES["gan"] else 0.0


@every
@given(laws(4), laws(4))
@settings(max_examples=25, deadline=None)
def test_never_below_its_value_at_equality(record, demo, policy):
    assert divergence(record, demo=demo, policy=policy) >= floor_of(record) - 1e-12
    same = divergence(record, demo=demo, policy=demo).item()
    assert same == pytest.approx(floor_of(record), abs=1e-12)


@every
@given(laws(3), laws(3), laws(3), laws(3), st.floats(0.001, 0.999))
@settings(max_examples=25, deadline=None)
def test_joint_convexity(record, demo_a, demo_b, policy_a, policy_b, w):
    mixed = divergence(
        record, demo=w * demo_a + (1 - w) * demo_b, policy=w * policy_a + (1 - w) * policy_b
    ).item()
    apart = [
        share * divergence(record, demo=demo, policy=policy).item()
        for share, demo, policy in ((w, demo_a, policy_a), (1 - w, demo_b, policy_b))
    ]
    assert mixed <= sum(apart) * (1 + 1e-9) + 1e-10 or mixed == pytest.approx(sum(apart), rel=1e-9)


@every
@given(laws(4), laws(4), st.lists(laws(3), min_size=4, max_size=4))
@settings(max_examples=25, deadline=None)
def test_data_processing(record, demo, policy, channel):
    """Passing both laws through the same channel cannot tell them apart better."""
    channel = torch.stack(channel)
    through = divergence(record, demo=demo @ channel, policy=policy @ channel).item()
    before = divergence(record, demo=demo, policy=policy).item()
    assert through <= before * (1 + 1e-9) + 1e-10 or through == pytest.approx(before, rel=1e-9)


# -- bad input --


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"demo": [0.5, 0.6]}, "demo sums to 1 only within 0.1 .* divide"),
        ({"policy": [0.5, 0.6]}, "policy sums to 1 only within"),
        ({"demo": [-0.5, 1.5]}, "demo holds a negative probability"),
        ({"policy": [float("nan"), 1.0]}, "policy holds NaN"),
        ({"policy": [float("inf"), 1.0]}, "policy holds an infinite"),
        ({"policy": [0.2, 0.3, 0.5]}, "outcomes differ: demo .2,., policy .3,."),
        ({"demo": 1.0}, "demo has shape"),
        ({"demo": []}, "demo has shape"),
        ({"demo": "ab"}, "demo cannot be read as numbers"),
    ],
)
def test_bad_laws_are_refused_by_name(arguments, says):
    with pytest.raises(SpecError, match=says):
        divergence("forward_kl", **({"demo": [0.5, 0.5], "policy": [0.2, 0.8]} | arguments))


def test_unknown_divergences_name_the_nearest():
    with pytest.raises(SpecError, match="did you mean 'reverse_kl'"):
        divergence("revers_kl", demo=[1.0], policy=[1.0])
    with pytest.raises(SpecError, match="is a family"):
        find("alpha_divergence")
    with pytest.raises(ValueError, match="unknown divergence"):
        variational_bound("hinge", critic_on_demo=[0.0], critic_on_policy=[0.0])


def test_bad_parameters_of_families():
    for w in (0, 1, -0.1, math.nan):
        with pytest.raises(SpecError, match="w = .* inside"):
            generalized_jensen_shannon(w)
    with pytest.raises(SpecError, match="a = nan"):
        alpha_divergence(math.nan)
