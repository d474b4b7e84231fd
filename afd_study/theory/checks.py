"""The gates of this floor: each argument is checked once; a refusal names the argument and the remedy."""

from collections.abc import Sequence
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from afd_study.errors import SpecError

TOLERANCE = 1e-9
"""How far from 1 the sum of a law may lie. Float32 laws must be normalised again in float64."""


def numbers(name: str, value: ArrayLike) -> Tensor:
    """Return `value` as a float64 tensor that holds no NaN; SpecError otherwise."""
    try:
        tensor = torch.as_tensor(value, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError) as fault:
        raise SpecError(f"{name} cannot be read as numbers ({fault}); pass a tensor, array or list") from None
    if torch.isnan(tensor).any():
        raise SpecError(f"{name} holds NaN; find where it arose, or drop those entries first")
    return tensor


def finite(name: str, value: ArrayLike) -> Tensor:
    """Return `value` as a float64 tensor of finite numbers; SpecError otherwise."""
    tensor = numbers(name, value)
    if torch.isinf(tensor).any():
        raise SpecError(f"{name} holds an infinite value; clip it, or give its outcomes no weight")
    return tensor


def law(name: str, value: ArrayLike) -> Tensor:
    """Return `value` as float64 probabilities over the last axis; SpecError if they are not."""
    tensor = finite(name, value)
    if tensor.ndim == 0 or tensor.shape[-1] == 0:
        raise SpecError(f"{name} has shape {tuple(tensor.shape)}; its last axis must hold the outcomes")
    if (tensor < 0).any():
        raise SpecError(
            f"{name} holds a negative probability ({tensor.min().item():.3g}); pass probabilities"
        )
    gap = (tensor.detach().sum(-1) - 1).abs().max().item()
    if gap > TOLERANCE:
        raise SpecError(f"{name} sums to 1 only within {gap:.3g} over its last axis; divide it by its sum")
    return tensor


def same_shape(**tensors: Tensor) -> None:
    """Raise SpecError, naming every argument and its shape, unless all shapes are equal."""
    if len({tuple(tensor.shape) for tensor in tensors.values()}) > 1:
        shapes = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in tensors.items())
        raise SpecError(f"shapes differ: {shapes}; pass tensors of one shape")


def same_outcomes(**laws: Tensor) -> None:
    """Raise SpecError, naming every law and its shape, unless all have equally many outcomes."""
    if len({tensor.shape[-1] for tensor in laws.values()}) > 1:
        shapes = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in laws.items())
        raise SpecError(f"numbers of outcomes differ: {shapes}; list the same outcomes on each last axis")


def mean(name: str, values: Tensor, weights: ArrayLike | None = None) -> Tensor:
    """Return the mean over the last axis, under the law `weights` if given; no weight forgives infinity."""
    if values.ndim == 0 or values.shape[-1] == 0:
        raise SpecError(f"{name} has shape {tuple(values.shape)}; its last axis must hold at least one value")
    if weights is None:
        return values.mean(-1)
    weights = law(f"the weights of {name}", weights)
    same_outcomes(**{name: values, "its weights": weights})
    return torch.where(weights > 0, weights * values.where(weights > 0, 0.0), 0.0).sum(-1)


def counts(name: str, value: Any, *, limit: int | None = None, remedy: str = "") -> tuple[list[int], bool]:
    """Return whole numbers from 1 to `limit` as a list, and whether `value` was a single one.

    `value` is a whole number or a one-dimensional list, array or tensor of them. SpecError otherwise, with
    `remedy` behind the message where one is above `limit`.
    """
    single = not isinstance(value, Sequence) and getattr(value, "ndim", 0) == 0
    if not single and getattr(value, "ndim", 1) != 1:
        raise SpecError(f"{name} must be a whole number or a one-dimensional list of them")
    listed = [value] if single else list(value)
    whole = []
    for item in listed:
        if isinstance(item, bool) or not hasattr(item, "__index__"):
            raise SpecError(f"{name} must be whole numbers, not {item!r}")
        try:
            whole.append(item.__index__())
        except TypeError:
            raise SpecError(f"{name} must be whole numbers, not {item!r}") from None
    if not whole:
        raise SpecError(f"{name} is empty; pass at least one whole number")
    if min(whole) < 1:
        raise SpecError(f"{name} = {min(whole)} is below 1; ask for at least one")
    if limit is not None and max(whole) > limit:
        raise SpecError(f"{name} = {max(whole)} is above {limit}{remedy}")
    return whole, single


def positive(name: str, value: float) -> float:
    """Return `value` if it is a positive finite number; SpecError otherwise."""
    if not 0 < value < float("inf"):
        raise SpecError(f"{name} = {value} must be a positive number")
    return value
