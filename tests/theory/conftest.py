"""Worlds and laws that are unequal and asymmetric, since symmetric ones would hide a swap or a sign."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from afd_study.theory.token_mdp import TokenMDP


@dataclass(frozen=True)
class Setting:
    """A small world with a demonstrator, a policy, an initial policy, and a reward of responses."""

    world: TokenMDP
    demo: Tensor
    policy: Tensor
    init: Tensor
    rewards: Tensor

    def law(self, name: str) -> Tensor:
        return self.world.response_law(getattr(self, name))


@pytest.fixture(scope="session")
def setting() -> Setting:
    world = TokenMDP(4, 3)
    draw = torch.Generator().manual_seed(7)
    tables = [world.random_policy(generator=draw, scale=scale) for scale in (1.3, 0.7, 1.0)]
    rewards = torch.randn(world.n_responses, generator=draw, dtype=torch.float64)
    return Setting(world, *tables, rewards)
