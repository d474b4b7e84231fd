"""The shortcut through GPT-2's last block has the whole pass's values and gradients, and knows its limits."""

import numpy as np
import pytest
import torch

from afd_study.models.batches import Pair, collate, fork, join
from afd_study.models.kernels import last_block
from afd_study.models.kernels.last_block import forked_states, last_states, response_states, supports
from afd_study.models.policy import with_lora
from afd_study.models.reward import RewardModel
from afd_study.models.scoring import hidden_states, last_hidden
from afd_study.models.specs import LoRASpec

EOS = 1


def batch(n=20, seed=0, padding=0):
    rng = np.random.default_rng(seed)
    prompts = [rng.integers(3, 27, size=rng.integers(1, 7)).tolist() for _ in range(n)]
    responses = [[*rng.integers(3, 27, size=rng.integers(0, 9)).tolist(), EOS] for _ in range(n)]
    return collate(join(prompts, responses, eos_id=None, context=64), padding)


def branches(n=12, seed=1):
    """Pairs of responses of different lengths, some of them the end mark alone."""
    rng = np.random.default_rng(seed)
    prompts = [rng.integers(3, 27, size=rng.integers(1, 7)).tolist() for _ in range(n)]
    sides = [
        join(
            prompts,
            [[*rng.integers(3, 27, size=rng.integers(0, 9)).tolist(), EOS] for _ in range(n)],
            eos_id=None,
            context=64,
        )
        for _ in range(2)
    ]
    return list(map(Pair, *sides))


def whole_pass(backbone, rows):
    return hidden_states(backbone, rows.ids)[torch.arange(len(rows.ids)), rows.lengths - 1]


SETTINGS = [
    {},
    {"n_layer": 1},
    {"n_layer": 3, "scale_attn_by_inverse_layer_idx": True},
    {"scale_attn_weights": False, "activation_function": "gelu_pytorch_tanh", "n_inner": 40},
]


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("training", [True, False])
def test_values_and_gradients_are_those_of_the_whole_pass(build, settings, training):
    backbone = build("gpt2", **settings).base_model.train(training)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():  # fresh biases are zero and norms are one: nothing would show if they were left out
        for weight in backbone.parameters():
            weight += 0.2 * torch.randn(weight.shape, generator=generator)
    rows = batch()
    assert supports(backbone) and len(set(rows.lengths.tolist())) > 5
    result = []
    for states in (last_states(backbone, rows.ids, rows.lengths - 1), whole_pass(backbone, rows)):
        backbone.zero_grad()
        (states * torch.linspace(-1, 1, states.numel()).view_as(states)).sum().backward()
        result.append((states.detach(), {n: p.grad.clone() for n, p in backbone.named_parameters()}))
    (fast, fast_gradients), (slow, slow_gradients) = result
    torch.testing.assert_close(fast, slow, rtol=1e-5, atol=1e-5)
    for name, gradient in slow_gradients.items():
        scale = max(1.0, float(gradient.abs().max()))
        torch.testing.assert_close(
            fast_gradients[name] / scale, gradient / scale, rtol=1e-5, atol=1e-5, msg=name
        )
    assert all(gradient.abs().max() > 1e-3 for gradient in slow_gradients.values())


@pytest.mark.parametrize("settings", SETTINGS)
def test_states_of_responses_have_the_values_and_gradients_of_the_whole_pass(build, settings):
    backbone, rows = build("gpt2", **settings).base_model, batch()
    places = torch.arange(rows.ids.shape[1])
    chosen = (places >= rows.starts[:, None] - 1) & (places < rows.lengths[:, None] - 1)
    result = []
    for states in (response_states(backbone, rows, chosen), hidden_states(backbone, rows.ids)[chosen]):
        backbone.zero_grad()
        (states * torch.linspace(-1, 1, states.numel()).view_as(states)).sum().backward()
        result.append((states.detach(), [p.grad.clone() for p in backbone.parameters()]))
    (fast, fast_gradients), (slow, slow_gradients) = result
    assert len(fast) == int((rows.lengths - rows.starts).sum())
    torch.testing.assert_close(fast, slow, rtol=1e-5, atol=1e-5)
    for mine, theirs in zip(fast_gradients, slow_gradients, strict=True):
        scale = max(1.0, float(theirs.abs().max()))
        torch.testing.assert_close(mine / scale, theirs / scale, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("settings", SETTINGS)
def test_forks_have_the_values_and_gradients_of_their_branches_alone(build, settings):
    backbone, pairs = build("gpt2", **settings).base_model, branches()
    alone = collate([side for pair in pairs for side in pair])
    result = []
    for states in (forked_states(backbone, fork(pairs)), whole_pass(backbone, alone)):
        backbone.zero_grad()
        (states * torch.linspace(-1, 1, states.numel()).view_as(states)).sum().backward()
        result.append((states.detach(), [p.grad.clone() for p in backbone.parameters()]))
    (forked, forked_gradients), (apart, gradients) = result
    torch.testing.assert_close(forked, apart, rtol=1e-5, atol=1e-5)
    for mine, theirs in zip(forked_gradients, gradients, strict=True):
        scale = max(1.0, float(theirs.abs().max()))
        torch.testing.assert_close(mine / scale, theirs / scale, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_a_forks_branches_and_padding_do_not_touch_each_other(build):
    backbone, pairs = build("gpt2").base_model, branches()
    expected = forked_states(backbone, fork(pairs)).view(len(pairs), 2, -1)
    assert torch.equal(forked_states(backbone, fork(pairs, padding_id=9)), expected.flatten(0, 1))
    swapped = forked_states(backbone, fork([Pair(low, high) for high, low in pairs])).view_as(expected)
    torch.testing.assert_close(swapped, expected.flip(1), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_padding_and_batch_change_nothing(build):
    backbone = build("gpt2").base_model
    expected = last_hidden(backbone, batch())
    for padding in (EOS, 9):
        assert torch.equal(last_hidden(backbone, batch(padding=padding)), expected)
    rows = batch()
    for row, length in enumerate(rows.lengths.tolist()):
        alone = last_states(backbone, rows.ids[row : row + 1, :length], rows.lengths[row : row + 1] - 1)
        torch.testing.assert_close(alone[0], expected[row], rtol=1e-5, atol=1e-5)


def half(lm):
    return lm.bfloat16()


def hooked(lm):
    lm.base_model.h[-1].register_forward_hook(lambda module, inputs, output: 2 * output)
    return lm


def adapted(lm):
    with_lora(lm.base_model, LoRASpec(r=2, alpha=2.0), seed=0)
    return lm


def eager(lm):
    lm.set_attn_implementation("eager")
    return lm


def checkpointing(lm):
    lm.gradient_checkpointing_enable()
    return lm.train()


ELSEWHERE = {
    "another architecture": lambda build: build("llama"),
    "adapters": lambda build: adapted(build("gpt2")),
    "dropout at work": lambda build: build("gpt2", resid_pdrop=0.1).train(),
    "half precision": lambda build: half(build("gpt2")),
    "a hook": lambda build: hooked(build("gpt2")),
    "eager attention": lambda build: eager(build("gpt2")),
    "gradient checkpointing": lambda build: checkpointing(build("gpt2")),
}


@pytest.mark.parametrize("what", ELSEWHERE)
def test_elsewhere_the_whole_pass_is_taken(build, monkeypatch, what):
    monkeypatch.setattr(last_block, "last_states", lambda *arguments: pytest.fail("the shortcut was taken"))
    backbone = ELSEWHERE[what](build).base_model
    torch.manual_seed(0)
    result = last_hidden(backbone, batch())
    torch.manual_seed(0)
    assert not supports(backbone) and torch.equal(result, whole_pass(backbone, batch()))


def test_mixed_precision_takes_the_whole_pass(build):
    backbone = build("gpt2").base_model
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not supports(backbone)
    assert supports(backbone)


def test_a_merged_adapter_is_a_plain_model_again(build):
    model = RewardModel(build("gpt2").base_model)
    adapters = with_lora(model.backbone, LoRASpec(r=2, alpha=2.0), seed=0)
    assert not supports(model.backbone)
    assert supports(adapters.merge_and_unload().eval())


def test_dropout_is_no_obstacle_where_it_is_off(build, monkeypatch):
    backbone, rows = build("gpt2", resid_pdrop=0.5, attn_pdrop=0.5, embd_pdrop=0.5).base_model.eval(), batch()
    expected = whole_pass(backbone, rows)
    torch.testing.assert_close(last_hidden(backbone, rows), expected, rtol=1e-5, atol=1e-5)
    monkeypatch.setattr(last_block, "last_states", lambda *arguments: pytest.fail("as it should be"))
    with pytest.raises(pytest.fail.Exception, match="as it should be"):
        last_hidden(backbone, rows)
