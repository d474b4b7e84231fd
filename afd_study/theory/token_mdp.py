"""Text as a decision process, small enough to list every response: the world where each claim is computed.

A state is the prompt and the tokens so far, an action the next token, and the transition appends it:
deterministic and known. EOS ends a response, and ends it for good (the state absorbs); a response that has
not ended after `horizon` tokens is cut. There is one prompt; take one world for each if there are several.

**Layout.** Live prefixes, the states in which a token is chosen, are numbered by length, and within a length
in lexical order. A *tabular policy* is a tensor (n_states, vocab_size) of next-token probabilities, one row
a state. A *law* is a tensor (n_responses,), responses being ordered by length, and the cut ones last.
EOS is the last token of the vocabulary. Everything is float64 and differentiable in the policy.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from afd_study.errors import SpecError
from afd_study.theory import checks
from afd_study.theory.divergences import Divergence, divergence

MOST_RESPONSES = 5_000_000
"""The most that are listed; a trajectory divergence with gradients then takes under 2 GB."""


@dataclass(frozen=True)
class TokenMDP:
    """A token-level decision process with `vocab_size` tokens, EOS among them, and at most `horizon` of them.

    Raises SpecError for fewer than 2 tokens, a horizon below 1, or more than `MOST_RESPONSES` responses.
    """

    vocab_size: int
    horizon: int

    def __post_init__(self) -> None:
        checks.counts("horizon", [self.horizon])
        checks.counts("vocab_size", [self.vocab_size])
        if self.vocab_size < 2:
            raise SpecError("vocab_size = 1 leaves nothing but EOS; pass at least 2")
        words, limit = self.vocab_size - 1, MOST_RESPONSES
        # the logarithm refuses a huge horizon without computing the number itself
        digits = self.horizon * math.log10(words) if words > 1 else math.log10(self.horizon + 1)
        if digits > 15 or self.n_responses > limit:
            size = f"about 1e{digits:.0f}" if digits > 15 else f"{self.n_responses:,}"
            raise SpecError(
                f"horizon = {self.horizon} with vocab_size = {self.vocab_size} makes {size} responses, above "
                f"the limit of {limit:,} that can be enumerated; shorten the horizon or the vocabulary"
            )

    @property
    def eos(self) -> int:
        """The token that ends a response."""
        return self.vocab_size - 1

    @property
    def n_states(self) -> int:
        """How many live prefixes there are, the empty one included."""
        words = self.vocab_size - 1
        return (words**self.horizon - 1) // (words - 1) if words > 1 else self.horizon

    @property
    def n_responses(self) -> int:
        """How many responses there are: one that ends after each live prefix, and those that are cut."""
        return self.n_states + (self.vocab_size - 1) ** self.horizon

    def random_policy(self, *, generator: torch.Generator, scale: float = 1.0) -> Tensor:
        """Return a policy whose logits are normal with standard deviation `scale`, drawn by `generator`."""
        logits = torch.randn(self.n_states, self.vocab_size, generator=generator, dtype=torch.float64)
        return (scale * logits).softmax(-1)

    def levels(self, table: Tensor) -> Iterator[Tensor]:
        """Yield the rows of a table over states, one block for each prefix length 0 ... horizon - 1."""
        return iter(table.split([(self.vocab_size - 1) ** length for length in range(self.horizon)]))

    def lengths(self) -> Tensor:
        """Return each response's number of tokens, EOS included: (n_responses,), int64."""
        words = self.vocab_size - 1
        ended = [torch.full((words ** (k - 1),), k) for k in range(1, self.horizon + 1)]
        return torch.cat([*ended, torch.full((words**self.horizon,), self.horizon)])

    def responses(self) -> Tensor:
        """Return all responses, (n_responses, horizon), int64, -1 after their end."""
        live, listed = torch.zeros(1, 0, dtype=torch.int64), []
        for length in range(self.horizon):
            ended = torch.full((len(live), self.horizon), -1)
            ended[:, :length], ended[:, length] = live, self.eos
            listed.append(ended)
            words = torch.arange(self.eos).repeat(len(live))[:, None]
            live = torch.cat([live.repeat_interleave(self.eos, 0), words], dim=1)
        return torch.cat([*listed, live])

    def states(self) -> Tensor:
        """Return the state in which each token of `responses` was chosen, same shape, -1 after the end."""
        tokens = self.responses()
        within = torch.zeros(len(tokens), dtype=torch.int64)
        first, visited = 0, []
        for length in range(self.horizon):
            visited.append((first + within).where(tokens[:, length] >= 0, -1))
            first += self.eos**length
            within = within * self.eos + tokens[:, length].clamp(0, self.eos - 1)
        return torch.stack(visited, dim=1)

    def token_logprobs(self, policy: ArrayLike) -> Tensor:
        """Return log policy of each response's tokens, (n_responses, horizon), 0 after its end."""
        tokens, states = self.responses(), self.states()
        mass = self.checked("policy", policy)[states.clamp(min=0), tokens.clamp(min=0)]
        return mass.where(tokens >= 0, 1.0).log()

    def checked(self, name: str, policy: ArrayLike) -> Tensor:
        """Return `policy` as a float64 table of next-token laws; SpecError if it is none of this world."""
        table = checks.law(name, policy)
        if table.shape != (self.n_states, self.vocab_size):
            right = (self.n_states, self.vocab_size)
            raise SpecError(
                f"{name} has shape {tuple(table.shape)}; this world needs {right}: states, tokens"
            )
        return table

    # -- laws ---------------------------------------------------------------------------------------------

    def response_law(self, policy: ArrayLike) -> Tensor:
        """Return the probability of every response, (n_responses,): the product of its tokens'."""
        return self._law_of(self.checked("policy", policy))

    def prefix_law(self, policy: ArrayLike, *, length: int) -> Tensor:
        """Return the law of the first `length` tokens: that of all responses of a world with this horizon.

        A response that has ended stays what it is, so every prefix law sums to 1.
        """
        self._check_length(length)
        shorter = TokenMDP(self.vocab_size, length)
        return shorter.response_law(self.checked("policy", policy)[: shorter.n_states])

    def policy_of_law(self, law: ArrayLike) -> Tensor:
        """Return the policy with this law of responses: each token's share of its prefix's mass.

        Where a prefix has no mass the policy is not determined, and uniform.
        """
        law = checks.law("law", law)
        if law.shape != (self.n_responses,):
            raise SpecError(f"law has shape {tuple(law.shape)}; this world has {self.n_responses} responses")
        ended, mass = law[: self.n_states], law[self.n_states :]
        rows = []
        for ends in reversed(list(self.levels(ended))):
            joint = torch.cat([mass.view(-1, self.eos), ends[:, None]], dim=1)
            mass = joint.sum(-1)
            reached = (mass > 0)[:, None]
            rows.append(torch.where(reached, joint / mass[:, None].where(reached, 1.0), 1 / self.vocab_size))
        return torch.cat(rows[::-1])

    def occupancy(self, policy: ArrayLike, *, gamma: float = 1.0) -> Tensor:
        """Return the discounted expected visits of every (state, action), (n_states, vocab_size).

        gamma^t Pr(s_t = s) policy(a | s), t counted from 0 (Puterman 1994, section 6.9). A live prefix is
        visited at one time only. Without discount the sum is the expected length.
        """
        self._check_gamma(gamma)
        visits = self._reached(self.checked("policy", policy))
        blocks = [gamma**t * block for t, block in enumerate(self.levels(visits))]
        return torch.cat(blocks)

    def occupancy_law(self, policy: ArrayLike, *, gamma: float = 1.0) -> Tensor:
        """Return the occupancy with absorption, normalised to a law, (n_states, vocab_size).

        A response that has ended stays at its end until the horizon, and those visits are counted with the
        EOS that led there. So the total is 1 + gamma + ... + gamma^(horizon - 1) for every policy, and this
        law is the mixture, weighted by gamma^(k - 1), of the laws of the first k tokens.
        """
        self._check_gamma(gamma)
        visits = self._reached(self.checked("policy", policy))
        powers = torch.tensor([gamma**t for t in range(self.horizon)], dtype=torch.float64)
        blocks = []
        for t, block in enumerate(self.levels(visits)):
            counted = torch.full((self.vocab_size,), gamma**t, dtype=torch.float64)
            counted[self.eos] = powers[t:].sum()
            blocks.append(block * counted / powers.sum())
        return torch.cat(blocks)

    # -- numbers of one policy ----------------------------------------------------------------------------

    def entropy(self, policy: ArrayLike) -> Tensor:
        """Return the entropy of the law of responses, in nats."""
        law = self.response_law(policy)
        return -torch.xlogy(law, law).sum()

    def expected_length(self, policy: ArrayLike) -> Tensor:
        """Return the mean number of tokens of a response, EOS included."""
        return self.occupancy(policy).sum()

    # -- two policies -------------------------------------------------------------------------------------

    def trajectory_divergence(self, name: str | Divergence, *, demo: ArrayLike, policy: ArrayLike) -> Tensor:
        """Return the divergence between the laws of whole responses of two tabular policies, in nats."""
        demo, policy = self.checked("demo", demo), self.checked("policy", policy)
        return divergence(name, demo=self._law_of(demo), policy=self._law_of(policy))

    def prefix_divergence(self, name: str | Divergence, *, demo: ArrayLike, policy: ArrayLike) -> Tensor:
        """Return the sum over k = 1 ... horizon of the divergences between laws of the first k tokens."""
        demo, policy = self.checked("demo", demo), self.checked("policy", policy)
        worlds = [TokenMDP(self.vocab_size, length) for length in range(1, self.horizon + 1)]
        return torch.stack(
            [
                w.trajectory_divergence(name, demo=demo[: w.n_states], policy=policy[: w.n_states])
                for w in worlds
            ]
        ).sum()

    def occupancy_divergence(
        self, name: str | Divergence, *, demo: ArrayLike, policy: ArrayLike, gamma: float = 1.0
    ) -> Tensor:
        """Return the divergence between the state-action occupancies with absorption, as laws.

        It is the gamma-weighted mean of the prefix divergences.
        """
        occupied = [
            self.occupancy_law(self.checked(which, table), gamma=gamma).flatten()
            for which, table in (("demo", demo), ("policy", policy))
        ]
        return divergence(name, demo=occupied[0], policy=occupied[1])

    # -- policy gradients ---------------------------------------------------------------------------------

    def action_values(self, policy: ArrayLike, *, rewards: ArrayLike) -> Tensor:
        """Return Q(s, a), (n_states, vocab_size): the mean reward of responses that go on from s with a.

        By backward induction; `rewards` holds one number for each response, (n_responses,).
        """
        policy, rewards = self.checked("policy", policy), checks.finite("rewards", rewards)
        if rewards.shape != (self.n_responses,):
            raise SpecError(
                f"rewards has shape {tuple(rewards.shape)}; this world has {self.n_responses} responses"
            )
        ended, value = rewards[: self.n_states], rewards[self.n_states :]
        rows = []
        for rule, ends in reversed(list(zip(self.levels(policy), self.levels(ended), strict=True))):
            rows.append(torch.cat([value.view(-1, self.eos), ends[:, None]], dim=1))
            value = (rule * rows[-1]).sum(-1)
        return torch.cat(rows[::-1])

    def policy_gradient(self, policy: ArrayLike, *, rewards: ArrayLike) -> Tensor:
        """Return the exact gradient of the expected reward in the *logits* of a softmax policy.

        The policy gradient theorem: visits(s, a) (Q(s, a) - V(s)) (Sutton et al. 2000, theorem 1), rewards
        held fixed. Shape (n_states, vocab_size).
        """
        policy = self.checked("policy", policy)
        q = self.action_values(policy, rewards=rewards)
        return self.occupancy(policy) * (q - (policy * q).sum(-1, keepdim=True))

    # -- plumbing -----------------------------------------------------------------------------------------

    def _reached(self, policy: Tensor) -> Tensor:
        """Return Pr(s_t = s, a_t = a) of every live state and action, level by level."""
        reach, blocks = policy.new_ones(1), []
        for rule in self.levels(policy):
            blocks.append(reach[:, None] * rule)
            reach = blocks[-1][:, : self.eos].flatten()
        return torch.cat(blocks)

    def _law_of(self, policy: Tensor) -> Tensor:
        """Return the law of responses: those that end at each state, then those that are cut."""
        visits = self._reached(policy)
        cut = visits[-(self.eos ** (self.horizon - 1)) :, : self.eos]
        return torch.cat([visits[:, self.eos], cut.flatten()])

    def _check_length(self, length: int) -> None:
        remedy = ", the horizon; take a shorter prefix or a longer horizon"
        checks.counts("length", [length], limit=self.horizon, remedy=remedy)

    def _check_gamma(self, gamma: float) -> None:
        if not 0 < gamma <= 1:
            raise SpecError(f"gamma = {gamma} must lie in (0, 1]; 1 leaves visits undiscounted")
