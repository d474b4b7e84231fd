"""Marked worlds: pulls are gradients, what is conserved is, bounds hold, and without marks all is learned."""

import math

import pandas as pd
import pytest
import torch

from afd_study.errors import AfdError, DataError, SpecError
from afd_study.theory import free_feature, free_feature_tables as tables
from afd_study.theory.listing import worst

LOSSES = pytest.mark.parametrize("loss", free_feature.LOSSES)


@pytest.fixture(scope="module")
def world():
    return free_feature.marked_world(seed=3, vocab_size=3, horizon=4)


@pytest.fixture(scope="module")
def start(world):
    return free_feature.starts(world, draws=4, spread=1.5, seed=1)


def test_a_world_is_what_it_says(world):
    assert world.features.shape[0] == 31 and (world.init > 0).all() and (world.demo > 0).all()
    assert worst(world.init @ world.features, torch.zeros(world.features.shape[1])) < 1e-12
    assert worst(world.init @ world.features.square(), torch.ones(world.features.shape[1])) < 1e-12
    # the log ratio lies in the span of the features and a constant
    inputs = torch.cat([world.features, torch.ones(31, 1).double()], 1)
    fitted = inputs @ torch.linalg.lstsq(inputs, world.log_ratio[:, None], driver="gelsd").solution
    assert worst(fitted[:, 0], world.log_ratio) < 1e-9


def test_starts_know_nothing_over_all_draws(world, start):
    assert worst(start.sum(0), torch.zeros(start.shape[1])) < 1e-12
    spread = ((start @ world.features.T).square() @ world.init).mean().sqrt()
    assert spread.item() == pytest.approx(1.5)


@LOSSES
@pytest.mark.parametrize("h", [0.0, 0.3, 1.0])
def test_pulls_are_minus_the_gradient_of_the_loss_that_models_are_trained_on(world, h, loss):
    draw = torch.Generator().manual_seed(0)
    logits, marked = torch.randn(2, 31, generator=draw, dtype=torch.float64).requires_grad_()
    value = free_feature.expected_loss(world, logits, marked, heterogeneity=h, loss=loss)
    by_autograd = torch.autograd.grad(value, [logits, marked])
    with torch.no_grad():
        plain, with_mark, samples = free_feature.pulls(world, logits, marked, heterogeneity=h, loss=loss)
    assert worst(-by_autograd[0], plain - samples) < 1e-14
    assert worst(-by_autograd[1], with_mark) < 1e-14


@LOSSES
def test_the_flow_descends_the_loss(world, start, loss):
    """Its first step is minus the gradient in every parameter, decay included."""
    beginning = start[:1].clone().requires_grad_()
    others = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    logits = (beginning @ world.features.T)[0] + others[0]
    value = free_feature.expected_loss(world, logits, logits + 3.0 * others[1], heterogeneity=0.4, loss=loss)
    value = value + 0.05 * beginning.square().sum() / 2
    gradients = torch.autograd.grad(value, [beginning, others])
    path = free_feature.flow(
        world, heterogeneity=0.4, times=[0, 1e-5], salience=3.0, start=start[:1], loss=loss, decay=0.05
    )
    gone = path.weights.diff(dim=0)[0] / 1e-5
    assert worst(gone, -gradients[0]) < 1e-4
    moved = torch.stack([path.intercept, path.mark]).diff(dim=1)[:, 0, 0] / 1e-5
    assert worst(moved, -gradients[1]) < 1e-4


@LOSSES
def test_what_g_receives_is_what_the_mark_has_taken(world, start, loss):
    """At h = 1 every pull of a demonstration moves the mark: w = a x signal, at every time."""
    settings = {"heterogeneity": 1.0, "times": [0, 1, 7, 30], "salience": 4.0, "start": start}
    path = free_feature.flow(world, **settings, loss=loss)
    assert worst(path.mark, 4.0 * path.signal) < 1e-12
    assert (path.signal.diff(dim=0) > 0).all()
    # hence a bound on how far g's weights can have come
    furthest = torch.cdist(world.features, world.features).max()
    if loss == "pairwise":
        moved = (path.weights - start).norm(dim=-1)
        assert (moved <= path.signal * furthest + 1e-12).all()


@LOSSES
def test_without_marks_and_with_few_the_log_ratio_is_learned(world, loss):
    for h in (0.0, 0.5):
        path = free_feature.flow(
            world,
            heterogeneity=h,
            times=[300],
            salience=2.0,
            start=torch.zeros(1, world.features.shape[1]).double(),
            loss=loss,
        )
        g = (path.weights @ world.features.T)[0, 0]
        assert worst(g - g @ world.init, world.log_ratio - world.log_ratio @ world.init) < 0.1
        if loss == "pointwise" and h == 0:
            assert worst(g + path.intercept[0, 0], world.log_ratio) < 0.1


def test_the_mark_alone_has_a_closed_form_below_its_bound():
    times = [0.0, 0.5, 3.0, 20.0, 1000.0]
    roots = free_feature.mark_alone(times, salience=3.0)
    right = 1 + 4.5 * torch.tensor(times, dtype=torch.float64)
    assert worst(roots + roots.exp(), right) < 1e-8
    assert (roots <= right.log() + 1e-12).all() and roots[0] == 0
    alone = tables.without_features([1.0], times=times, salience=3.0, loss="pairwise")
    assert worst(alone["effective"].tolist(), (4 * roots / 9).tolist()) < 1e-4


@LOSSES
@pytest.mark.parametrize("h", [0.33, 0.67, 0.95])
def test_the_speed_that_unmarked_demonstrations_keep(h, loss):
    alone = tables.without_features([h], times=[150, 300], salience=3.0, loss=loss)
    speed = alone["effective"].diff().iloc[1] / 150
    assert speed == pytest.approx(free_feature.kept_speed(h, loss=loss), abs=1e-2)
    # Fisher's information on g, of a mass 2 - h in which a share p is demonstrations, against h = 0
    p = (1 - h) / (2 - h)
    if loss == "pointwise":
        assert free_feature.kept_speed(h) == pytest.approx((2 - h) * p * (1 - p) / 0.5)
    assert free_feature.kept_speed(h, loss="pairwise") < free_feature.kept_speed(h)


def test_decay_forgets_the_start(world, start):
    """The loss is convex: two starts come together at least as fast as decay alone would bring them."""
    settings = {"heterogeneity": 1.0, "times": [0, 5, 20], "salience": 4.0, "start": start, "decay": 0.1}
    path = free_feature.flow(world, **settings)
    apart = torch.cat([path.weights, path.intercept[..., None], path.mark[..., None]], -1)
    apart = (apart[:, 0] - apart[:, 2]).norm(dim=-1)
    assert (apart <= apart[0] * (-0.1 * path.times).exp() + 1e-9).all()


def test_rankings_of_the_truth_of_its_opposite_and_of_nothing(world):
    scores = torch.stack([world.log_ratio, -world.log_ratio, torch.zeros(31).double()])
    known, share = tables.rankings(world, scores[:2])
    assert worst(known, [1.0, -1.0]) < 1e-9 and share[0].item() == pytest.approx(1) and share[1] < 0
    assert tables.rankings(world, scores[2:])[1].abs().max() < 1e-12  # a fair lot is a random pick


def test_rank_correlation_is_spearmans_where_all_answers_are_as_likely(world):
    even = torch.full_like(world.init, 1 / 31)
    flat = free_feature.MarkedWorld(even, world.demo, world.features, world.rewards)
    scores = torch.randn(31, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    ranks = pd.DataFrame({"a": scores.tolist(), "b": flat.log_ratio.round(decimals=9).tolist()}).rank()
    known, _ = tables.rankings(flat, scores[None])
    assert known.item() == pytest.approx(ranks.corr().loc["a", "b"])


def test_tables_and_the_forecast(world):
    settings = {"times": [0.0, 2.0, 8.0], "salience": 5.0}
    table = tables.by_heterogeneity([world, world], [0.0, 1.0], draws=2, **settings)
    assert list(table["h"]) == [0.0] * 3 + [1.0] * 3 and (table["share_low"] <= table["share_high"]).all()
    last = table.set_index(["h", "time"])
    assert last.loc[(1.0, 8.0), "effective"] < last.loc[(0.0, 8.0), "effective"] / 3
    assert last.loc[(1.0, 8.0), "pull"] < 0.2 < last.loc[(0.0, 8.0), "pull"]
    clock = tables.without_features([0.0, 1.0], **settings)
    assert worst(clock["effective"][:3].tolist(), settings["times"]) < 1e-12
    expected = tables.forecast(table, clock)
    gaps = tables.misses(table, expected).set_index("h")
    assert gaps.loc[0.0, "share"] < 1e-12 and 0 < gaps.loc[1.0, "share"] < 1
    with pytest.raises(DataError, match="h = 0"):
        tables.forecast(table[table["h"] > 0], clock)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"loss": "pairwize"}, "pairwise"),
        ({"heterogeneity": 1.5}, "between 0 and 1"),
        ({"times": [2, 1]}, "ascend"),
        ({"salience": 0.0}, "salience"),
    ],
)
def test_bad_settings_are_named(world, start, change, match):
    settings = {"heterogeneity": 0.5, "times": [0, 1], "salience": 2.0, "start": start}
    with pytest.raises(AfdError, match=match):
        free_feature.flow(world, **settings | change)


def test_starts_come_with_their_opposites(world):
    with pytest.raises(SpecError, match="even"):
        free_feature.starts(world, draws=3, spread=1.0, seed=0)
    assert math.isfinite(free_feature.kept_speed(1.0)) and free_feature.kept_speed(1.0) == 0
