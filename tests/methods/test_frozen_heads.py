"""Heads on frozen states: the right loss, a penalty chosen by held-out pairs, the same numbers once saved."""

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from afd_study.errors import DataError, SpecError
from afd_study.methods.frozen_heads import L2, Pairs, fit_head, head_of, head_rewards, pair_loss

RNG = np.random.default_rng(0)
DIRECTION = RNG.normal(size=12) / 3


def drawn(n, seed, shift=1.0):
    """Two Gaussians whose log ratio is linear: shift x DIRECTION . x, and a constant."""
    rng = np.random.default_rng(seed)
    high, low = rng.normal(size=(2, n, 12))
    return Pairs(high + shift * DIRECTION, low)


TRAIN, VALIDATION, TEST = drawn(4000, 1), drawn(800, 2), drawn(2000, 3)


@pytest.mark.parametrize("loss", ["discriminator_bce", "bradley_terry"])
def test_a_linear_head_finds_the_log_ratio(loss):
    fitted = fit_head(TRAIN, VALIDATION, loss=loss)
    found = head_rewards(fitted.head, TEST.low)
    assert np.corrcoef(found, TEST.low @ DIRECTION)[0, 1] > 0.98
    if loss == "discriminator_bce":
        exact = TEST.low @ DIRECTION - DIRECTION @ DIRECTION / 2
        assert np.polyfit(exact, found, 1) == pytest.approx([1, 0], abs=0.12)
    assert pair_loss(fitted.head, TEST, loss) < np.log(2)


def test_the_penalty_is_the_best_on_held_out_pairs():
    few = drawn(30, 4)
    fitted = fit_head(few, VALIDATION, loss="discriminator_bce")
    assert set(fitted.losses) == set(L2) and fitted.l2 == min(fitted.losses, key=fitted.losses.get)
    assert fitted.l2 > 1, "thirty pairs call for a penalty"


def test_a_network_learns_what_is_not_linear_and_its_seed_makes_a_replicate():
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(3000, 4))
    far = np.abs(rows[:, 0]) > 0.7
    half = min(far.sum(), (~far).sum()) // 2
    train = Pairs(rows[far][:half], rows[~far][:half])
    validation = Pairs(rows[far][half : 2 * half], rows[~far][half : 2 * half])
    found = {
        (shape, seed): fit_head(train, validation, loss="discriminator_bce", shape=shape, seed=seed)
        for shape, seed in (("linear", 0), ("network", 0), ("network", 1))
    }
    losses = {key: min(each.losses.values()) for key, each in found.items()}
    assert losses["network", 0] < 0.5 < losses["linear", 0]
    one, other = (head_rewards(found["network", seed].head, rows) for seed in (0, 1))
    assert not np.array_equal(one, other) and np.corrcoef(one, other)[0, 1] > 0.9
    again = fit_head(train, validation, loss="discriminator_bce", shape="network", seed=0)
    assert np.array_equal(head_rewards(again.head, rows), one)


@pytest.mark.parametrize("shape", ["linear", "network"])
def test_a_saved_head_gives_the_same_numbers(tmp_path, shape):
    head = fit_head(drawn(200, 6), VALIDATION, loss="discriminator_bce", shape=shape).head
    save_file(head.arrays(), tmp_path / "head.safetensors")
    assert np.array_equal(head_rewards(head_of(load_file(tmp_path / "head.safetensors")), TEST.low),
                          head_rewards(head, TEST.low))  # fmt: skip
    with pytest.raises(DataError, match="lacks bias_0"):
        head_of({name: each for name, each in head.arrays().items() if name != "bias_0"})


def test_a_state_that_never_varies_does_no_harm():
    train, validation = (
        Pairs(*(np.c_[side, np.ones(len(side))] for side in each)) for each in (TRAIN, VALIDATION)
    )
    fitted = fit_head(train, validation, loss="discriminator_bce")
    assert np.isfinite(head_rewards(fitted.head, train.high)).all()


def test_what_cannot_be_fitted_is_refused():
    with pytest.raises(SpecError, match="linear head alone"):
        fit_head(TRAIN, VALIDATION, loss="bradley_terry", shape="network")
    with pytest.raises(SpecError, match="got linear, hinge"):
        fit_head(TRAIN, VALIDATION, loss="hinge")
    with pytest.raises(DataError, match="no validation pairs"):
        fit_head(TRAIN, Pairs(TRAIN.high[:0], TRAIN.low), loss="discriminator_bce")
    with pytest.raises(DataError, match="no finite numbers"):
        fit_head(Pairs(TRAIN.high * np.nan, TRAIN.low), VALIDATION, loss="discriminator_bce")
