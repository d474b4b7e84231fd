"""States that are computed again in the backward pass give the same gradients, and this can be undone."""

import pytest
import torch

from afd_study.models.batches import Example, collate
from afd_study.models.gradient_checkpointing import set_gradient_checkpointing
from afd_study.models.policy import Policy, with_lora
from afd_study.models.reward import RewardModel
from afd_study.models.specs import LoRASpec, TrainingSpec
from afd_study.models.training import train

BATCH = [Example((5, 6, 7, 8, 1), 2), Example((9, 10, 11), 1)]


def gradients_of(module):
    module.train()
    module.zero_grad(set_to_none=True)
    result = module(collate(BATCH))
    (result if torch.is_tensor(result) else result.values).sum().backward()
    return {n: p.grad.clone() for n, p in module.named_parameters() if p.grad is not None}


def counted(module):
    """How often the first block's norm is run in a forward and a backward pass.

    Not the block itself: its hooks are run outside of what is computed again.
    """
    base = module.lm.base_model if isinstance(module, Policy) else module.backbone
    block, calls = (getattr(base, "h", None) or base.layers)[0], []
    norm = block.ln_1 if hasattr(block, "ln_1") else block.input_layernorm
    hook = norm.register_forward_pre_hook(lambda *_: calls.append(1))
    gradients_of(module)
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
    plain, once = gradients_of(module), counted(module)
    set_gradient_checkpointing(module, True)
    again, twice = gradients_of(module), counted(module)
    assert once == 1 and twice == 2
    assert set(plain) == set(again) and plain
    for name, value in plain.items():
        torch.testing.assert_close(again[name], value)
    set_gradient_checkpointing(module, False)
    assert counted(module) == 1


def test_the_loop_takes_the_setting(build, gradients, tmp_path):
    for enable in (False, True):
        module = Policy(build("gpt2"))
        train(
            module,
            BATCH,
            loss=lambda net, items: -net(collate(items)).values.sum() / 6,
            length=lambda item: len(item.ids),
            spec=TrainingSpec(steps=1, batch_size=2, gradient_checkpointing=enable),
            seed=0,
            evaluate=lambda net: 0.0,
            workspace=tmp_path / str(enable),
        )
        assert counted(module) == 1 + enable
    kept, computed_again = gradients
    for mine, theirs in zip(computed_again, kept, strict=True):
        torch.testing.assert_close(mine, theirs)
