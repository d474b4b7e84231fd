"""Reward models whose body stays as it is: a linear head, or a small network, on states computed once.

Sources: a linear reward on frozen features (2411.04991), and a small network on embeddings (2502.04357).
A head takes seconds, so that many replicates and every penalty of a grid are tried. The penalty is chosen by
the loss on held-out pairs, without a judge. The losses are those of `methods.reward_model`: the discriminator
scores each response by itself, and Bradley-Terry (of preferences) the difference within a pair, which only a
linear head has an exact fit for.

What is left out: states of several layers, and a head that reads all tokens of a response.
"""

import warnings
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from afd_study.errors import DataError, SpecError
from afd_study.models.regressions import bradley_terry, discriminator

Array = NDArray[np.float64]
Shape = Literal["linear", "network"]
L2 = (1.0, 10.0, 100.0, 1e3, 1e4, 1e5)
"""Penalties that are tried: half of it times the squared weights is added to the summed loss (nats)."""
HIDDEN = 64  # units of a network's only hidden layer
PASSES = 100  # of Adam over the training pairs, at most


class Head(NamedTuple):
    """Standardises states (n, F) by `mean` and `spread` (F,), then applies affine layers with ReLU between.

    `weights` are (F, 1) of a linear head, or (F, HIDDEN) and (HIDDEN, 1); `biases` fit them.
    """

    mean: Array
    spread: Array
    weights: tuple[Array, ...]
    biases: tuple[Array, ...]

    def arrays(self) -> dict[str, Array]:
        """Return the head as named arrays, for safetensors."""
        layers = {f"weight_{i}": each for i, each in enumerate(self.weights)}
        layers |= {f"bias_{i}": each for i, each in enumerate(self.biases)}
        return {"mean": self.mean, "spread": self.spread, **layers}


class Pairs(NamedTuple):
    """States of the responses that are to score high, and of those that are to score low: (n, F) each."""

    high: Array
    low: Array


class Fitted(NamedTuple):
    """A head, the penalty that was chosen, and for each penalty the loss on held-out pairs (nats a pair)."""

    head: Head
    l2: float
    losses: Mapping[float, float]


def head_of(arrays: Mapping[str, Array]) -> Head:
    """Return the head that `Head.arrays` gave. Raises DataError where an array is missing."""
    try:
        count = sum(name.startswith("weight_") for name in arrays)
        layers = (tuple(arrays[f"{kind}_{i}"] for i in range(count)) for kind in ("weight", "bias"))
        return Head(arrays["mean"], arrays["spread"], *layers)
    except KeyError as fault:
        raise DataError(f"a head lacks {fault.args[0]}: compute it again") from fault


def head_rewards(head: Head, states: NDArray[Any]) -> Array:
    """Return the reward of each response (n,), its logit or its Bradley-Terry score, of states (n, F)."""
    layer = (np.asarray(states, dtype=np.float64) - head.mean) / head.spread
    for weight, bias in zip(head.weights[:-1], head.biases[:-1], strict=True):
        layer = np.maximum(layer @ weight + bias, 0)
    return (layer @ head.weights[-1] + head.biases[-1])[:, 0]


def fit_head(train: Pairs, validation: Pairs, *, loss: str, shape: Shape = "linear", seed: int = 0) -> Fitted:
    """Fit a head at every penalty of L2, and keep the one with the lowest loss on `validation`.

    `seed` draws a network's first weights and the order of its pairs; a linear head has one optimum.

    Raises DataError without pairs or for states that are not finite, SpecError for an unknown shape or loss
    and for a network with Bradley-Terry's loss.
    """
    _refuse(train, validation, loss, shape)
    both = np.concatenate([train.high, train.low])
    mean, spread = both.mean(axis=0), both.std(axis=0)
    # a state that never varies says nothing
    spread = np.where(spread > 1e-8 * (1 + np.abs(mean)), spread, 1.0)
    scaled = Pairs((train.high - mean) / spread, (train.low - mean) / spread)
    fit = _network if shape == "network" else _linear
    heads = {l2: Head(mean, spread, *fit(scaled, loss, l2, seed)) for l2 in L2}
    losses = {l2: pair_loss(head, validation, loss) for l2, head in heads.items()}
    best = min(losses, key=lambda l2: losses[l2])
    return Fitted(heads[best], best, losses)


def pair_loss(head: Head, pairs: Pairs, loss: str) -> float:
    """Return the mean loss (nats a pair) as `methods.reward_model.pair_loss` has it: log 2 of a constant."""
    high, low = head_rewards(head, pairs.high), head_rewards(head, pairs.low)
    if loss == "bradley_terry":
        return float(np.logaddexp(0, low - high).mean())
    return float((np.logaddexp(0, -high) + np.logaddexp(0, low)).mean() / 2)


def _linear(pairs: Pairs, loss: str, l2: float, seed: int) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    if loss == "bradley_terry":
        return (bradley_terry(pairs.high - pairs.low, l2=l2)[:, None],), (np.zeros(1),)
    rows = np.concatenate([pairs.high, pairs.low])
    weights, intercept = discriminator(rows, np.arange(len(rows)) < len(pairs.high), l2=l2)
    return (weights[:, None],), (np.array([intercept]),)


def _network(pairs: Pairs, loss: str, l2: float, seed: int) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    rows = np.concatenate([pairs.high, pairs.low])
    labels = np.arange(len(rows)) < len(pairs.high)
    # scikit-learn divides the penalty by the number of rows of a batch, and the loss is its mean
    model = MLPClassifier(
        (HIDDEN,), alpha=l2, max_iter=PASSES, random_state=seed, batch_size=min(200, len(rows))
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # stopped early is meant: the penalty is chosen
        model.fit(rows, labels)
    return tuple(model.coefs_), tuple(model.intercepts_)


def _refuse(train: Pairs, validation: Pairs, loss: str, shape: str) -> None:
    if loss not in ("discriminator_bce", "bradley_terry") or shape not in ("linear", "network"):
        raise SpecError(
            "a frozen head is linear or a network, and its loss discriminator_bce or bradley_terry; got "
            f"{shape}, {loss}"
        )
    if shape == "network" and loss == "bradley_terry":
        raise SpecError("Bradley-Terry's loss is fitted by a linear head alone: choose shape linear")
    for name, pairs in (("training", train), ("validation", validation)):
        if not len(pairs.high) or not len(pairs.low):
            raise DataError(f"there are no {name} pairs to fit a head on: give more demonstrations")
        if not (np.isfinite(pairs.high).all() and np.isfinite(pairs.low).all()):
            raise DataError(f"some states of {name} pairs are no finite numbers: is the model damaged?")
