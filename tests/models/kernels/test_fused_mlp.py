"""The fused MLP is GPT-2's own where nothing is trained, and out of the way elsewhere."""

import copy

import pytest
import torch
from transformers.models.gpt2.modeling_gpt2 import GPT2MLP

from afd_study.models.kernels import fused_mlp
from afd_study.models.kernels.fused_mlp import FusedMLP
from afd_study.models.policy import with_lora
from afd_study.models.specs import LoRASpec


@pytest.fixture
def mlp(build):
    # a bias too, and both ends of the activation
    lm = build("gpt2", activation_function="gelu_pytorch_tanh", initializer_range=0.5)
    result = lm.base_model.h[0].mlp
    torch.nn.init.normal_(result.c_fc.bias, generator=torch.Generator().manual_seed(1))
    assert type(result) is FusedMLP
    return result


@pytest.fixture
def states(mlp):
    return torch.randn(3, 7, mlp.c_fc.weight.shape[0], generator=torch.Generator().manual_seed(2))


@pytest.fixture
def fused(monkeypatch):
    """How often the pass was fused."""
    calls = []
    real = fused_mlp.is_faster

    def watched(layer, states):
        calls.append(real(layer, states))
        return calls[-1]

    monkeypatch.setattr(fused_mlp, "is_faster", watched)
    return calls


def plainly(mlp, states):
    return GPT2MLP.forward(mlp, states)


@torch.no_grad()
@pytest.mark.parametrize("rows", [slice(None), slice(0, 1), slice(0, 0)])
def test_it_is_the_models_own(mlp, states, fused, rows):
    result = mlp(states[rows])
    assert fused == [len(states[rows]) > 0]
    torch.testing.assert_close(result, plainly(mlp, states[rows]), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_states_that_do_not_lie_in_order_give_the_same(mlp, states, fused):
    result = mlp(states.transpose(0, 1))
    assert fused == [True]
    torch.testing.assert_close(result.transpose(0, 1), plainly(mlp, states), atol=1e-5, rtol=1e-5)


def test_gradients_are_the_models_own(mlp, states, fused):
    other = copy.deepcopy(mlp)
    for each, pass_ in ((mlp, mlp), (other, lambda inputs: plainly(other, inputs))):
        pass_(states).square().sum().backward()
        assert each.c_fc.weight.grad is not None
    assert fused == [False]
    assert torch.equal(mlp.c_fc.weight.grad, other.c_fc.weight.grad)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions_take_the_models_own(mlp, states, fused, dtype):
    mlp.to(dtype)
    assert torch.equal(mlp(states.to(dtype)), plainly(mlp, states.to(dtype))) and fused == [False]


@torch.no_grad()
def test_large_weights_take_the_models_own(mlp, states, fused, monkeypatch):
    monkeypatch.setattr(fused_mlp, "LARGEST", mlp.c_fc.weight.numel() - 1)
    assert torch.equal(mlp(states), plainly(mlp, states)) and fused == [False]


@torch.no_grad()
def test_adapters_are_not_passed_over(build, fused):
    lm, ids = build("gpt2", activation_function="gelu_pytorch_tanh"), torch.arange(3, 23).view(2, 10)
    before = lm.eval()(ids).logits
    assert any(fused)
    fused.clear()
    adapted = with_lora(lm, LoRASpec(r=2, alpha=4, target_modules=("c_fc",)), seed=0)
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            weight.fill_(0.1)
    assert not torch.allclose(adapted.eval()(ids).logits, before, atol=1e-3) and not any(fused)


@torch.no_grad()
def test_under_autocast_it_is_the_models_own(mlp, states, fused):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert mlp(states).dtype == torch.bfloat16
    assert fused == [False]
