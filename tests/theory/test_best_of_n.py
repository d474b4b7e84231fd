"""Best-of-N against brute force: all subsets of a pool, all tuples of draws from a law."""

import math
from itertools import combinations, product

import pytest
import torch
from hypothesis import given, settings, strategies as st

from afd_study.errors import SpecError
from afd_study.theory import best_of_n

pools = st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 3)), min_size=1, max_size=7)


def best_over_subsets(values, scores, n):
    """Average, over all subsets of size n, the mean value among the subset's best-scored members."""
    values_of_best = []
    for subset in combinations(range(len(values)), n):
        top = max(scores[i] for i in subset)
        winners = [values[i] for i in subset if scores[i] == top]
        values_of_best.append(sum(winners) / len(winners))
    return sum(values_of_best) / len(values_of_best)


def law_over_tuples(law, scores, n):
    """Enumerate all n-tuples of draws and share each one's probability equally among its best draws."""
    best = [0.0] * len(law)
    for draws in product(range(len(law)), repeat=n):
        chance = math.prod(law[i] for i in draws)
        top = max(scores[i] for i in draws)
        winners = [i for i in draws if scores[i] == top]
        for i in winners:
            best[i] += chance / len(winners)
    return torch.tensor(best, dtype=torch.float64)


@given(pools, st.data())
@settings(max_examples=60, deadline=None)
def test_expected_best_is_the_mean_over_all_subsets(pool, data):
    values, scores = [v for v, _ in pool], [s for _, s in pool]
    n = data.draw(st.integers(1, len(pool)))
    exact = best_over_subsets(values, scores, n)
    assert best_of_n.expected_best(values=values, scores=scores, n=n).item() == pytest.approx(
        exact, abs=1e-10
    )


def test_expected_best_by_hand():
    # of the six pairs out of (0, 1, 2, 4) scored by themselves: 1, 2, 4, 2, 4, 4
    values = [0.0, 1.0, 2.0, 4.0]
    best = best_of_n.expected_best(values=values, scores=values, n=[1, 2, 3, 4])
    assert torch.allclose(best, torch.tensor([7 / 4, 17 / 6, 14 / 4, 4.0], dtype=torch.float64), atol=1e-12)


def wins_over_subsets(values, scores, n):
    """Average over all subsets of size n, winners of equal score, and draws outside of the subset."""
    won = []
    for subset in combinations(range(len(values)), n):
        top = max(scores[i] for i in subset)
        winners = [i for i in subset if scores[i] == top]
        rivals = [values[j] for j in range(len(values)) if j not in subset]
        won += [
            sum((values[i] > v) + (values[i] == v) / 2 for i in winners for v in rivals)
            / len(winners)
            / len(rivals)
        ]
    return sum(won) / len(won)


@given(pools.filter(lambda pool: len(pool) > 1), st.data())
@settings(max_examples=60, deadline=None)
def test_the_win_rate_in_a_pool_is_the_mean_over_subsets_and_rivals(pool, data):
    values, scores = [v for v, _ in pool], [s for _, s in pool]
    n = data.draw(st.integers(1, len(pool) - 1))
    rate = best_of_n.win_rate_in_pool(values=values, scores=scores, n=n).item()
    assert rate == pytest.approx(wins_over_subsets(values, scores, n), abs=1e-12)


def test_win_rates_in_a_pool_by_hand():
    values = [0.0, 1.0, 2.0, 4.0]
    # the best of n by itself loses to those above it: the largest of two is 1, 2, 2, 4, 4 or 4
    own = best_of_n.win_rate_in_pool(values=values, scores=values, n=[1, 2, 3])
    assert own.tolist() == pytest.approx([0.5, (0 + 0.5 + 0.5 + 1 + 1 + 1) / 6, (3 + 0) / 4], abs=1e-12)
    blind = best_of_n.win_rate_in_pool(values=values, scores=[7.0] * 4, n=[1, 2, 3])
    assert blind.tolist() == pytest.approx([0.5] * 3, abs=1e-12)
    both = best_of_n.win_rate_in_pool(values=values, scores=[values, [7.0] * 4], n=2)
    assert both.tolist() == pytest.approx([own[1].item(), 0.5], abs=1e-12)
    with pytest.raises(SpecError, match="n = 4 is above 3"):
        best_of_n.win_rate_in_pool(values=values, scores=values, n=4)


def test_a_list_of_n_over_many_prompts_agrees_with_one_at_a_time():
    draw = torch.Generator().manual_seed(0)
    values = torch.randn(3, 5, 20, generator=draw)
    scores = torch.randint(0, 8, (3, 5, 20), generator=draw)
    together = best_of_n.expected_best(values=values, scores=scores, n=range(1, 21))
    assert together.shape == (3, 5, 20)
    for n in (1, 7, 20):
        alone = best_of_n.expected_best(values=values, scores=scores, n=n)
        assert alone.shape == (3, 5)
        assert torch.allclose(together[..., n - 1], alone, atol=1e-14, rtol=0)
    assert torch.allclose(together[..., 0], values.double().mean(-1), atol=1e-12)


def test_large_pools_keep_their_digits():
    size, n = 4000, 1500
    best = best_of_n.expected_best(values=torch.arange(1, size + 1), scores=torch.arange(size), n=n)
    # the mean of the largest of n out of 1 ... N is n (N + 1) / (n + 1)
    assert best.item() == pytest.approx(n * (size + 1) / (n + 1), rel=1e-11)


def test_a_constant_scorer_is_random_choice_and_infinite_scores_rank():
    values = torch.tensor([3.0, -1.0, 5.0, 2.5])
    blind = best_of_n.expected_best(values=values, scores=torch.full((4,), -torch.inf), n=[1, 2, 4])
    assert torch.allclose(blind, torch.full((3,), values.double().mean().item(), dtype=torch.float64))
    scores = torch.tensor([-torch.inf, 0.0, torch.inf, -torch.inf])
    exact = best_over_subsets(values.tolist(), scores.tolist(), 2)
    assert best_of_n.expected_best(values=values, scores=scores, n=2).item() == pytest.approx(
        exact, abs=1e-12
    )


def test_expected_best_is_unbiased_for_the_law_of_the_best():
    law, value, score, n, size = [0.2, 0.5, 0.3], [1.0, -2.0, 4.0], [1.0, 2.0, 2.0], 2, 4
    mean = 0.0
    for draws in product(range(3), repeat=size):
        pool = [value[i] for i in draws], [score[i] for i in draws]
        chance = math.prod(law[i] for i in draws)
        mean += chance * best_of_n.expected_best(values=pool[0], scores=pool[1], n=n).item()
    exact = best_of_n.law_of_best(law=law, scores=score, n=n) @ torch.tensor(value, dtype=torch.float64)
    assert mean == pytest.approx(exact.item(), abs=1e-12)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
@pytest.mark.parametrize("scores", [[0.0, 3.0, 1.0, 2.0], [1.0, 0.0, 1.0, 0.0], [2.0, 2.0, 2.0, 2.0]])
def test_the_law_of_the_best_against_brute_force(n, scores):
    law = [0.1, 0.25, 0.6, 0.05]
    best = best_of_n.law_of_best(law=law, scores=scores, n=n)
    brute = law_over_tuples(law, scores, n)
    assert torch.allclose(best, brute, atol=1e-12, rtol=0)
    kl = (brute * (brute / torch.tensor(law, dtype=torch.float64)).log()).sum()
    assert best_of_n.kl_of_best(law=law, scores=scores, n=n).item() == pytest.approx(kl.item(), abs=1e-12)
    assert kl <= best_of_n.kl_bound(n) + 1e-12


def test_outcomes_without_mass_are_harmless_and_rows_are_independent():
    laws = torch.tensor([[0.0, 0.4, 0.6, 0.0], [0.7, 0.0, 0.1, 0.2]])
    laws = laws.double() / laws.double().sum(-1, keepdim=True)
    scores = torch.tensor([[5.0, 1.0, 2.0, 2.0], [0.0, 1.0, -1.0, 4.0]])
    best = best_of_n.law_of_best(law=laws, scores=scores, n=3)
    for row in range(2):
        brute = law_over_tuples(laws[row].tolist(), scores[row].tolist(), 3)
        assert torch.allclose(best[row], brute, atol=1e-12, rtol=0)
    assert torch.isfinite(best_of_n.kl_of_best(law=laws, scores=scores, n=3)).all()


def test_the_bound_is_approached_by_fine_laws_and_loose_where_scores_repeat():
    fine = torch.full((200_000,), 1 / 200_000, dtype=torch.float64)
    for n in (2, 10, 50):
        kl = best_of_n.kl_of_best(law=fine, scores=torch.arange(200_000), n=n)
        assert kl.item() == pytest.approx(best_of_n.kl_bound(n).item(), abs=1e-3)
    coin = best_of_n.kl_of_best(law=[0.5, 0.5], scores=[0.0, 1.0], n=50)
    assert coin.item() == pytest.approx(math.log(2), abs=1e-10)
    assert best_of_n.kl_bound(50).item() == pytest.approx(math.log(50) - 49 / 50, abs=1e-15)
    assert best_of_n.kl_bound([1, 2]).tolist() == pytest.approx([0.0, math.log(2) - 0.5], abs=1e-15)


def test_the_pools_kl_counts_levels_and_errs_as_little_as_documented():
    # half of the draws score 1: from level mass 1/2, b = 3/4 at n = 2
    pool = best_of_n.kl_of_pool(scores=[1, 0, 1, 0], n=2)
    assert pool.item() == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5), abs=1e-12)
    for n in (2, 5, 50):
        for times, gap in ((1, 0.07), (4, 0.006)):
            kl = best_of_n.kl_of_pool(scores=torch.arange(times * n), n=n)
            assert 0 < best_of_n.kl_bound(n) - kl < gap


def test_win_rate_counts_ties_half():
    rate = best_of_n.win_rate(values=[[1.0, 2.0], [0.0, 0.0]], opponents=[[2.0, 0.0, 1.0], [0.0, 1.0, -1.0]])
    # row 0: 1 beats 0, ties 1 -> 1.5 of 3; 2 beats two, ties one -> 2.5 of 3. Row 1: 1.5 of 3 twice
    assert torch.allclose(rate, torch.tensor([4 / 6, 1 / 2], dtype=torch.float64), atol=1e-15)


@given(
    st.lists(st.integers(-3, 3), min_size=1, max_size=6),
    st.lists(st.integers(-3, 3), min_size=1, max_size=6),
)
@settings(max_examples=50, deadline=None)
def test_win_rates_of_both_sides_add_to_one(mine, yours):
    rate = best_of_n.win_rate(values=mine, opponents=yours)
    brute = sum((a > b) + (a == b) / 2 for a in mine for b in yours) / (len(mine) * len(yours))
    assert rate.item() == pytest.approx(brute, abs=1e-12)
    assert (rate + best_of_n.win_rate(values=yours, opponents=mine)).item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"n": 0}, "n = 0 is below 1"),
        ({"n": [1, 4]}, "n = 4 is above 3"),
        ({"n": 1.5}, "whole numbers"),
        ({"n": True}, "whole numbers"),
        ({"n": []}, "n is empty"),
        ({"n": [[1]]}, "whole numbers"),
        ({"values": [1.0, float("nan"), 2.0]}, "values holds NaN"),
        ({"values": [1.0, float("inf"), 2.0]}, "values holds an infinite"),
        ({"scores": [1.0, float("nan"), 2.0]}, "scores holds NaN"),
        ({"scores": [1.0, 2.0]}, "shapes differ"),
        ({"values": 1.0, "scores": 1.0}, "last axis"),
        ({"values": [], "scores": []}, "last axis"),
        ({"values": "abc"}, "values cannot be read"),
    ],
)
def test_bad_input_names_the_argument(given, says):
    arguments = {"values": [1.0, 2.0, 3.0], "scores": [0.0, 1.0, 2.0], "n": 2} | given
    with pytest.raises(SpecError, match=says):
        best_of_n.expected_best(**arguments)


@pytest.mark.parametrize(
    ("law", "says"),
    [
        ([0.5, 0.6], "law sums to 1 only within"),
        ([-0.5, 1.5], "negative"),
        ([float("nan"), 1], "law holds NaN"),
    ],
)
def test_a_law_must_be_one(law, says):
    with pytest.raises(SpecError, match=says):
        best_of_n.law_of_best(law=law, scores=[0, 1], n=2)
    with pytest.raises(SpecError, match=says):
        best_of_n.kl_of_best(law=law, scores=[0, 1], n=2)


def test_bad_pools_and_opponents():
    with pytest.raises(SpecError, match="n = 3 is above 2"):
        best_of_n.kl_of_pool(scores=[1, 2], n=3)
    with pytest.raises(SpecError, match="leading axes differ"):
        best_of_n.win_rate(values=[[1.0]], opponents=[[1.0], [2.0]])
    with pytest.raises(SpecError, match="opponents has shape"):
        best_of_n.win_rate(values=[1.0], opponents=[])
    with pytest.raises(SpecError, match="opponents holds NaN"):
        best_of_n.win_rate(values=[1.0], opponents=[float("nan")])
    with pytest.raises(SpecError, match="below 1"):
        best_of_n.kl_bound(0)
