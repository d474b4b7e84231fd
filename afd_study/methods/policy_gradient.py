"""Policy gradient on any scorer: ascend E_policy[reward] - c KL(policy || reference), by RLOO or PPO-clip.

How the KL enters. Let K(y) be the sum over a response's prefixes of KL(policy || reference) between *whole*
next-token laws. By the chain rule its mean over the policy's responses is the KL between laws of responses
(`estimators.full_distribution_kl`); no log ratio of sampled tokens occurs. K depends on the policy twice,
through the laws and through the prefixes that y runs into, and so the gradient has two terms:

    grad E[r(y) - c K(y)] = E[(r(y) - c K(y)) grad log policy(y)] - c E[grad K(y)].

The first is RLOO with -c K(y) folded into the response's reward, the second differentiates the laws along
the sampled prefixes. Together they are unbiased. The first term's K is often dropped, which leaves out that
the policy can choose its prefixes. This gradient, unlike that of the sampled log ratio, keeps some noise at
the optimum, so the learning rate should fall.

PPO-clip takes several steps on the same responses, token by token, with that reward's leave-one-out
advantage held fixed. Its first step is RLOO's. In later steps the prefixes are still the old policy's: this
is the approximation that the clip bounds.

The *last* weights are returned. Picking the best of noisy evaluations would be a choice on noise, and would
hide how far a run went. Left out: a value network, discounting, normalised advantages, an adaptive KL.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from afd_study.errors import SpecError
from afd_study.methods.responses import Prompts, responses, stream
from afd_study.methods.specs import PolicyGradientSpec
from afd_study.models.batches import Batch, Example, collate, in_batches, refuse_empty, step_indices
from afd_study.models.distributed import is_main, map_across_ranks
from afd_study.models.policy import with_lora
from afd_study.models.scoring import TokenLogprobs, entropies, in_parts, response_laws, response_logprobs
from afd_study.models.specs import LoRASpec
from afd_study.models.training import Persistent, descend, refuse_infinite
from afd_study.records import checked
from afd_study.theory.estimators import full_distribution_kl
from afd_study.theory.objectives import leave_one_out, ppo_clip, rloo

Score = Callable[[Sequence[Example]], np.ndarray]  # the reward of each prompt with its response, high = good

MAX_TOKENS = 4096  # a batch of whole next-token laws: (tokens, vocabulary) in float64


class Group(NamedTuple):
    """The responses to one prompt of a step, their rewards, and for PPO what held when they were drawn."""

    examples: tuple[Example, ...]
    rewards: tuple[float, ...]
    advantages: tuple[float, ...] = ()
    logprobs: tuple[float, ...] = ()  # of all tokens, response by response


class Opponent(Persistent, Protocol):
    """A scorer that learns as the policy does (`adversarial`); a checkpoint holds it too."""

    def begin(self) -> None:
        """Get ready, before the policy's first step; not called where a checkpoint is resumed."""

    def observe(self, step: int, prompt_ids: Sequence[str], examples: Sequence[Example]) -> None:
        """See the step's responses before they are scored."""

    def measure(self, step: int, examples: Sequence[Example]) -> dict[str, float]:
        """Return further columns of the trajectory, given an evaluation's responses."""


class Anchored(nn.Module):
    """The module that is trained: a policy beside the reference that it is held to, which stays as it is."""

    def __init__(self, lm: PreTrainedModel, reference: PreTrainedModel) -> None:
        """Hold `reference` in a tuple, where neither an optimiser nor a checkpoint looks for parameters."""
        super().__init__()
        self.lm, self._held = lm, (reference.eval(),)

    @property
    def reference(self) -> PreTrainedModel:
        """The model that the policy is held to."""
        return self._held[0].to(self.lm.device)

    def forward(self, batch: Batch, kl: bool = True) -> tuple[TokenLogprobs, Tensor]:
        """Return the response tokens' log-probabilities, and K of each response (nats; 0 without `kl`)."""
        return in_parts(batch, self._with_kl if kl else self._without)

    def _without(self, batch: Batch) -> tuple[TokenLogprobs, Tensor]:
        return response_logprobs(self.lm, batch), batch.lengths.double() * 0

    def _with_kl(self, batch: Batch) -> tuple[TokenLogprobs, Tensor]:
        laws, logprobs = response_laws(self.lm, batch)
        with torch.no_grad():
            reference, _ = response_laws(self.reference, batch)
        steps = full_distribution_kl(policy=laws[:, None], demo=reference[:, None])
        return logprobs, steps.new_zeros(len(batch.ids)).index_add(0, logprobs.rows, steps)


def policy_loss(module: nn.Module, groups: Sequence[Group], spec: PolicyGradientSpec) -> Tensor:
    """Return a loss whose gradient is minus that of E[r] - c KL, estimated on groups.

    Its value means nothing. Dropout is off: the law that was sampled is the one that is differentiated.
    """
    module.eval()
    examples = [example for group in groups for example in group.examples]
    batch = collate(examples).to(next(module.parameters()).device)
    logprobs, kl = module(batch, kl=spec.kl_coefficient > 0)
    penalty, constant = spec.kl_coefficient * kl, spec.batch_size * spec.draws
    if spec.algorithm == "rloo":
        rewards = penalty.new_tensor([group.rewards for group in groups])
        whole = logprobs.per_response(len(examples)).view_as(rewards)
        climb = rloo(logprobs=whole, rewards=rewards - penalty.detach().view_as(rewards), constant=constant)
    else:
        advantages = penalty.new_tensor([each for group in groups for each in group.advantages])
        old = penalty.new_tensor([each for group in groups for each in group.logprobs])
        climb = ppo_clip(
            logprobs=logprobs.values.double(),
            old_logprobs=old,
            advantages=advantages[logprobs.rows],
            clip=spec.clip,
            constant=constant,
        )
    return climb + penalty.sum() / constant


def optimise(
    lm: PreTrainedModel,
    prompts: Prompts,
    *,
    reference: PreTrainedModel,
    score: Score,
    validation: Prompts,
    spec: PolicyGradientSpec,
    seed: int,
    eos_id: int,
    max_new_tokens: int,
    workspace: Path,
    lora: LoRASpec | None = None,
    opponent: Opponent | None = None,
    progress: Callable[[int, str], None] = lambda step, note: None,
) -> tuple[PreTrainedModel, pd.DataFrame]:
    """Optimise `lm` and return it with the run's path: table `trajectory`, from before the first step on.

    Its rows are evaluations on fresh responses to the validation prompts, the same random numbers each time:
    step, proxy (mean reward), kl (to the reference) and entropy (of the law of responses), both in nats a
    response and from whole next-token laws, and length (tokens, end mark included).

    Args:
        lm: the policy to start from, trained in place.
        prompts: the prompts of training.
        reference: another model, with the same ids; it is left as it is.
        score: examples -> rewards (examples,), float, finite. Called without gradients.
        validation: the prompts of evaluations.
        spec: algorithm, counts and rates.
        seed: fixes prompts and draws; each step draws with numbers of its own.
        eos_id: ends a response.
        max_new_tokens: where a response is cut, tokens.
        workspace: folder for checkpoints; a run that finds one there goes on from it, to the same bits.
        lora: train adapters, and merge them in the end.
        opponent: learns from each step's responses before they are scored.
        progress: called with the step and a note after each optimiser step.

    Raises:
        DataError: fewer prompts than a step takes, none for validation, or too long ones. SpecError: the
        reference is the policy itself, or `score` returns other than one number an example. TrainingError: a
        reward, loss or gradient is not finite; the responses are kept in the workspace.
    """
    if reference is lm:
        raise SpecError("reference is the policy itself, so their KL would stay 0: pass copy.deepcopy(lm)")
    refuse_empty(prompts=list(prompts), validation_prompts=list(validation))
    steps = _prompts_of_steps(prompts, spec, seed)
    adapters, module = with_lora(lm, lora, seed=seed), Anchored(lm, reference)
    draw = partial(responses, lm, eos_id=eos_id, max_new_tokens=max_new_tokens)
    run = _Run(module, prompts, validation, steps, score, opponent, spec, seed, draw, workspace)
    beside: dict[str, Persistent] = {"trajectory": run}
    beside |= {} if opponent is None else {"opponent": opponent}
    descend(
        module,
        run.batch,
        loss=lambda module, groups: policy_loss(module, groups, spec),
        spec=spec.optimiser(),
        seed=seed,
        evaluate=run.evaluate,
        workspace=workspace,
        keep="last",
        draws=True,
        beside=beside,
        progress=progress,
    )
    table = checked("trajectory", pd.DataFrame(run.rows))
    return lm if adapters is None else adapters.merge_and_unload(), table


def _prompts_of_steps(prompts: Prompts, spec: PolicyGradientSpec, seed: int) -> list[list[str]]:
    """Return the names of each step's prompts, whatever the order of `prompts`."""
    names = sorted(prompts)
    lengths = [len(prompts[name]) for name in names]
    plan = step_indices(lengths, batch_size=spec.batch_size, steps=spec.steps, seed=seed)
    return [[names[i] for i in indices] for indices in plan]


@dataclass
class _Run:
    """The arguments of `optimise`, the batch of responses that PPO goes over again, and the trajectory."""

    module: Anchored
    prompts: Prompts
    validation: Prompts
    steps: Sequence[Sequence[str]]  # the names of each step's prompts
    score: Score
    opponent: Opponent | None
    spec: PolicyGradientSpec
    seed: int
    draw: Callable[..., list[Example]]
    workspace: Path
    groups: Sequence[Group] = ()
    rows: list[dict[str, float]] = field(default_factory=list)

    def batch(self, step: int, share: slice) -> Sequence[Group]:
        """Return the responses for an optimiser step: fresh ones, or PPO's of the step before."""
        if step == 0:
            if self.opponent is not None:
                self.opponent.begin()
            self.rows.append(_row(self, 0))
        if step % self.spec.epochs == 0:  # true at every checkpoint, so a checkpoint need not hold the groups
            now = step // self.spec.epochs
            self.groups = _collect(self, self.steps[now], now, share)
        return self.groups

    def evaluate(self, module: nn.Module, step: int) -> float:
        """Note a row of the trajectory and return minus the objective."""
        self.rows.append(_row(self, step // self.spec.epochs))
        return self.spec.kl_coefficient * self.rows[-1]["kl"] - self.rows[-1]["proxy"]

    def save(self, folder: Path) -> None:
        """Write the trajectory, so that a resumed run has it all."""
        if is_main():
            (folder / "rows.json").write_text(json.dumps(self.rows))

    def load(self, folder: Path) -> None:
        """Restore what `save` wrote."""
        self.rows = json.loads((folder / "rows.json").read_text())


def _collect(run: _Run, names: Sequence[str], step: int, share: slice) -> list[Group]:
    """Draw and score a step's responses, all processes together; return this one's share of the groups."""
    draws = run.spec.draws
    examples = run.draw(run.prompts, names, draws=draws, seed=stream(run.seed, 1, step))
    if run.opponent is not None:
        run.opponent.observe(step, [name for name in names for _ in range(draws)], examples)
    rewards = _scored(run, examples, step)
    cuts = [slice(i, i + draws) for i in range(0, len(examples), draws)]
    groups = [Group(tuple(examples[cut]), tuple(rewards[cut].tolist())) for cut in cuts[share]]
    return groups if run.spec.algorithm == "rloo" else [_remembered(run, group) for group in groups]


@torch.no_grad()
def _remembered(run: _Run, group: Group) -> Group:
    """Add what PPO holds fixed: the advantages and log-probabilities of the policy that drew the group."""
    module = run.module.eval()
    logprobs, kl = module(collate(group.examples).to(module.lm.device), kl=run.spec.kl_coefficient > 0)
    rewards = kl.new_tensor(group.rewards) - run.spec.kl_coefficient * kl
    advantages = rewards - leave_one_out(rewards)
    return group._replace(advantages=tuple(advantages.tolist()), logprobs=tuple(logprobs.values.tolist()))


@torch.no_grad()
def _row(run: _Run, step: int) -> dict[str, float]:
    """Return a row of the trajectory after `step` steps."""
    module = run.module.eval()
    draws, seed = run.spec.evaluation_draws, stream(run.seed, 2)  # the same at every evaluation
    examples = run.draw(run.validation, sorted(run.validation), draws=draws, seed=seed)
    sums = partial(in_batches, max_tokens=MAX_TOKENS, device=module.lm.device)
    kls = map_across_ranks(examples, partial(sums, run=lambda batch: module(batch)[1]))
    entropy = map_across_ranks(examples, partial(sums, run=partial(entropies, module.lm)))
    length = np.mean([len(example.ids) - example.start for example in examples])
    row = {"step": step, "proxy": _scored(run, examples, step).mean(), "kl": kls.mean()}
    row |= {"length": length, "entropy": entropy.mean()}
    numbers = {name: float(value) for name, value in row.items()} | {"step": step}
    return numbers if run.opponent is None else numbers | run.opponent.measure(step, examples)


def _scored(run: _Run, examples: Sequence[Example], step: int) -> np.ndarray:
    """Return rewards, (examples,); TrainingError with the examples kept if one is not finite."""
    with torch.no_grad():
        rewards = np.asarray(map_across_ranks(examples, run.score), dtype=np.float64)
    if rewards.shape != (len(examples),):
        raise SpecError(
            f"score gave shape {rewards.shape} for {len(examples)} examples: return one number each"
        )
    broken = rewards[~np.isfinite(rewards)]
    if len(broken):
        refuse_infinite("reward", float(broken[0]), examples, step, run.workspace)
    return rewards
