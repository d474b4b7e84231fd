"""DPO and SPIN: the loss at the reference, its gradient's direction, its optimum, and how both sides move."""

import copy

import numpy as np
import pytest
import torch

from afd_study.errors import DataError, SpecError
from afd_study.methods import direct
from afd_study.models.batches import Pair, join
from afd_study.models.scoring import sequence_logprobs

EOS = 1


def pairs_of(n=32, seed=0):
    """Preferred answers say words 3 to 9, rejected ones words 15 to 21; both of several lengths."""
    rng = np.random.default_rng(seed)
    prompts = [rng.integers(3, 27, size=3).tolist() for _ in range(n)]

    def answers(low, high):
        return [[*rng.integers(low, high, size=rng.integers(1, 8)).tolist(), EOS] for _ in range(n)]

    sides = [join(prompts, answers(*words), eos_id=None, context=32) for words in ((3, 10), (15, 22))]
    return [Pair(*both) for both in zip(*sides, strict=True)]


def fitted(lm, spec, folder, *, beta=0.5, pairs=None, **settings):
    both = pairs_of() if pairs is None else pairs
    return direct.fit(
        copy.deepcopy(lm),
        both,
        validation=pairs_of(8, seed=1),
        beta=beta,
        training=spec(**settings),
        seed=0,
        workspace=folder,
    )


def test_it_begins_at_log_two_with_the_reference_s_own_log_probabilities(lm, spec, tmp_path):
    _, history = fitted(
        lm, spec, tmp_path, steps=1, evaluate_every=1, checkpoint_every=1, learning_rate=1e-12
    )
    held_out = pairs_of(8, seed=1)
    for side, column in (("high", "preferred_logprob"), ("low", "rejected_logprob")):
        expected = sequence_logprobs(lm, [getattr(pair, side) for pair in held_out]).mean()
        assert history[column].tolist() == pytest.approx([expected] * 2, abs=1e-4)
    assert history["step"].tolist() == [0, 1]
    assert history["validation_loss"].tolist() == pytest.approx([np.log(2)] * 2, abs=1e-6)


def test_it_tells_the_sides_apart_and_reports_both(lm, spec, tmp_path):
    policy, history = fitted(lm, spec, tmp_path, steps=40)
    best = history.loc[history["validation_loss"].idxmin()]
    held_out = pairs_of(8, seed=1)
    high, low = (sequence_logprobs(policy, [pair[side] for pair in held_out]).mean() for side in (0, 1))
    assert best["validation_loss"] < 0.3 < np.log(2)
    assert (best["preferred_logprob"], best["rejected_logprob"]) == pytest.approx((high, low), abs=1e-4)
    gap = history["preferred_logprob"] - history["rejected_logprob"]
    assert gap.iloc[-1] > gap.iloc[0] + 1


def test_a_step_follows_the_gradient_of_the_pairs_own_implicit_rewards(lm, spec, tmp_path):
    """Against a loss written out by hand for each pair: any swap of sides, sign or reference would show."""
    both = pairs_of(8)
    mover = copy.deepcopy(lm)
    with torch.no_grad():  # a policy away from its reference, so that rewards are not all zero
        for weight in mover.parameters():
            weight.add_(0.05 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    items = direct.referred(lm, both)
    own = sequence_logprobs(mover, [p.high for p in both] + [p.low for p in both])
    loss = float(direct.pair_loss(torch.from_numpy(own), items, 0.3, 8))
    rewards = [
        0.3 * ((own[i] - items[i].reference_preferred) - (own[8 + i] - items[i].reference_rejected))
        for i in range(8)
    ]
    assert loss == pytest.approx(np.mean([np.log1p(np.exp(-reward)) for reward in rewards]), abs=1e-9)
    assert np.ptp(rewards) > 1e-3, "the pairs must differ for the test to see a mix-up"


def test_gradients_do_not_depend_on_how_a_step_is_cut(lm, spec, tmp_path, gradients, assert_same_gradient):
    # not clipped: clipping would hide a wrong scale
    short = {"steps": 1, "evaluate_every": 1, "checkpoint_every": 1, "max_grad_norm": 1e9}
    for micro in (None, 1, 3):
        fitted(lm, spec, tmp_path / str(micro), micro_batch_size=micro, **short)
    whole, *parts = (each[0] for each in gradients)
    for part in parts:
        assert_same_gradient(part, whole)


def test_the_weaker_the_strength_the_further_it_goes(lm, spec, tmp_path):
    """One pair, many steps: the optimum's log ratio grows as 1 / beta."""
    moved = []
    for beta in (1.0, 0.1):
        _, history = fitted(lm, spec, tmp_path / str(beta), beta=beta, steps=60, learning_rate=3e-3)
        gap = history["preferred_logprob"] - history["rejected_logprob"]
        moved.append(gap.iloc[-1] - gap.iloc[0])
    assert moved[1] > 2 * moved[0] > 0


def test_a_killed_run_ends_with_the_uninterrupted_one_s_bits(lm, spec, tmp_path):
    whole, history = fitted(lm, spec, tmp_path / "whole")

    def stop(step, note):
        if step == 25:
            raise KeyboardInterrupt

    options = {"validation": pairs_of(8, seed=1), "beta": 0.5, "training": spec(), "seed": 0}
    with pytest.raises(KeyboardInterrupt):
        direct.fit(copy.deepcopy(lm), pairs_of(), workspace=tmp_path / "cut", progress=stop, **options)
    resumed, again = direct.fit(copy.deepcopy(lm), pairs_of(), workspace=tmp_path / "cut", **options)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))
    assert again.equals(history)


def test_bad_input_is_named(lm, spec, tmp_path):
    with pytest.raises(DataError, match="no validation pairs"):
        direct.fit(lm, pairs_of(), validation=[], beta=1.0, training=spec(), seed=0, workspace=tmp_path)
    with pytest.raises(DataError, match="do not fill a batch"):
        fitted(lm, spec, tmp_path, pairs=pairs_of(4))
    with pytest.raises(SpecError, match="beta"):
        fitted(lm, spec, tmp_path, beta=0.0)


def test_every_evaluation_s_policy_is_handed_out_and_a_resumed_run_hands_out_the_rest(lm, spec, tmp_path):
    both = {"validation": pairs_of(8, seed=1), "beta": 0.5, "training": spec(steps=25), "seed": 0}

    def kept_by(folder, **options):
        kept = {}

        def keep(policy, step):
            kept[step] = [weight.detach().clone() for weight in policy.parameters()]

        policy, history = direct.fit(
            copy.deepcopy(lm), pairs_of(), workspace=tmp_path / folder, keep=keep, **both, **options
        )
        return kept, policy, history

    kept, policy, history = kept_by("whole")
    assert list(kept) == [10, 20, 25] == history["step"].tolist()[1:]
    best = history.loc[history["step"] > 0].set_index("step")["validation_loss"].idxmin()
    assert all(torch.equal(a, b) for a, b in zip(kept[best], policy.parameters(), strict=True))
    assert not torch.equal(kept[10][0], kept[25][0])

    def stop(step, note):
        if step == 15:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kept_by("cut", progress=stop)
    rest, _, again = kept_by("cut")
    assert list(rest) == [20, 25] and again.equals(history)
    assert all(torch.equal(a, b) for a, b in zip(rest[20], kept[20], strict=True))


def test_adapters_are_merged_in_what_is_handed_out_and_training_goes_on_with_them(lm, spec, tmp_path):
    from afd_study.models.specs import LoRASpec

    options = {"validation": pairs_of(8, seed=1), "beta": 0.5, "training": spec(), "seed": 0}
    kept = {}
    runs = [
        direct.fit(
            copy.deepcopy(lm),
            pairs_of(),
            workspace=tmp_path / str(keep),
            lora=LoRASpec(r=4),
            keep=(lambda policy, step: kept.update({step: policy})) if keep else None,
            **options,
        )
        for keep in (True, False)
    ]
    names = [name for name, _ in lm.named_parameters()]
    assert all([name for name, _ in policy.named_parameters()] == names for policy in kept.values())
    weights = [list(policy.parameters()) for policy, _ in runs]
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))
    assert runs[0][1].equals(runs[1][1])


def test_the_squared_loss_begins_at_one_and_asks_for_a_margin_of_one(lm, spec, tmp_path):
    """The logistic loss pushes on where the squared one has what it asks for."""
    gaps = {}
    for loss in ("logistic", "squared"):
        _, history = direct.fit(
            copy.deepcopy(lm),
            pairs_of(),
            validation=pairs_of(),
            beta=0.5,
            loss=loss,
            training=spec(steps=60),
            seed=0,
            workspace=tmp_path / loss,
        )
        assert history["validation_loss"].iloc[0] == pytest.approx(
            {"logistic": np.log(2), "squared": 1}[loss]
        )
        assert history["validation_loss"].iloc[-1] < 0.5 * history["validation_loss"].iloc[0]
        gap = history["preferred_logprob"] - history["rejected_logprob"]
        gaps[loss] = 0.5 * (gap.iloc[-1] - gap.iloc[0])
    assert gaps["squared"] == pytest.approx(1, abs=0.3) and gaps["logistic"] > 1.5 * gaps["squared"]
