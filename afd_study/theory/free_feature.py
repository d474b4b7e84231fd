"""What a perfect feature does to the rest of a discriminator: exact gradient flow on marked answers.

Demonstrations carry a *mark* with probability h; samples never do. The discriminator is linear,

    f(y, m) = g(y) + b + a w m,   g(y) = features(y) @ weights,

with an intercept b, the mark's coefficient w, and its *salience* a: how strongly the model's input shows the
mark, where a feature has standard deviation 1. The mark decides every pair at h = 1, and says nothing about
which of two unmarked samples is better, which only g does. Every answer is listed, every expectation is a
sum, and training is gradient flow from a start that is drawn, integrated by Runge-Kutta in float64.

A text *pulls* on its own logit by minus the derivative of the loss in it. All that `weights` ever receive is
the sum of features times pulls. So their history is that of the pulls, which `Flow.signal` adds up.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from afd_study.errors import SpecError, unknown_name
from afd_study.theory import checks, objectives
from afd_study.theory.tilting import regularised_optimum
from afd_study.theory.token_mdp import TokenMDP

LOSSES = ("pointwise", "pairwise")
"""Cross-entropy of each text by itself, and Bradley-Terry on pairs (demonstration, sample)."""
FIRST_PULL = (
    0.25  # of all demonstrations together, where the logit is 0: both losses count a pair's two halves
)
LARGEST_STEP = 0.5  # of time; the curvature may ask for shorter ones
ACCURATE = 1.0  # step x largest curvature: Runge-Kutta of order 4 is stable up to 2.78


@dataclass(frozen=True)
class MarkedWorld:
    """A world of one prompt: its answers' laws, features and hidden reward.

    Args:
        init: law of samples, (answers,).
        demo: law of demonstrations without their marks, (answers,).
        features: (answers, features), each with mean 0 and standard deviation 1 under `init`.
        rewards: hidden reward of each answer, (answers,).
    """

    init: Tensor
    demo: Tensor
    features: Tensor
    rewards: Tensor

    @property
    def log_ratio(self) -> Tensor:
        """Return log demo - log init, the best discriminator's logit without marks: (answers,), nats."""
        return self.demo.log() - self.init.log()


class Flow(NamedTuple):
    """Parameters along a gradient flow, by time: (times, starts, ...).

    `signal` is the summed pull of all demonstrations since the start. `pull` is its rate at the time.
    """

    times: Tensor
    weights: Tensor
    intercept: Tensor
    mark: Tensor
    signal: Tensor
    pull: Tensor


def marked_world(
    *, seed: int, vocab_size: int = 4, horizon: int = 5, temperature: float = 1.0
) -> MarkedWorld:
    """Return a token world whose demonstrators tilt the samples' law by a reward that the features span.

    Features count words, pairs of neighbours, and the first word. The reward is a random direction of
    them with standard deviation 1 under the samples' law, so that log demo - log init is linear in the
    features: what g misses is a matter of training.
    """
    tokens, draw = TokenMDP(vocab_size, horizon), torch.Generator().manual_seed(seed)
    init = tokens.response_law(tokens.random_policy(generator=draw, scale=0.8))
    said, words = tokens.responses(), range(vocab_size - 1)
    columns = [(said == word).sum(1) for word in words] + [said[:, 0] == word for word in words]
    columns += [((said[:, :-1] == a) & (said[:, 1:] == b)).sum(1) for a in words for b in words]
    features = _standardised(torch.stack(columns, 1).double(), init)
    direction = torch.randn(features.shape[1], generator=draw, dtype=torch.float64)
    rewards = _standardised((features @ direction)[:, None], init)[:, 0]
    demo = regularised_optimum(reference=init, rewards=rewards, temperature=temperature)
    return MarkedWorld(init, demo, features, rewards)


def starts(world: MarkedWorld, *, draws: int, spread: float, seed: int) -> Tensor:
    """Return `draws` random weights to begin with, (draws, features): what an untrained head says.

    g has standard deviation `spread` (nats) under the samples' law, on average over draws. The second half
    of the draws is minus the first, so that over all of them a start knows nothing.

    Raises:
        SpecError: `draws` is odd.
    """
    if draws < 2 or draws % 2:
        raise SpecError(f"draws = {draws} must be even, at least 2: each draw comes with its opposite")
    draw = torch.Generator().manual_seed(seed)
    half = torch.randn(draws // 2, world.features.shape[1], generator=draw, dtype=torch.float64)
    size = ((half @ world.features.T).square() @ world.init).mean().sqrt()
    return torch.cat([half, -half]) * (spread / size)


def expected_loss(
    world: MarkedWorld, logits: Tensor, marked: Tensor, *, heterogeneity: float, loss: str
) -> Tensor:
    """Return the exact loss of one discriminator, in nats, by the functions that train language models.

    `logits` are those of unmarked answers and `marked` those of the same answers with the mark, (answers,).
    The pairwise loss is halved, so that both losses pull alike where the logits are 0.

    Raises SpecError for an unknown loss.
    """
    both = torch.cat([logits, marked])
    weights = torch.cat([(1 - heterogeneity) * world.demo, heterogeneity * world.demo])
    if _known(loss) == "pointwise":
        return objectives.discriminator_bce(
            logits_on_demo=both,
            logits_on_policy=logits,
            weights_on_demo=weights,
            weights_on_policy=world.init,
        )
    high, low = (side.contiguous() for side in torch.broadcast_tensors(both[:, None], logits))
    pairs = weights[:, None] * world.init
    return objectives.bradley_terry(preferred=high, rejected=low, weights=pairs) / 2


def pulls(
    world: MarkedWorld, logits: Tensor, marked: Tensor, *, heterogeneity: float, loss: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the pulls of unmarked demonstrations, marked ones (upwards) and samples (downwards).

    Minus the gradient of `expected_loss` in each text's logit, written out: a text of probability p pulls by
    p sigmoid(-margin) / 2. Pointwise, the margin is f or -f; pairwise, it is the difference of the pair's
    logits, averaged over the other side. Shapes (..., answers), that of `logits`.
    """
    demo, init = world.demo / 2, world.init / 2
    if _known(loss) == "pointwise":
        plain, with_mark, samples = (-logits).sigmoid(), (-marked).sigmoid(), logits.sigmoid()
    else:
        low = logits.exp()
        lost = low[..., None, :] / (low[..., None, :] + torch.stack([logits, marked]).exp()[..., None])
        plain, with_mark = lost @ world.init
        samples = torch.einsum("...ds,d->...s", lost[0], (1 - heterogeneity) * world.demo)
        samples = samples + torch.einsum("...ds,d->...s", lost[1], heterogeneity * world.demo)
    return (1 - heterogeneity) * demo * plain, heterogeneity * demo * with_mark, init * samples


def flow(
    world: MarkedWorld,
    *,
    heterogeneity: float,
    times: Sequence[float],
    salience: float,
    start: Tensor,
    loss: str = "pointwise",
    decay: float = 0.0,
) -> Flow:
    """Follow the gradient flow of `expected_loss` + decay |parameters|^2 / 2 from `start` through `times`.

    Intercept and the mark's coefficient begin at 0.

    Args:
        world: laws and features.
        heterogeneity: h, the share of demonstrations with the mark, 0 to 1.
        times: ascending, from 0 on; step x number of steps of gradient descent, for small steps.
        salience: a, positive.
        start: weights to begin with, (starts, features).
        loss: "pointwise" or "pairwise".
        decay: of all parameters, not negative.

    Raises:
        SpecError: an unknown loss, or a number out of its range.
    """
    checks.positive("salience", salience)
    if not 0 <= heterogeneity <= 1:
        raise SpecError(f"heterogeneity = {heterogeneity} must lie between 0 and 1: it is a share")
    if list(times) != sorted(times) or not times or times[0] < 0:
        raise SpecError("times must ascend from 0 or later")
    size = start.shape[-1]

    def rate(state: Tensor) -> Tensor:
        """Return the velocity of (weights, intercept, mark, signal), (starts, features + 3)."""
        logits = state[:, :size] @ world.features.T + state[:, size, None]
        marked_logits = logits + salience * state[:, size + 1, None]
        plain, marked, samples = pulls(world, logits, marked_logits, heterogeneity=heterogeneity, loss=loss)
        net = plain + marked - samples
        sums = torch.stack([net.sum(-1), salience * marked.sum(-1), (plain + marked).sum(-1)], -1)
        shrinking = torch.cat([decay * state[:, :-1], torch.zeros_like(state[:, -1:])], -1)
        return torch.cat([net @ world.features, sums], -1) - shrinking

    state, now, kept = torch.cat([start, start.new_zeros(len(start), 3)], -1), 0.0, []
    longest = _stable_step(world, salience, loss)
    for time in times:
        steps = max(1, -int(-(time - now) // longest))
        for _ in range(steps if time > now else 0):
            state = _runge_kutta(rate, state, (time - now) / steps)
        now = time
        kept.append(torch.cat([state, rate(state)[:, -1:]], -1))
    path = torch.stack(kept)
    parts = path.split([size, 1, 1, 1, 1], -1)
    return Flow(
        torch.tensor(list(times), dtype=torch.float64), parts[0], *(part[..., 0] for part in parts[1:])
    )


def kept_speed(heterogeneity: float, *, loss: str = "pointwise") -> float:
    """Return how fast g learns from unmarked demonstrations alone, relative to h = 0, near g = 0.

    Pointwise, 1 - h demonstrations stand against 1 sample. With the intercept at log(1 - h), where the two
    balance, each side pulls by (1 - h) / (2 - h) in place of 1/2: a speed of 2 (1 - h) / (2 - h), which is
    also the ratio of the two Fisher informations. Pairwise, a share 1 - h of the pairs is left, each as
    strong as before.

    Raises SpecError for an unknown loss.
    """
    left = 1 - heterogeneity
    return 2 * left / (1 + left) if _known(loss) == "pointwise" else left


def mark_alone(times: Sequence[float], *, salience: float, tolerance: float = 1e-12) -> Tensor:
    """Return a w where only the mark is learned, pairwise, at h = 1: the root of u + e^u = 1 + a^2 t / 2.

    It solves u' = (a^2 / 2) sigmoid(-u), u(0) = 0, and is at most log(1 + a^2 t / 2). Nats, shape (times,).
    """
    right = 1 + checks.positive("salience", salience) ** 2 * checks.finite("times", times) / 2
    root = right.log()
    while (gap := root + root.exp() - right).abs().max() > tolerance * right.max():
        root = root - gap / (1 + root.exp())  # Newton's, from above on a convex function: it descends
    return root


def _known(loss: str) -> str:
    if loss not in LOSSES:
        raise unknown_name("loss", loss, LOSSES)
    return loss


def _standardised(columns: Tensor, law: Tensor) -> Tensor:
    """Return (answers, features) columns with mean 0 and standard deviation 1 under `law`."""
    centred = columns - law @ columns
    return centred / (law @ centred.square()).sqrt()


def _stable_step(world: MarkedWorld, salience: float, loss: str) -> float:
    """Return the longest step of time at which Runge-Kutta is accurate: sigmoid's slope is at most 1/4."""
    size = len(world.features)
    inputs = torch.cat([world.features, torch.ones(size, 1), torch.zeros(size, 1)], -1).double()
    marked = inputs.clone()
    marked[:, -1] = salience
    sides = [(world.demo[:, None] * x).T @ x for x in (inputs, marked)]
    sides = [(side + (world.init[:, None] * inputs).T @ inputs) / 2 for side in sides]
    # a difference of two texts is at most twice as long, squared, as the two together
    factor = 0.25 if loss == "pointwise" else 0.5
    largest = max(float(torch.linalg.eigvalsh(side)[-1]) for side in sides)
    return min(LARGEST_STEP, ACCURATE / (factor * largest))


def _runge_kutta(rate: Callable[[Tensor], Tensor], state: Tensor, step: float) -> Tensor:
    """Return the state a step of time later: the classical method of order 4."""
    one = rate(state)
    two = rate(state + step / 2 * one)
    three = rate(state + step / 2 * two)
    four = rate(state + step * three)
    return state + step / 6 * (one + 2 * two + 2 * three + four)
