"""The fast activation is GELU's tanh form, in value and slope, and stands where the model had that."""

import pytest
import torch
from torch import nn

from afd_study.models.kernels import gelu
from afd_study.models.kernels.gelu import FastGelu
from afd_study.models.kernels.install import install_kernels

PLACES = torch.cat([torch.linspace(-12, 12, 2001), torch.tensor([0.0, -100.0, 100.0])])


def exactly(x):
    return nn.functional.gelu(x.double(), approximate="tanh")


@pytest.fixture(autouse=True, params=[False, True], ids=["own", "library's"])
def wide(request, monkeypatch):
    """Both ways, whatever this machine computes with."""
    monkeypatch.setattr(gelu, "has_avx512", lambda: request.param)


def test_values_are_the_functions_up_to_rounding():
    torch.testing.assert_close(FastGelu()(PLACES).double(), exactly(PLACES), atol=1e-6, rtol=1e-6)


def test_slopes_are_the_functions_up_to_rounding():
    weights = torch.linspace(-1, 2, len(PLACES))
    found, expected = PLACES.clone().requires_grad_(), PLACES.clone().double().requires_grad_()
    (FastGelu()(found) * weights).sum().backward()
    (exactly(expected) * weights.double()).sum().backward()
    assert found.grad.isfinite().all() and found.grad.abs().max() > 1
    torch.testing.assert_close(found.grad.double(), expected.grad, atol=2e-6, rtol=2e-6)


def test_what_is_no_number_stays_so():
    assert FastGelu()(torch.tensor([float("nan")])).isnan().all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions_take_the_librarys_kernel(dtype):
    x = PLACES.to(dtype)
    assert torch.equal(FastGelu()(x), nn.functional.gelu(x, approximate="tanh"))


@pytest.mark.parametrize(
    ("settings", "places"),
    [
        ({"activation_function": "gelu_pytorch_tanh"}, 2),
        ({"activation_function": "relu"}, 0),
    ],
)
def test_it_stands_where_the_model_had_the_tanh_form(build, settings, places):
    lm = build("gpt2", **settings)  # models from scratch are quickened
    assert sum(isinstance(part, FastGelu) for part in lm.modules()) == places
    assert install_kernels(lm) is lm and sum(isinstance(part, FastGelu) for part in lm.modules()) == places


@torch.no_grad()
def test_a_quickened_model_has_the_stock_models_logits(build):
    lm, ids = build("gpt2"), torch.arange(3, 23).view(2, 10)
    stock = type(lm)(lm.config).eval()
    stock.load_state_dict(lm.state_dict())
    assert not any(isinstance(part, FastGelu) for part in stock.modules())
    torch.testing.assert_close(lm.eval()(ids).logits, stock(ids).logits, atol=2e-5, rtol=1e-5)
