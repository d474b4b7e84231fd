"""All divergences, estimators and reward transforms side by side, as tables: what chapter 2 draws and prints.

Nothing is defined here. Each row compares what one record of `DIVERGENCES`, `KL_ESTIMATORS` or
`REWARD_TRANSFORMS` says with what enumeration gives.
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from numpy.typing import ArrayLike
from torch import Tensor

from afd_study.theory import checks, estimators, fits, rewards
from afd_study.theory.divergences import DIVERGENCES, divergence, variational_bound
from afd_study.theory.listing import slope, worst
from afd_study.theory.token_mdp import TokenMDP


def divergences(*, demo: ArrayLike, policy: ArrayLike) -> pd.DataFrame:
    """Return every divergence between two laws: its value, with the roles swapped, and its variational bound.

    Columns: divergence, value, swapped, bound (at the optimal critic), loose (at the critic of half the log
    ratio: below the value). Laws need full support.
    """
    demo, policy = checks.law("demo", demo), checks.law("policy", policy)
    ratio, rows = demo.log() - policy.log(), []
    weights = {"weights_on_demo": demo, "weights_on_policy": policy}
    for name, record in DIVERGENCES.items():
        row: dict[str, Any] = {"divergence": name}
        row["value"] = divergence(name, demo=demo, policy=policy).item()
        row["swapped"] = divergence(name, demo=policy, policy=demo).item()
        for column, share in (("bound", 1.0), ("loose", 0.5)):
            # total variation's critic is a step, which halving would not move; its activation is smooth
            critic = record.optimal_critic(ratio) if share == 1 else record.critic_activation(share * ratio)
            row[column] = variational_bound(
                name, critic_on_demo=critic, critic_on_policy=critic, **weights
            ).item()
        rows.append(row)
    return pd.DataFrame(rows)


def anatomy(*, log_ratio: ArrayLike) -> pd.DataFrame:
    """Return what each divergence is made of, along a range of log ratios L, with u = e^L.

    Columns: divergence, part, x, y. Parts: "generator" f(u) at u, "conjugate" f*(t) at t = f'(u), "critic"
    f'(u) at L, and "reward" at L.
    """
    ratio, rows = checks.finite("log_ratio", log_ratio), []
    for name, record in DIVERGENCES.items():
        critic = record.optimal_critic(ratio)
        parts = {
            "generator": (ratio.exp(), record.generator(ratio.exp())),
            "conjugate": (critic, record.conjugate(critic)),
            "critic": (ratio, critic),
            "reward": (ratio, record.policy_reward(ratio)),
        }
        for part, (x, y) in parts.items():
            rows.append(pd.DataFrame({"divergence": name, "part": part, "x": x.tolist(), "y": y.tolist()}))
    return pd.concat(rows, ignore_index=True)


def legendre_gaps(*, log_ratio: ArrayLike) -> dict[str, float]:
    """Return for each divergence the largest gap between f*(t) and sup over u of u t - f(u).

    The supremum is taken over the ratios u = e^L given, which contain the maximiser of each t = f'(u).
    """
    ratio, gaps = checks.finite("log_ratio", log_ratio), {}
    u = ratio.exp()
    for name, record in DIVERGENCES.items():
        critic = record.optimal_critic(ratio)
        reached = (u * critic[:, None] - record.generator(u)).max(-1).values
        gaps[name] = worst(reached, record.conjugate(critic))
    return gaps


def reward_gaps(world: TokenMDP, *, demo: ArrayLike, policy: ArrayLike) -> pd.DataFrame:
    """Return how far the policy gradient of each reward is from the descent of its divergence.

    Both are taken in the logits of the tabular `policy`. Columns: divergence, size (the largest entry of the
    gradient), gap (the largest difference).
    """
    logits = world.checked("policy", policy).log().requires_grad_()
    demo, law = world.response_law(demo), world.response_law(logits.softmax(-1))
    rows = []
    for name, record in DIVERGENCES.items():
        descent = -slope(divergence(name, demo=demo, policy=law), logits)
        reward = record.policy_reward(demo.log() - law.log()).detach()
        theorem = world.policy_gradient(logits.detach().softmax(-1), rewards=reward)
        size = descent.abs().max().item()
        rows.append({"divergence": name, "size": size, "gap": worst(theorem, descent)})
    return pd.DataFrame(rows)


def kl_estimates(world: TokenMDP, *, demo: ArrayLike, policy: ArrayLike) -> pd.DataFrame:
    """Return mean and standard deviation of each estimate of KL(policy || demo) from one sample, exact.

    Columns: estimator, exact (the KL), mean, deviation. The variational one, at the best critic, takes one
    sample of the demonstrator too; `full_distribution` sees all next-token laws at the sampled prefixes.
    """
    demo, policy = world.checked("demo", demo), world.checked("policy", policy)
    demo_law, law = world.response_law(demo), world.response_law(policy)
    ratio = demo_law.log() - law.log()
    at, mask = world.states().clamp(min=0), (world.responses() >= 0).double()
    samples = {name: record.estimate(ratio) for name, record in estimators.KL_ESTIMATORS.items()}
    samples["full_distribution"] = estimators.full_distribution_kl(
        policy=policy.log()[at], demo=demo.log()[at], mask=mask
    )
    exact = divergence("reverse_kl", demo=demo_law, policy=law).item()
    rows = []
    for name, values in samples.items():
        mean, variance = estimators.mean_and_variance(values, law=law)
        rows.append((name, exact, mean.item(), variance.sqrt().item()))
    record = DIVERGENCES["reverse_kl"]
    critic = record.optimal_critic(ratio)
    gain, spread = estimators.mean_and_variance(critic, law=demo_law)
    loss, more = estimators.mean_and_variance(record.conjugate(critic), law=law)
    rows.append(("variational", exact, (gain - loss).item(), (spread + more).sqrt().item()))
    return pd.DataFrame(rows, columns=["estimator", "exact", "mean", "deviation"])


def transforms(*, log_ratio: ArrayLike) -> pd.DataFrame:
    """Return each reward transform and its slope in the logit L: columns L, reward, slope, transform.

    Where the slope is negative it descends no divergence.
    """
    at, rows = checks.finite("log_ratio", log_ratio), []
    for name, record in rewards.REWARD_TRANSFORMS.items():
        logit = at.clone().requires_grad_()
        value = record.reward(logit)
        columns = {"L": at.tolist(), "reward": value.tolist(), "slope": slope(value.sum(), logit).tolist()}
        rows.append(pd.DataFrame(columns).assign(transform=name))
    return pd.concat(rows, ignore_index=True)


def transform_gradients(*, demo: ArrayLike, policy: ArrayLike) -> dict[str, Tensor]:
    """Return the policy gradient of each reward transform in the logits of a law, logit held fixed.

    `demo` and `policy` are laws over the same outcomes, (outcomes,). For comparison the result also holds
    the descents of the two KLs, under their names.
    """
    demo = checks.law("demo", demo)
    logits = checks.law("policy", policy).log().requires_grad_()
    law = logits.softmax(-1)
    ratio = (demo.log() - law.log()).detach()
    gradients = {
        name: slope((law * record.reward(ratio)).sum(), logits)
        for name, record in rewards.REWARD_TRANSFORMS.items()
    }
    for name in ("forward_kl", "reverse_kl"):
        gradients[name] = -slope(divergence(name, demo=demo, policy=law), logits)
    return gradients


def moved_gaussians(
    *, grid: ArrayLike, demo: ArrayLike, means: Sequence[float], deviations: Sequence[float]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return Gaussian policies at every mean and width, and each one's divergences from a demonstrator.

    Returns:
        laws: columns deviation, mean, x, probability; and values: deviation, mean, divergence, value.
    """
    grid, laws, values = checks.finite("grid", grid), [], []
    for deviation in deviations:
        for mean in means:
            law = fits.mixture(grid=grid, means=[mean], deviations=[deviation], weights=[1.0])
            place: dict[str, Any] = {"deviation": float(deviation), "mean": float(mean)}
            laws.append(pd.DataFrame(place | {"x": grid.tolist(), "probability": law.tolist()}))
            for name in DIVERGENCES:
                value = divergence(name, demo=demo, policy=law).item()
                values.append(place | {"divergence": name, "value": value})
    return pd.concat(laws, ignore_index=True), pd.DataFrame(values)
