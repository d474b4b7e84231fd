"""Each loss against arithmetic written out by hand; test_identities.py ties them to divergences."""

import math

import pytest
import torch
from torch.nn.functional import logsigmoid

from afd_study.errors import SpecError
from afd_study.theory import objectives


def tensor(*numbers, grad=False):
    return torch.tensor(numbers, dtype=torch.float64, requires_grad=grad)


def softplus(x):
    return math.log1p(math.exp(x))


def test_sft_by_hand():
    logprobs = torch.tensor([[-1.0, -2.0, -4.0], [-0.5, -8.0, -9.0]])
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    assert objectives.sft_loss(logprobs, mask, constant=2).item() == (1 + 2 + 0.5) / 2


def test_sft_ignores_whatever_is_masked():
    logprobs = torch.tensor([[-1.0, -torch.inf, torch.nan]], requires_grad=True)
    loss = objectives.sft_loss(logprobs, torch.tensor([[True, False, False]]), constant=1)
    loss.backward()
    assert loss.item() == 1.0
    assert logprobs.grad.tolist() == [[-1.0, 0.0, 0.0]]


def test_sft_of_one_batch_is_the_sum_over_its_parts():
    draw = torch.Generator().manual_seed(1)
    logprobs = -torch.rand(8, 6, generator=draw, dtype=torch.float64)
    mask = torch.arange(6) < torch.tensor([1, 2, 3, 4, 5, 6, 3, 2])[:, None]
    whole = objectives.sft_loss(logprobs, mask, constant=8 * 3.25)
    parts = [objectives.sft_loss(logprobs[i : i + 1], mask[i : i + 1], constant=8 * 3.25) for i in range(8)]
    assert torch.allclose(whole, torch.stack(parts).sum(), atol=1e-14, rtol=0)


def test_prefix_weights_count_the_prefixes_that_hold_a_token():
    assert objectives.prefix_weights(3, horizon=5).tolist() == [5, 4, 3]
    assert objectives.prefix_weights(3, horizon=3).tolist() == [3, 2, 1]
    with pytest.raises(SpecError, match="horizon 3"):
        objectives.prefix_weights(4, horizon=3)


def test_discriminator_by_hand_with_unequal_counts():
    demo, policy = tensor(2.0, -1.0), tensor(0.5, 1.0, -3.0)
    on_demo = softplus(-2.0) + softplus(1.0)
    on_policy = softplus(0.5) + softplus(1.0) + softplus(-3.0)
    balanced = objectives.discriminator_bce(logits_on_demo=demo, logits_on_policy=policy)
    assert balanced.item() == pytest.approx(on_demo / 4 + on_policy / 6, abs=1e-12)
    summed = objectives.discriminator_bce(logits_on_demo=demo, logits_on_policy=policy, constant=5)
    assert summed.item() == pytest.approx((on_demo + on_policy) / 5, abs=1e-12)


def test_the_two_ways_to_average_agree_on_equal_counts():
    demo, policy = tensor(2.0, -1.0), tensor(0.5, 1.0)
    sides = {"logits_on_demo": demo, "logits_on_policy": policy}
    whole = objectives.discriminator_bce(**sides)
    assert torch.allclose(whole, objectives.discriminator_bce(**sides, constant=4), atol=1e-14)


def test_the_discriminator_is_pushed_up_on_demonstrations():
    demo, policy = tensor(0.0, grad=True), tensor(0.0, grad=True)
    objectives.discriminator_bce(logits_on_demo=demo, logits_on_policy=policy).backward()
    assert demo.grad.item() == -0.25
    assert policy.grad.item() == 0.25


def test_bradley_terry_by_hand():
    loss = objectives.bradley_terry(preferred=tensor(1.0, 0.0), rejected=tensor(-1.0, 3.0))
    assert loss.item() == pytest.approx((softplus(-2.0) + softplus(3.0)) / 2, abs=1e-12)
    summed = objectives.bradley_terry(preferred=tensor(1.0, 0.0), rejected=tensor(-1.0, 3.0), constant=10)
    assert summed.item() == pytest.approx((softplus(-2.0) + softplus(3.0)) / 10, abs=1e-12)


def test_dpo_by_hand():
    loss = objectives.dpo(
        preferred=tensor(-3.0),
        rejected=tensor(-5.0),
        reference_preferred=tensor(-4.0),
        reference_rejected=tensor(-4.5),
        beta=0.1,
    )
    # margin 0.1 ((-3 + 4) - (-5 + 4.5)) = 0.15
    assert loss.item() == pytest.approx(softplus(-0.15), abs=1e-12)


def test_spin_is_dpo_with_the_demonstration_preferred():
    numbers = tensor(-3.0, -1.0), tensor(-5.0, -1.5), tensor(-4.0, -2.0), tensor(-4.5, -0.5)
    demo, generated, reference_demo, reference_generated = numbers
    loss = objectives.spin(
        demo=demo,
        generated=generated,
        reference_demo=reference_demo,
        reference_generated=reference_generated,
        beta=0.5,
    )
    margins = 0.5 * ((demo - reference_demo) - (generated - reference_generated))
    assert torch.allclose(loss, -logsigmoid(margins).mean(), atol=1e-14)


@pytest.mark.parametrize("beta", [0.1, 1.0, 3.0])
def test_dpo_and_spin_start_at_log_two(beta):
    a, b = tensor(-3.0, -7.0), tensor(-1.0, -2.0)
    dpo = objectives.dpo(preferred=a, rejected=b, reference_preferred=a, reference_rejected=b, beta=beta)
    spin = objectives.spin(demo=a, generated=b, reference_demo=a, reference_generated=b, beta=beta)
    assert dpo.item() == pytest.approx(math.log(2), abs=1e-15)
    assert spin.item() == pytest.approx(math.log(2), abs=1e-15)


def test_losses_stay_finite_in_float32_at_large_margins():
    far = torch.tensor([300.0], requires_grad=True)
    loss = objectives.bradley_terry(preferred=-far, rejected=far)
    loss.backward()
    assert loss.item() == 600.0
    assert far.grad.item() == 2.0
    assert loss.dtype == torch.float32


def test_reinforce_raises_the_better_and_holds_rewards_fixed():
    logprobs, rewards = tensor(-1.0, -2.0, grad=True), tensor(3.0, 1.0, grad=True)
    loss = objectives.reinforce(logprobs=logprobs, rewards=rewards, baseline=2.0)
    loss.backward()
    assert logprobs.grad.tolist() == [-0.5, 0.5]
    assert rewards.grad is None


def test_rloo_by_hand():
    logprobs = tensor(-1.0, -2.0, -3.0, grad=True)
    objectives.rloo(logprobs=logprobs, rewards=tensor(6.0, 0.0, 3.0)).backward()
    # advantages 6 - 1.5, 0 - 4.5, 3 - 3
    assert logprobs.grad.tolist() == pytest.approx([-1.5, 1.5, 0.0], abs=1e-12)


def test_rloo_baselines_stay_within_a_prompt():
    logprobs = torch.zeros(2, 2, dtype=torch.float64, requires_grad=True)
    rewards = torch.tensor([[1.0, 0.0], [100.0, 100.0]])
    objectives.rloo(logprobs=logprobs, rewards=rewards, constant=1).backward()
    assert logprobs.grad.tolist() == [[-1.0, 1.0], [0.0, 0.0]]


def test_ppo_clips_the_way_the_advantage_pulls_and_only_that_way():
    ratios, advantages = [1.5, 0.5, 1.5, 0.5, 1.1], [2.0, 2.0, -2.0, -2.0, 2.0]
    logprobs = tensor(*map(math.log, ratios), grad=True)
    loss = objectives.ppo_clip(
        logprobs=logprobs,
        old_logprobs=tensor(0.0, 0.0, 0.0, 0.0, 0.0),
        advantages=tensor(*advantages),
        clip=0.2,
        constant=1,
    )
    loss.backward()
    assert loss.item() == pytest.approx(-(1.2 * 2 + 0.5 * 2 - 1.5 * 2 - 0.8 * 2 + 1.1 * 2), abs=1e-12)
    # no gradient where the ratio is beyond the clip in the direction of its advantage; otherwise there is one
    assert logprobs.grad.tolist() == pytest.approx([0.0, -1.0, 3.0, 0.0, -2.2], abs=1e-12)


def test_ppos_first_step_is_reinforces_and_it_holds_the_past_fixed():
    logprobs, old, advantages = (
        tensor(-1.0, -2.0, grad=True),
        tensor(-1.0, -2.0, grad=True),
        tensor(3.0, -1.0),
    )
    advantages.requires_grad_()
    objectives.ppo_clip(logprobs=logprobs, old_logprobs=old, advantages=advantages, clip=0.2).backward()
    plain = tensor(-1.0, -2.0, grad=True)
    objectives.reinforce(logprobs=plain, rewards=advantages).backward()
    assert logprobs.grad.tolist() == plain.grad.tolist() == [-1.5, 0.5]
    assert old.grad is None and advantages.grad is None


def test_leave_one_out_by_hand():
    assert objectives.leave_one_out(tensor(6.0, 0.0, 3.0)).tolist() == [1.5, 4.5, 3.0]


def test_weights_make_a_loss_an_expectation_and_zero_weight_forgives_infinity():
    margins, weights = tensor(0.3, -torch.inf, 2.0), tensor(0.75, 0.0, 0.25)
    loss = objectives.bradley_terry(preferred=margins, rejected=tensor(0.0, 0.0, 0.0), weights=weights)
    assert loss.item() == pytest.approx(0.75 * softplus(-0.3) + 0.25 * softplus(-2.0), abs=1e-12)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda a, b: objectives.sft_loss(a, b, constant=1), "token_logprobs .2,., mask .3,."),
        (lambda a, b: objectives.sft_loss(a, a, constant=0), "constant = 0 must be"),
        (lambda a, b: objectives.bradley_terry(preferred=a, rejected=b), "shapes differ: preferred"),
        (lambda a, b: objectives.bradley_terry(preferred=a, rejected=a, constant=-1), "constant"),
        (lambda a, b: objectives.bradley_terry(preferred=a, rejected=a, weights=b), "weights"),
        (lambda a, b: objectives.reinforce(logprobs=a, rewards=b), "rewards"),
        (lambda a, b: objectives.rloo(logprobs=a[:1], rewards=a[:1]), "at least 2"),
        (lambda a, b: objectives.rloo(logprobs=a[0], rewards=a[0]), "at least 2"),
        (lambda a, b: objectives.leave_one_out(a[:1]), "at least 2"),
        (lambda a, b: objectives.ppo_clip(logprobs=a, old_logprobs=a, advantages=b, clip=0.2), "advantages"),
        (lambda a, b: objectives.ppo_clip(logprobs=a, old_logprobs=a, advantages=a, clip=1.0), "clip = 1.0"),
        (lambda a, b: objectives.implicit_reward(policy=a, reference=a, beta=0), "beta = 0"),
        (lambda a, b: objectives.discriminator_bce(logits_on_demo=a[:0], logits_on_policy=b), "nothing"),
        (lambda a, b: objectives.discriminator_bce(logits_on_demo=a, logits_on_policy=b[:0]), "nothing"),
    ],
)
def test_bad_input_names_the_argument(call, says):
    with pytest.raises(SpecError, match=says):
        call(tensor(1.0, 2.0), tensor(1.0, 2.0, 3.0))
