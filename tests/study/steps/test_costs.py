"""What steps spend: every pass over responses, once for each that reads them."""

import pytest

from afd_study.methods.specs import AdversarialSpec, PolicyGradientSpec
from afd_study.study.steps.adversarial import count_players
from afd_study.study.steps.arms import count_gradient
from afd_study.study.workflow.context import Context


@pytest.mark.parametrize(
    "algorithm, epochs, reads, passes",
    [("rloo", 1, 4, 1 + 1 + 3 + 1), ("ppo_clip", 2, 8, 1 + 1 + 2 * (3 + 1) + 2)],
)
def test_policy_gradient_counts_every_pass_over_its_responses(tmp_path, algorithm, epochs, reads, passes):
    """A batch is drawn and scored; an epoch trains on it and reads the reference; PPO keeps both old laws."""
    spec = PolicyGradientSpec(algorithm=algorithm, epochs=epochs, steps=3, batch_size=2, draws=4)
    context = Context(tmp_path)
    count_gradient(context, spec, 10.0, 7)
    assert context.cost["tokens"] == pytest.approx(3 * 2 * 4 * 10 * reads)
    assert context.cost["flops"] == pytest.approx(2 * 7 * 3 * 2 * 4 * 10 * passes)


@pytest.mark.parametrize("exact", [True, False])
def test_imitation_counts_every_pass_over_its_responses(tmp_path, exact):
    policy = {"steps": 3, "batch_size": 2, "draws": 4, "kl_coefficient": 0.0}
    spec = AdversarialSpec(policy=policy, batch_size=8, updates=2, warmup_updates=5, replay=16)
    context = Context(tmp_path)
    count_players(context, spec, length=10.0, parameters=7, learned=not exact)
    replayed, pairs = (0, 0) if exact else (16, 2 * (5 + 2 * 3) * 8)
    # to draw, to learn from and to score; then what the discriminator scores at the end and learns from
    assert context.cost["tokens"] == pytest.approx(10 * (3 * 24 + replayed + pairs))
    assert context.cost["flops"] == pytest.approx(2 * 7 * 10 * (24 * (1 + 3 + 1) + replayed + 3 * pairs))
