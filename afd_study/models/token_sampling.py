"""Drawing the next token: each response has uniform numbers of its own, at which its law is inverted."""

import hashlib

import numpy as np
import torch
from torch import Tensor

BLOCK = 64  # entries of a vocabulary that are summed up at once


def uniforms(seed: int, prompt_id: str, draw: int, n: int) -> np.ndarray:
    """Return the `n` uniform numbers in [0, 1) that belong to one (seed, prompt, draw)."""
    name = hashlib.blake2b(f"{seed}/{prompt_id}/{draw}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(name, "little"))).random(n)


def draw(logits: Tensor, noise: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Invert each row's cumulative law at its own uniform number.

    `logits` are (rows, vocabulary), `noise` (rows,). Returns tokens and their log-probabilities at
    temperature 1, (rows,), nats, float64.
    """
    highest = logits.amax(-1, keepdim=True)
    mass = (logits - highest).exp_()
    sums = _block_sums(mass)
    if temperature == 0:
        token = logits.argmax(-1)
    elif temperature == 1:
        token = _pick(mass, sums, noise)
    else:
        tempered = ((logits - highest) / temperature).exp_()
        token = _pick(tempered, _block_sums(tempered), noise)
    chosen = (logits.gather(-1, token[:, None]) - highest)[:, 0]
    return token, chosen.double() - sums[:, -1].log()


def _block_sums(mass: Tensor) -> Tensor:
    """Return the mass up to the end of each block of BLOCK entries, (rows, blocks), float64.

    Only these are summed up in float64: of every entry that took a sixth of sampling (book/log.md).
    """
    whole = mass.shape[1] // BLOCK * BLOCK
    sums = mass[:, :whole].unflatten(1, (-1, BLOCK)).sum(-1)
    return torch.cat([sums, mass[:, whole:].sum(-1, keepdim=True)], 1).double().cumsum_(1)


def _pick(mass: Tensor, sums: Tensor, noise: Tensor) -> Tensor:
    """Return the entry, (rows,), at which the cumulative `mass` passes the share `noise` of its whole."""
    wanted = _below(noise[:, None] * sums[:, -1:], sums)
    block = torch.searchsorted(sums, wanted, right=True)
    places = block * BLOCK + torch.arange(BLOCK, device=mass.device)
    within = mass.gather(1, places.clamp(max=mass.shape[1] - 1)).double()
    within = within.masked_fill_(places >= mass.shape[1], 0.0).cumsum_(1)
    before = torch.where(block > 0, sums.gather(1, (block - 1).clamp(min=0)), 0.0)
    share = (wanted - before) / (sums.gather(1, block) - before)  # of the block, as float32 summed it up
    rest = _below(share * within[:, -1:], within)
    return places.gather(1, torch.searchsorted(within, rest, right=True))[:, 0]


def _below(wanted: Tensor, sums: Tensor) -> Tensor:
    """Return `wanted` (rows, 1), below the last of `sums` where rounding has taken it there."""
    last = sums[:, -1:]
    return torch.minimum(wanted, torch.nextafter(last, torch.zeros_like(last)))
