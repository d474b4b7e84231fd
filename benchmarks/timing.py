"""Taking times: both sides in turns, and what the machine could do at most."""

import gc
import os
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch

from afd_study.study.workflow.executor import keep_freed_memory

ENOUGH = 45.0  # seconds


class Pair(NamedTuple):
    """The same work by us and by a peer.

    `check` raises AssertionError where the two do not do the same; `flops` and `tokens` are what is useful
    in a run of either. `peer` is None for what nobody else does.
    """

    peer_name: str
    ours: Callable[[], object]
    peer: Callable[[], object] | None
    check: Callable[[], None]
    flops: float
    tokens: int


def interleave(
    ours: Callable[[], object], peer: Callable[[], object] | None, *, pairs: int, device: torch.device
) -> tuple[list[float], list[float]]:
    """Run both sides once to warm up, then `pairs` times in turns; return their wall times in seconds.

    Runs so short that a busy moment can double them are repeated up to three times as often, within ENOUGH.
    The side that goes first changes from pair to pair, so that neither always runs on a warmer machine. What
    has no peer is run once, cold.
    """
    if peer is None:
        return [seconds(ours, device)], []
    took = sum(seconds(side, device) for side in (ours, peer))
    more = min(3 * pairs, int(ENOUGH / took))
    mine, theirs = in_turns((ours, peer), range(max(pairs, more)), device)
    return mine, theirs


def in_turns(
    sides: Sequence[Callable[[], object]], repeats: Iterable[int], device: torch.device
) -> list[list[float]]:
    """Run all sides in each of `repeats` (0, 1, ...), another one first each time; return seconds a side."""
    times: list[list[float]] = [[] for _ in sides]
    for repeat in repeats:
        for turn in range(len(sides)):
            place = (turn + repeat) % len(sides)
            times[place].append(seconds(sides[place], device))
    return times


def ratios(ours: Sequence[float], peer: Sequence[float]) -> tuple[float, float, float]:
    """Return the median, the lowest and the highest of the peer's time over ours, repeat by repeat."""
    quotients = np.asarray(peer) / np.asarray(ours)
    return float(np.median(quotients)), float(quotients.min()), float(quotients.max())


def seconds(run: Callable[[], object], device: torch.device) -> float:
    """Return how long `run` takes, with garbage collected before and the device done after."""
    gc.collect()
    _finish(device)
    started = time.perf_counter()
    run()
    _finish(device)
    return time.perf_counter() - started


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def keep_memory() -> None:
    """Stop glibc from handing large blocks back, for both sides, as the executor of steps does."""
    keep_freed_memory()


def load() -> float | None:
    """Return how many processes have been running on average of late; None where the system does not say."""
    return round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None


def matmul_peak(
    device: torch.device, dtype: torch.dtype, *, size: int | None = None, repeats: int = 12
) -> float:
    """Return the fastest of `repeats` square matrix products, in FLOP/s: what no model can pass."""
    size = size or (8192 if device.type == "cuda" else 1024)
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    best = min(seconds(lambda: left @ right, device) for _ in range(repeats))
    return 2 * size**3 / best
