"""Adversarial imitation: a discriminator separates demonstrations from samples, the policy learns to fool it.

They take turns, as in a GAN (Ho and Ermon 2016, arXiv 1606.03476; here the dynamics are known and the policy
gradient is RLOO's). In each turn the policy draws samples, the discriminator takes some steps on pairs
(demonstration, sample) to one prompt, and the policy takes one step. Its reward is a transform of the logit,
`policy_reward`, a row of `theory.rewards.REWARD_TRANSFORMS`. If the logit were log demo - log policy, "airl"
would descend the reverse KL, "gail" the Jensen-Shannon divergence and "density_ratio" the forward KL. Each
has the demonstrator as its fixed point, where the logit is 0 and all responses have the same reward.

A learned logit differs from that. It lags behind the policy, because its negatives are the last `replay`
samples, drawn by several policies. It saturates where the two sides are easy to separate, and it is clipped.
So there is a control arm: `true_log_demo` puts the true logit in its place, in the same loop, with the same
prompts, random numbers and number of policy steps. What differs between the arms is due to the discriminator.

Instability is recorded, not hidden. Beside the columns of the policy gradient, `trajectory` has accuracy (on
held-out demonstrations and the evaluation's samples), discriminator_loss (nats; log 2 - JS at best),
mean_abs_logit (before clipping) and clipped (share of logits at the clip or beyond). Where the discriminator
saturates, a warning is given and training goes on.

What is left out: gradient penalties, spectral norms, discriminating prefixes.
"""

import copy
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from transformers import PreTrainedModel

from afd_study.errors import DataError, SpecError
from afd_study.methods.policy_gradient import Score, optimise
from afd_study.methods.responses import Prompts, responses, stream
from afd_study.methods.reward_model import accuracy, training_loss
from afd_study.methods.specs import AdversarialSpec
from afd_study.models.batches import Example, Pair, refuse_empty
from afd_study.models.distributed import is_main, map_across_ranks, rank_slice
from afd_study.models.reward import RewardModel, rewards
from afd_study.models.scoring import sequence_logprobs
from afd_study.models.training import Run, prepared, take_step
from afd_study.theory.objectives import discriminator_bce
from afd_study.theory.rewards import find

SATURATED = {"accuracy": 0.99, "clipped": 0.5}  # above these a logit hardly ranks the policy's samples


def imitate(
    lm: PreTrainedModel,
    prompts: Prompts,
    demonstrations: Mapping[str, Sequence[Example]],
    *,
    validation: Prompts,
    validation_demonstrations: Sequence[Example],
    discriminator: RewardModel | None,
    true_log_demo: Score | None = None,
    spec: AdversarialSpec,
    seed: int,
    eos_id: int,
    max_new_tokens: int,
    workspace: Path,
    progress: Callable[[int, str], None] = lambda step, note: None,
) -> tuple[PreTrainedModel, pd.DataFrame]:
    """Train `lm` until its samples pass for demonstrations; return it at its last step, with its trajectory.

    `kl` there is KL(policy || the policy at the start), nats a response; `proxy` is the mean reward under the
    discriminator of that moment, which is not comparable from row to row.

    Args:
        lm: where to start (pi_init, pi_SFT), trained in place.
        prompts: the prompts of training.
        demonstrations: prompt_id -> demonstrated answers, at least one to each of `prompts`, as the
            discriminator reads them (marks included).
        validation: the prompts of evaluations.
        validation_demonstrations: held out, to measure the discriminator on.
        discriminator: a model to be trained in place, or None with `true_log_demo`.
        true_log_demo: examples -> log demo of each whole response (examples,), nats; -inf is allowed.
        spec: both players' settings.
        seed: fixes prompts, draws and pairs.
        eos_id: ends a response.
        max_new_tokens: where a response is cut, tokens.
        workspace: folder for checkpoints, which hold both players and the replay: an interrupted run ends
            with the same bits.
        progress: called with the step and a note after each of the policy's optimiser steps.

    Raises:
        SpecError: both or neither of `discriminator` and `true_log_demo`. DataError: a prompt
        without demonstrations, none held out. TrainingError: a logit, loss or gradient of either
        player is no number; the batch is kept in the workspace.
    """
    refuse_empty(validation_demonstrations=validation_demonstrations)
    if discriminator is not None and true_log_demo is None:
        draw = partial(responses, lm, prompts, eos_id=eos_id, max_new_tokens=max_new_tokens)
        learner = _learner(discriminator, prompts, demonstrations, draw, spec, seed, workspace)
        logits, clip = learner.logits, spec.logit_clip
    elif discriminator is None and true_log_demo is not None:
        logits, clip, learner = partial(true_logits, true_log_demo, lm), spec.true_logit_clip, None
    else:
        raise SpecError("give either a discriminator to train or true_log_demo for the control arm, not both")
    opponent = Opponent(logits, clip, spec.policy_reward, validation_demonstrations, learner)
    return optimise(
        lm,
        prompts,
        reference=copy.deepcopy(lm),
        score=opponent.score,
        validation=validation,
        spec=spec.policy,
        seed=seed,
        workspace=workspace,
        opponent=opponent,
        eos_id=eos_id,
        max_new_tokens=max_new_tokens,
        progress=progress,
    )


def true_logits(log_demo: Score, lm: PreTrainedModel, examples: Sequence[Example]) -> np.ndarray:
    """Return log demo - log policy of whole responses, (examples,), nats: the best discriminator's logits."""
    return np.asarray(log_demo(examples), dtype=np.float64) - sequence_logprobs(lm, examples)


@dataclass
class Learner:
    """A discriminator in training: its optimiser, the demonstrations, and the policy's latest samples."""

    run: Run
    demonstrations: Mapping[str, Sequence[Example]]
    names: Sequence[str]
    draw: Callable[..., list[Example]]
    spec: AdversarialSpec
    seed: int
    workspace: Path
    replay: list[tuple[str, Example]] = field(default_factory=list)
    updates: int = 0

    def logits(self, examples: Sequence[Example]) -> np.ndarray:
        """Return the logits, (examples,); NaN for infinite ones, which clipping would hide."""
        assert isinstance(self.run.plain, RewardModel)
        scores = rewards(self.run.plain, examples)
        return np.where(np.isfinite(scores), scores, np.nan)

    def remember(self, prompt_ids: Sequence[str], examples: Sequence[Example]) -> None:
        """Keep the latest `replay` samples."""
        self.replay = [*self.replay, *zip(prompt_ids, examples, strict=True)][-self.spec.replay :]

    def learn(self, steps: int) -> None:
        """Take optimiser steps, each on random samples, paired with demonstrations to the same prompts."""
        settings = self.spec.discriminator()
        loss = partial(training_loss, "discriminator_bce", constant=settings.batch_size)
        for _ in range(steps):
            rng = np.random.default_rng([self.seed, 3, self.updates])
            size = settings.batch_size
            indices = rng.choice(len(self.replay), size, replace=len(self.replay) < size)
            pairs = []
            for prompt_id, response in (self.replay[i] for i in indices):
                answers = self.demonstrations[prompt_id]
                pairs.append(Pair(high=answers[int(rng.integers(len(answers)))], low=response))
            self.run.module.train()
            take_step(self.run, pairs[rank_slice()], loss, settings, self.updates, self.workspace)
            self.updates += 1
        self.run.whole()

    def warm_up(self) -> None:
        """Fill the replay with samples of the policy at the start, and learn from them."""
        draws = -(-self.spec.replay // len(self.names))
        samples = self.draw(self.names, draws=draws, seed=stream(self.seed, 4))
        order = np.random.default_rng([self.seed, 5]).permutation(len(samples))
        self.remember([self.names[i // draws] for i in order], [samples[i] for i in order])
        self.learn(self.spec.warmup_updates)

    def save(self, folder: Path) -> None:
        """Write all that the next step depends on."""
        self.run.save(folder)
        if is_main():
            (folder / "replay.json").write_text(json.dumps([self.updates, self.replay]))

    def load(self, folder: Path) -> None:
        """Restore what `save` wrote."""
        self.run.load(folder)
        self.run.whole()
        self.updates, replay = json.loads((folder / "replay.json").read_text())
        self.replay = [(name, Example(tuple(ids), start)) for name, (ids, start) in replay]


@dataclass
class Opponent:
    """The opponent in `policy_gradient`: its clipped logit is the reward. Without a learner, fixed."""

    logits: Score
    clip: float
    policy_reward: str
    held_out: Sequence[Example]
    learner: Learner | None

    def score(self, examples: Sequence[Example]) -> np.ndarray:
        """Return the policy's rewards, (examples,): the transform of the clipped logits, in float64."""
        clipped = torch.from_numpy(np.clip(self.logits(examples), -self.clip, self.clip))
        return find(self.policy_reward).reward(clipped).numpy()

    def begin(self) -> None:
        """Train the discriminator before the policy's first step."""
        if self.learner is not None:
            self.learner.warm_up()

    def observe(self, step: int, prompt_ids: Sequence[str], examples: Sequence[Example]) -> None:
        """Let the discriminator see the step's samples and take its steps."""
        if self.learner is not None:
            self.learner.remember(prompt_ids, examples)
            self.learner.learn(self.learner.spec.updates)

    def measure(self, step: int, examples: Sequence[Example]) -> dict[str, float]:
        """Return how the discriminator does on held-out demonstrations against samples; warn if saturated."""
        demo, policy = (map_across_ranks(each, self.logits) for each in (self.held_out, examples))
        both = np.abs(np.concatenate([demo, policy]))
        numbers = {
            "accuracy": accuracy("discriminator_bce", high=demo, low=policy),
            "discriminator_loss": balanced_loss(demo=demo, policy=policy),
            "mean_abs_logit": float(both.mean()),
            "clipped": float(np.mean(both >= self.clip)),
        }
        if self.learner is not None and any(numbers[name] >= limit for name, limit in SATURATED.items()):
            warnings.warn(
                f"the discriminator is saturated after step {step}: accuracy {numbers['accuracy']:.3f}, "
                f"{numbers['clipped']:.0%} of its logits at the clip of {self.clip}. Its reward hardly ranks "
                "the policy's samples: look at what gives demonstrations away, or lower learning_rate, "
                "updates or warmup_updates",
                RuntimeWarning,
                stacklevel=2,
            )
        return numbers

    def save(self, folder: Path) -> None:
        """Write the learner's state, if there is one."""
        if self.learner is not None:
            self.learner.save(folder)

    def load(self, folder: Path) -> None:
        """Restore what `save` wrote."""
        if self.learner is not None:
            self.learner.load(folder)


def balanced_loss(*, demo: np.ndarray, policy: np.ndarray) -> float:
    """Return the cross-entropy of logits in nats, both sides weighing one half; log 2 - JS at best."""
    high, low = torch.from_numpy(demo), torch.from_numpy(policy)
    return float(discriminator_bce(logits_on_demo=high, logits_on_policy=low))


def _learner(
    discriminator: RewardModel,
    prompts: Prompts,
    demonstrations: Mapping[str, Sequence[Example]],
    draw: Callable[..., list[Example]],
    spec: AdversarialSpec,
    seed: int,
    workspace: Path,
) -> Learner:
    """Check that every prompt has a demonstration, and prepare the discriminator's optimiser."""
    names = sorted(prompts)
    lacking = [name for name in names if not demonstrations.get(name)]
    if lacking:
        raise DataError(
            f"{len(lacking)} prompts have no demonstration, '{lacking[0]}' among them: "
            "take them out of prompts"
        )
    run = prepared(discriminator, spec.discriminator(), seed, betas=spec.betas)
    return Learner(run, demonstrations, names, draw, spec, seed, workspace / "discriminator")
