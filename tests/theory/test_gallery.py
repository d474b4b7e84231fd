"""The gallery's tables agree with the records that they show, and wrong records would give large gaps."""

import pytest
import torch

from afd_study.theory import fits, gallery
from afd_study.theory.divergences import DIVERGENCES, divergence
from afd_study.theory.estimators import KL_ESTIMATORS
from afd_study.theory.rewards import REWARD_TRANSFORMS

P, Q = [0.2, 0.3, 0.5], [0.4, 0.4, 0.2]


def test_values_bounds_and_swaps():
    table = gallery.divergences(demo=P, policy=Q).set_index("divergence")
    assert list(table.index) == list(DIVERGENCES)
    p, q = torch.tensor(P).double(), torch.tensor(Q).double()
    assert table.loc["pearson_chi2", "value"] == pytest.approx(((p - q) ** 2 / q).sum().item(), abs=1e-6)
    assert table.loc["forward_kl", "swapped"] == pytest.approx(table.loc["reverse_kl", "value"], abs=1e-12)
    assert table["bound"].tolist() == pytest.approx(table["value"].tolist(), abs=1e-12)
    assert (table["loose"] < table["value"] - 1e-3).all()


def test_anatomy_holds_each_function_at_its_own_argument():
    table = gallery.anatomy(log_ratio=[-1.0, 0.0, 1.0]).set_index(["divergence", "part"])
    conjugate = table.loc[("forward_kl", "conjugate")]
    assert conjugate["x"].tolist() == [-1, 0, 1]
    assert conjugate["y"].tolist() == pytest.approx([-0.63212, 0, 1.71828], abs=1e-5)
    generator = table.loc[("reverse_kl", "generator")]
    assert generator["x"].tolist() == pytest.approx([0.36788, 1, 2.71828], abs=1e-5)
    assert generator["y"].tolist() == pytest.approx([0.36788, 0, 0.71828], abs=1e-5)


def test_the_legendre_transform_is_met_where_its_maximiser_is_listed():
    gaps = gallery.legendre_gaps(log_ratio=torch.linspace(-2, 2, 41).double())
    assert set(gaps) == set(DIVERGENCES) and max(gaps.values()) < 1e-12


def test_rewards_descend_their_divergences(setting):
    table = gallery.reward_gaps(setting.world, demo=setting.demo, policy=setting.policy)
    assert (table["gap"] < 1e-10).all() and (table["size"] > 1e-3).all()


def test_kl_estimates_are_unbiased_as_their_table_says(setting):
    table = gallery.kl_estimates(setting.world, demo=setting.demo, policy=setting.policy)
    rows = table.set_index("estimator")
    exact = divergence("reverse_kl", demo=setting.law("demo"), policy=setting.law("policy")).item()
    assert rows["exact"].tolist() == pytest.approx([exact] * 5, abs=1e-12)
    for name in rows.index:
        unbiased = KL_ESTIMATORS[name].unbiased if name in KL_ESTIMATORS else True
        assert (abs(rows.loc[name, "mean"] - exact) < 1e-10) == unbiased
    assert rows.loc["full_distribution", "deviation"] < rows.loc["k1", "deviation"]


def test_transform_slopes_and_gradients():
    table = gallery.transforms(log_ratio=[-2.0, 0.0])
    assert set(table["transform"]) == set(REWARD_TRANSFORMS)
    fairl = table[table["transform"] == "fairl"]
    assert fairl["slope"].tolist() == pytest.approx([0.13534, -1], abs=1e-5)
    gradients = gallery.transform_gradients(demo=P, policy=Q)
    assert torch.allclose(gradients["density_ratio"], gradients["forward_kl"], atol=1e-12)
    assert torch.allclose(gradients["airl"], gradients["reverse_kl"], atol=1e-12)
    assert gradients["fairl"] @ gradients["forward_kl"] < 0


def test_moved_gaussians_are_compared_with_the_demonstrator():
    grid = torch.linspace(-3, 3, 13).double()
    demo = fits.mixture(grid=grid, means=[1.0], deviations=[0.5], weights=[1.0])
    laws, values = gallery.moved_gaussians(grid=grid, demo=demo, means=[0.0, 1.0], deviations=[0.5, 1.0])
    assert len(laws) == 4 * 13 and len(values) == 4 * len(DIVERGENCES)
    rows = values.set_index(["divergence", "deviation", "mean"])["value"]
    assert rows["forward_kl", 0.5, 1.0] == pytest.approx(0, abs=1e-12) and rows["forward_kl", 0.5, 0.0] > 1
