"""Adversarial imitation: the demonstrator is its fixed point, and its instability is recorded."""

import json
import math
import warnings

import numpy as np
import pytest
import torch

from afd_study.errors import DataError, SpecError
from afd_study.methods.adversarial import Learner, Opponent, imitate, true_logits
from afd_study.methods.policy_gradient import Anchored
from afd_study.methods.responses import responses
from afd_study.methods.specs import AdversarialSpec, PolicyGradientSpec
from afd_study.models.batches import collate
from afd_study.models.reward import RewardModel
from afd_study.models.scoring import sequence_logprobs
from afd_study.models.training import TrainingError
from afd_study.theory.divergences import divergence

DESCENDS = {"airl": "reverse_kl", "gail": "jensen_shannon", "density_ratio": "forward_kl"}
COLUMNS = [
    "step",
    "proxy",
    "kl",
    "length",
    "entropy",
    "accuracy",
    "discriminator_loss",
    "mean_abs_logit",
    "clipped",
]


def settings(policy_reward="airl", *, policy=None, **changed):
    options = {
        "steps": 6,
        "batch_size": 1,
        "draws": 16,
        "learning_rate": 5e-3,
        "kl_coefficient": 0.0,
        "evaluate_every": 2,
        "checkpoint_every": 2,
        "evaluation_draws": 64,
    }
    players = {"batch_size": 16, "replay": 64, "warmup_updates": 10, "updates": 2, "learning_rate": 5e-3}
    return AdversarialSpec(
        policy=PolicyGradientSpec(**{**options, **(policy or {})}),
        policy_reward=policy_reward,
        **{**players, **changed},
    )


@pytest.fixture
def run(listed, tmp_path):
    """Return a function that has a fresh policy imitate model 2: (policy, trajectory)."""
    answers = responses(
        listed.model(2), listed.prompts, ["p"], draws=256, seed=7, eos_id=listed.eos_id, max_new_tokens=3
    )

    def go(
        name="run",
        *,
        spec=None,
        start=1,
        seed=0,
        log_demo=None,
        true=False,
        progress=None,
        demonstrations=None,
    ):
        if true:
            log_demo = log_demo or (lambda examples: sequence_logprobs(listed.model(2), examples))
        return imitate(
            listed.model(start),
            listed.prompts,
            {"p": answers[:192]} if demonstrations is None else demonstrations,
            validation=listed.prompts,
            validation_demonstrations=answers[192:],
            discriminator=None if log_demo else RewardModel(listed.model(5).base_model),
            true_log_demo=log_demo,
            spec=spec or settings(),
            seed=seed,
            eos_id=listed.eos_id,
            max_new_tokens=3,
            workspace=tmp_path / name,
            progress=progress or (lambda step, note: None),
        )

    return go


def gap(listed, policy, name="reverse_kl"):
    return float(divergence(name, demo=listed.law(listed.model(2)), policy=listed.law(policy)))


@pytest.mark.parametrize("policy_reward", DESCENDS)
def test_with_the_true_logit_the_policy_goes_to_the_demonstrator(listed, run, policy_reward):
    before = {name: gap(listed, listed.model(1), name) for name in ("reverse_kl", DESCENDS[policy_reward])}
    assert before["reverse_kl"] > 0.5
    long = {"steps": 100, "draws": 128, "learning_rate": 3e-3, "evaluate_every": 50, "checkpoint_every": 50}
    policy, path = run(spec=settings(policy_reward, policy=long), true=True)
    for name, start in before.items():
        assert gap(listed, policy, name) < 0.1 * start
    # the true logit shrinks as the two laws approach each other
    assert path["mean_abs_logit"].iloc[-1] < 0.5 * path["mean_abs_logit"].iloc[0]
    assert path["discriminator_loss"].iloc[-1] > path["discriminator_loss"].iloc[0]


@pytest.mark.parametrize("policy_reward", DESCENDS)
def test_the_demonstrator_is_a_fixed_point_of_each_reward(listed, policy_reward):
    """The exact policy gradient of each reward vanishes there, and not elsewhere."""

    def slope(lm):
        arm = Opponent(
            lambda examples: true_logits(lambda e: sequence_logprobs(listed.model(2), e), lm, examples),
            30.0,
            policy_reward,
            listed.examples,
            None,
        )
        rewards = torch.from_numpy(arm.score(listed.examples))
        logprobs = Anchored(lm, listed.model(0))(collate(listed.examples), kl=False)[0].per_response(15)
        value = (logprobs.exp() * rewards).sum()
        return max(float(part.abs().max()) for part in torch.autograd.grad(value, list(lm.parameters())))

    assert slope(listed.model(2)) < 1e-4 < 0.05 < slope(listed.model(1))


def test_a_learned_discriminator_leads_part_of_the_way(listed, run):
    before = gap(listed, listed.model(1))
    long = {"steps": 80, "draws": 64, "evaluate_every": 40, "checkpoint_every": 40, "learning_rate": 1e-3}
    spec = settings(policy=long, batch_size=64, replay=256, warmup_updates=60, updates=3, learning_rate=3e-3)
    policy, path = run(spec=spec)
    assert gap(listed, policy) < 0.4 * before
    assert path["accuracy"].iloc[-1] < path["accuracy"].iloc[0] - 0.1


def test_the_record_is_complete_and_true(listed, run):
    policy, path = run(spec=settings(policy={"steps": 5}), true=True)
    assert list(path.columns) == COLUMNS and path["step"].tolist() == [0, 2, 4, 5]
    assert np.isfinite(path.to_numpy(dtype=float)).all()
    _, learned = run("learned", spec=settings(policy={"steps": 5}))
    assert list(learned.columns) == COLUMNS and np.isfinite(learned.to_numpy(dtype=float)).all()
    # begins after the warm-up, at the policy that it started from
    assert learned["kl"].iloc[0] == pytest.approx(0, abs=1e-9) and learned["mean_abs_logit"].iloc[0] > 0
    law, demo = listed.law(listed.model(1)), listed.law(listed.model(2))
    logit = demo.log() - law.log()
    expected = float((demo * logit.abs()).sum() + (law * logit.abs()).sum()) / 2
    assert path["mean_abs_logit"].iloc[0] == pytest.approx(expected, rel=0.25)
    best = math.log(2) - float(divergence("jensen_shannon", demo=demo, policy=law))
    assert path["discriminator_loss"].iloc[0] == pytest.approx(best, abs=0.1)
    right = float(demo[logit > 0].sum() + law[logit < 0].sum()) / 2
    assert path["accuracy"].iloc[0] == pytest.approx(right, abs=0.1)


def test_the_discriminator_learns_from_the_latest_samples(run, monkeypatch):
    seen = []
    monkeypatch.setattr(Learner, "learn", lambda self, steps: seen.append((steps, list(self.replay))))
    run(spec=settings(policy={"steps": 3, "evaluate_every": 3, "checkpoint_every": 3}, replay=40))
    assert [steps for steps, _ in seen] == [10, 2, 2, 2]  # the warm-up, then as many a step
    replays = [replay for _, replay in seen]
    assert all(len(replay) == 40 for replay in replays)
    for before, after in zip(replays, replays[1:], strict=False):
        assert after[:24] == before[16:] and after[24:] != before[24:]  # 16 fresh ones a step


def test_both_arms_meet_the_same_prompts_and_numbers(listed, run):
    """Before the first step both arms have one policy, so their first evaluations draw the same samples."""
    _, true = run("a", spec=settings(policy={"steps": 1}), true=True)
    _, learned = run("b", spec=settings(policy={"steps": 1}))
    same = ["kl", "length", "entropy"]
    assert true.loc[0, same].tolist() == learned.loc[0, same].tolist()
    assert true.loc[0, "proxy"] != learned.loc[0, "proxy"]


def test_logits_are_clipped_and_then_transformed():
    logits = np.array([-40.0, -2.0, 0.0, 3.0, 9.0])
    expected = {
        "airl": [-5.0, -2.0, 0.0, 3.0, 5.0],
        "gail": [math.log1p(math.exp(x)) for x in (-5, -2, 0, 3, 5)],
        "density_ratio": [math.exp(x) for x in (-5, -2, 0, 3, 5)],
    }
    for name, rewards in expected.items():
        arm = Opponent(lambda examples: logits, 5.0, name, [], None)
        assert arm.score([None] * 5).tolist() == pytest.approx(rewards, rel=1e-12)


def test_a_response_that_the_demonstrator_never_gives_is_as_bad_as_the_clip_says():
    arm = Opponent(lambda examples: np.array([-np.inf, 1.0]), 30.0, "airl", [], None)
    assert arm.score([None] * 2).tolist() == [-30.0, 1.0]


def test_a_saturated_discriminator_warns_and_training_goes_on(run, monkeypatch):
    def far(examples):
        return np.where(np.arange(len(examples)) % 2, 90.0, -90.0)

    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        run("well", true=True)
        _, path = run("control", log_demo=far)  # no warning: the exact logit is not learned
        assert (path["clipped"] == 1).all()
    monkeypatch.setattr(Learner, "logits", lambda learner, examples: far(examples))
    with pytest.warns(RuntimeWarning, match=r"saturated after step \d: accuracy .*100% of its logits"):
        _, path = run()
    assert path["step"].tolist() == [0, 2, 4, 6] and (path["clipped"] == 1).all()


def test_a_logit_that_is_no_number_stops_and_keeps_its_batch(listed, run, tmp_path):
    calls = []

    def broken(examples):
        calls.append(examples)
        logprobs = sequence_logprobs(listed.model(2), examples)
        return logprobs * (np.nan if len(calls) == 4 else 1)  # evaluation: score, two sides; the first step

    with pytest.raises(TrainingError, match=r"the reward is nan at step 0: .*batch-0.json"):
        run(log_demo=broken)
    assert len(json.loads((tmp_path / "run" / "batch-0.json").read_text())) == 16


def test_a_broken_discriminator_stops_before_it_reaches_its_weights(listed, run, monkeypatch, tmp_path):
    plain, steps = RewardModel.forward, []

    def forward(self, batch):
        steps.append(self.training)
        return plain(self, batch) + (torch.inf if sum(steps) == 4 else 0)

    monkeypatch.setattr(RewardModel, "forward", forward)
    with pytest.raises(TrainingError, match="the loss is nan at step 3"):
        run()
    assert len(json.loads((tmp_path / "run" / "discriminator" / "batch-3.json").read_text())) == 16


def weights(lm):
    return torch.cat([weight.detach().flatten() for weight in lm.parameters()])


@pytest.mark.parametrize("true", [True, False])
def test_equal_seeds_give_equal_bits(run, true):
    (a, path), (b, again), (c, other) = (
        run(name, seed=seed, true=true) for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert torch.equal(weights(a), weights(b)) and path.equals(again)
    assert not torch.equal(weights(a), weights(c)) and not path.equals(other)


class Killed(Exception):
    pass


@pytest.mark.parametrize("true", [True, False])
def test_an_interrupted_run_ends_with_the_same_bits(run, true):
    expected, path = run("whole", true=true)

    def stop(step, note):
        if step == 5:
            raise Killed

    with pytest.raises(Killed):
        run("killed", true=true, progress=stop)
    seen = []
    found, resumed = run("killed", true=true, progress=lambda step, note: seen.append(step))
    assert seen[0] == 5
    assert torch.equal(weights(found), weights(expected)) and resumed.equals(path)


def test_what_cannot_be_used_is_refused(listed, run):
    with pytest.raises(DataError, match="1 prompts have no demonstration, 'p' among them"):
        run(demonstrations={"q": listed.examples})
    options = {
        "validation": listed.prompts,
        "validation_demonstrations": listed.examples,
        "spec": settings(),
        "seed": 0,
        "eos_id": listed.eos_id,
        "max_new_tokens": 3,
        "workspace": None,
    }
    for both in (
        {"discriminator": None},
        {"discriminator": RewardModel(listed.model(5)), "true_log_demo": len},
    ):
        with pytest.raises(SpecError, match="not both"):
            imitate(listed.model(1), listed.prompts, {"p": listed.examples}, **{**options, **both})
    with pytest.raises(DataError, match="no validation demonstrations"):
        imitate(
            listed.model(1),
            listed.prompts,
            {},
            **{**options, "discriminator": None, "validation_demonstrations": []},
        )
    with pytest.raises(ValueError, match="replay=8 must hold at least a batch of 16"):
        settings(replay=8)
    with pytest.raises(ValueError, match="policy_reward"):
        settings("fairl")
