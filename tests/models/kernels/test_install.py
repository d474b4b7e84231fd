"""Kernels stand where a model has what they compute, and a saved model has no trace of them."""

import pytest
import torch

from afd_study.models.kernels.fused_mlp import FusedMLP
from afd_study.models.kernels.install import install_kernels


@pytest.mark.parametrize(
    ("settings", "count"),
    [({"activation_function": "gelu_pytorch_tanh"}, 2), ({"activation_function": "relu"}, 0), ({}, 0)],
)
def test_a_fused_mlp_stands_where_the_model_had_the_tanh_form(build, settings, count):
    lm = build("gpt2", **settings)  # models from scratch have kernels
    for _ in range(2):  # the second time changes nothing
        assert sum(isinstance(part, FusedMLP) for part in lm.modules()) == count
        assert install_kernels(lm) is lm


@torch.no_grad()
def test_a_model_with_kernels_has_the_stock_models_logits(build):
    lm, ids = build("gpt2", activation_function="gelu_pytorch_tanh"), torch.arange(3, 23).view(2, 10)
    stock = type(lm)(lm.config).eval()
    stock.load_state_dict(lm.state_dict())
    assert not any(isinstance(part, FusedMLP) for part in stock.modules())
    torch.testing.assert_close(lm.eval()(ids).logits, stock(ids).logits, atol=2e-5, rtol=1e-5)
