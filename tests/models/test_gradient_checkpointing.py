"""Computing states again on the way back changes no gradient, with adapters or without, and can be undone."""

import pytest
import torch

from afd_study.models.batches import Example, collate
from afd_study.models.gradient_checkpointing import set_gradient_checkpointing
from afd_study.models.policy import Policy, with_lora
from afd_study.models.reward import RewardModel
from afd_study.models.specs import LoRASpec, TrainingSpec
from afd_study.models.training import train

BATCH = [Example((5, 6, 7, 8, 1), 2), Example((9, 10, 11), 1)]


def gradients(module):
    module.train()
    module.zero_grad(set_to_none=True)
    found = module(collate(BATCH))
    (found if torch.is_tensor(found) else found.values).sum().backward()
    return {n: p.grad.clone() for n, p in module.named_parameters() if p.grad is not None}


def counted(module):
    """How often the first block's norm is run in a pass forwards and backwards.

    Not the block itself: its hooks are run outside of what is computed again.
    """
    base = module.lm.base_model if isinstance(module, Policy) else module.backbone
    block, calls = (getattr(base, "h", None) or base.layers)[0], []
    norm = block.ln_1 if hasattr(block, "ln_1") else block.input_layernorm
    hook = norm.register_forward_pre_hook(lambda *_: calls.append(1))
    gradients(module)
    hook.remove()
    return len(calls)


@pytest.mark.parametrize("architecture", ["gpt2", "gemma"])
@pytest.mark.parametrize("lora", [None, LoRASpec(r=2)])
@pytest.mark.parametrize("kind", [Policy, RewardModel])
def test_gradients_are_the_same_and_states_are_computed_twice(architecture, lora, kind, build):
    lm = build(architecture)
    if kind is RewardModel:
        lm = lm.base_model
    with_lora(lm, lora, seed=0)
    module = kind(lm)
    if kind is RewardModel:
        torch.nn.init.normal_(module.head.weight)
    plain, once = gradients(module), counted(module)
    set_gradient_checkpointing(module, True)
    again, twice = gradients(module), counted(module)
    assert once == 1 and twice == 2
    assert set(plain) == set(again) and plain
    for name, value in plain.items():
        torch.testing.assert_close(again[name], value)
    set_gradient_checkpointing(module, False)
    assert counted(module) == 1


def test_the_loop_takes_the_setting(build, tmp_path):
    found = {}
    for wanted in (False, True):
        module = Policy(build("gpt2"))
        spec = TrainingSpec(steps=2, batch_size=2, gradient_checkpointing=wanted)
        train(
            module,
            BATCH,
            loss=lambda net, items: -net(collate(items)).values.sum() / 6,
            length=lambda item: len(item.ids),
            spec=spec,
            seed=0,
            evaluate=lambda net: 0.0,
            workspace=tmp_path / str(wanted),
        )
        assert counted(module) == 1 + wanted
        found[wanted] = module.state_dict()
    for name, value in found[False].items():
        mine, theirs = found[True][name], value
        if name.endswith("c_attn.bias"):  # the keys' part has no gradient but rounding, whose sign Adam takes
            mine, theirs = (torch.cat([each.chunk(3)[0], each.chunk(3)[2]]) for each in (mine, theirs))
        torch.testing.assert_close(mine, theirs, atol=5e-5, rtol=0)
