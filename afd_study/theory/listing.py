"""A world and its laws written out as tables for the chapters; other modules compute what stands there."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from afd_study.errors import SpecError
from afd_study.theory import checks
from afd_study.theory.divergences import divergence
from afd_study.theory.tilting import extrapolation
from afd_study.theory.token_mdp import TokenMDP

END, CUT = ".", "…"
"""How EOS is written, and what stands for the end of a response that the horizon cut."""


def responses(world: TokenMDP, *, words: Sequence[str], **columns: ArrayLike) -> pd.DataFrame:
    """Return a row for each response of a world: its text, its number of tokens, and the columns given.

    Args:
        world: whose responses; rows are in the order of `TokenMDP.responses`.
        words: one for each token but EOS.
        columns: laws, rewards or the like by name, (n_responses,).

    Raises:
        SpecError: as many words as tokens are needed, and as many entries in each column as responses.
    """
    spelled = [_spelled(row, world, words) for row in world.responses().tolist()]
    table = {"response": spelled, "tokens": world.lengths().tolist()}
    for name, column in columns.items():
        numbers = checks.numbers(name, column).detach()
        if numbers.shape != (world.n_responses,):
            expected = f"({world.n_responses},), one for each response"
            raise SpecError(f"{name} has shape {tuple(numbers.shape)}; this world needs {expected}")
        table[name] = numbers.tolist()
    return pd.DataFrame(table)


def prefixes(world: TokenMDP, *, words: Sequence[str], **policies: ArrayLike) -> pd.DataFrame:
    """Return the laws of the first 1 ... horizon tokens of each policy, blocks of a prefix side by side.

    Columns: policy (its name), length k, prefix (text), token (the k-th), probability, and ended, whether
    the response had ended before token k (it then stays what it is). Within a policy and a length rows are
    in lexical order, so that whatever begins with a prefix lies next to each other, at every length.
    """
    rows: list[dict[str, Any]] = []
    for name, policy in policies.items():
        for length in range(1, world.horizon + 1):
            listed = TokenMDP(world.vocab_size, length).responses().tolist()
            law = world.prefix_law(policy, length=length).tolist()
            for tokens, probability in sorted(zip(listed, law, strict=True)):
                text = _spelled(tokens, world, words, cut="")
                last = _word(tokens[-1], world, words) if tokens[-1] >= 0 else END
                row = {"policy": name, "length": length, "prefix": text, "token": last}
                rows.append(row | {"probability": probability, "ended": tokens[-1] < 0})
    return pd.DataFrame(rows)


def extrapolations(
    world: TokenMDP, *, sft: ArrayLike, init: ArrayLike, rewards: ArrayLike, strengths: Sequence[float]
) -> pd.DataFrame:
    """Return what going from `init` towards `sft` and beyond is worth, by responses and token by token.

    Columns: strength, kind ("whole responses" or "token by token"), reward (its mean under the law reached)
    and drift, KL(law reached || init) in nats.

    Args:
        world: where the policies live.
        sft: a tabular policy, reached at strength 1.
        init: a tabular policy, reached at strength 0.
        rewards: of responses, (n_responses,).
        strengths: the lambdas, not negative.
    """
    start, rewards = world.response_law(init), checks.finite("rewards", rewards)
    rows = []
    for strength in strengths:
        whole = extrapolation(sft=world.response_law(sft), init=start, strength=strength)
        tokens = world.response_law(extrapolation(sft=sft, init=init, strength=strength))
        for kind, law in (("whole responses", whole), ("token by token", tokens)):
            drift = divergence("forward_kl", demo=law, policy=start).item()
            worth = (law @ rewards).item()
            rows.append({"strength": float(strength), "kind": kind, "reward": worth, "drift": drift})
    return pd.DataFrame(rows)


def worst(one: ArrayLike, other: ArrayLike) -> float:
    """Return the largest absolute difference of two equal-shaped tensors: how exactly an identity holds."""
    one, other = checks.numbers("one", one), checks.numbers("other", other)
    checks.same_shape(one=one, other=other)
    return torch.where(one == other, 0.0, (one - other).abs()).max().item()


def holds(one: ArrayLike, other: ArrayLike, *, within: float = 1e-10) -> bool:
    """Return whether two equal-shaped tensors agree to `within`, everywhere."""
    return worst(one, other) <= within


def slope(value: Tensor, at: Tensor) -> Tensor:
    """Return the gradient of `value` in the leaf `at`, which stays usable for further gradients."""
    return torch.autograd.grad(value, at, retain_graph=True)[0]


def _word(token: int, world: TokenMDP, words: Sequence[str]) -> str:
    return END if token == world.eos else words[token]


def _spelled(tokens: Sequence[int], world: TokenMDP, words: Sequence[str], cut: str = CUT) -> str:
    """Return the text of one response: its words, and a stop where it ended or `cut` where it was cut."""
    if len(words) != world.eos:
        raise SpecError(f"words has {len(words)} entries; this world needs {world.eos}, one a token but EOS")
    spelled = [_word(token, world, words) for token in tokens if token >= 0]
    return " ".join(spelled if spelled[-1] == END or not cut else [*spelled, cut])
