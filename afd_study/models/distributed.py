"""Several processes that act as one (`accelerate launch`): which this is, what it takes, what all agree on.

Every process runs the same code on the same data in the same order. What is worth it is shared by prompt
(`shared`) and gathered, so that each process holds the whole result, the one that a single process has.
What processes tell each other goes through a group of their own on the CPU: it waits as long as it takes, and
breaks when one of them ends. Gradients are accelerate's business (`training`).

Without a launch there is one process, and nothing here does or loads anything.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import timedelta
from functools import cache
from typing import Any, Protocol, TypeVar

import numpy as np

from afd_study.errors import SpecError

PATIENCE = timedelta(days=7)  # another run may be at the step that is next, and a step may take hours

Value = TypeVar("Value")
Results = TypeVar("Results", bound=Sequence[Any] | np.ndarray)


class Asked(Protocol):
    """What can be shared: an example or a request."""

    @property
    def ids(self) -> tuple[int, ...]:
        """All of its token ids."""

    @property
    def prompt(self) -> tuple[int, ...]:
        """Its prompt's token ids."""


def launched() -> bool:
    """Tell whether this is one of several processes that a launcher has started."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "LOCAL_RANK" in os.environ


def count() -> int:
    """Return how many processes act as one."""
    return int(_group().size()) if launched() else 1


def index() -> int:
    """Return which of them this is, from 0."""
    return int(_group().rank()) if launched() else 0


def is_main() -> bool:
    """Tell whether this is the process that writes and speaks for all."""
    return index() == 0


def on_gpu() -> bool:
    """Tell whether to compute on a GPU: under a launch this process's own, then PyTorch's "cuda"."""
    import torch

    count()  # chooses it
    return torch.cuda.is_available() and not _cpu_asked()


def gathered(value: Value) -> list[Value]:
    """Return every process's value, in their order."""
    if not launched():
        return [value]
    from torch import distributed

    found: list[Any] = [None] * count()
    distributed.all_gather_object(found, value, group=_group())
    return found


def from_main(value: Value) -> Value:
    """Return the main process's value, once it is there."""
    if not launched():
        return value
    from torch import distributed

    held = [value]
    distributed.broadcast_object_list(held, src=0, group=_group())
    return held[0]


def summed(value: float) -> float:
    """Return the sum of every process's value: the same bits in all of them."""
    if not launched():
        return value
    import torch

    total = torch.tensor(value, dtype=torch.float64)
    torch.distributed.all_reduce(total, group=_group())
    return float(total)


def wait() -> None:
    """Wait until every process has come here."""
    gathered(None)


def rank_slice() -> slice:
    """Return this process's share of the items of a training step: every `count`-th, from `index` on."""
    return slice(index(), None, count())


def together(mine: Sequence[Value]) -> list[Value]:
    """Return a step's items, of which each process gives its share as `dealt`, in their order."""
    return [item for row in zip(*gathered(list(mine)), strict=True) for item in row]


def map_across_ranks(items: Sequence[Any], run: Callable[[Sequence[Any]], Results]) -> Results:
    """Return `run(items)`, a result an item, computed by all processes: all items of a prompt by one of them.

    `items` (`Asked`) are the same in every process, and `run` treats each by itself. Longest prompts are
    dealt out first, in turn. A fault in one process is raised in all of them.
    """
    if not launched():
        return run(items)
    places = _shares(items, count())
    outcome: Any
    try:
        mine = [items[place] for place in places[index()]]
        outcome = run(mine) if mine else []
    except Exception as fault:  # the others would wait for ever
        outcome = fault
    parts = gathered(outcome)
    for part in parts:
        if isinstance(part, Exception):
            raise part
    found: Any = [None] * len(items)
    for there, part in zip(places, parts, strict=True):
        for place, value in zip(there, part, strict=True):
            found[place] = value
    if any(isinstance(part, np.ndarray) for part in parts):
        found = np.array(found)
    return found


def _shares(items: Sequence[Asked], n: int) -> list[list[int]]:
    """Return the places of each process's items."""
    asked: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for place, item in enumerate(items):
        asked[item.prompt].append(place)
    prompts = sorted(asked.values(), key=lambda places: -sum(len(items[place].ids) for place in places))
    return [sorted(place for prompt in prompts[each::n] for place in prompt) for each in range(n)]


@contextmanager
def only_main_speaks() -> Iterator[None]:
    """Let nothing that is printed within come from another process; what is raised still does."""
    if is_main():
        yield
        return
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield


def leave() -> None:
    """End the launch's groups, as its last act."""
    if launched():
        from torch import distributed

        distributed.destroy_process_group()
        _group.cache_clear()


@cache
def _group() -> Any:
    """Join the launch, and return the group in which processes talk.

    Raises SpecError where there are more processes than GPUs on this machine.
    """
    import torch
    from accelerate import PartialState

    if not torch.cuda.is_available():
        os.environ["ACCELERATE_USE_CPU"] = "true"  # else accelerate takes each process for the only one
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if not _cpu_asked() and here > torch.cuda.device_count():
        raise SpecError(
            f"{here} processes were started for {torch.cuda.device_count()} GPUs: start one for each "
            "(--num_processes), or set ACCELERATE_USE_CPU=true"
        )
    PartialState(cpu=_cpu_asked())
    return torch.distributed.new_group(backend="gloo", timeout=PATIENCE)


def _cpu_asked() -> bool:
    return os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes", "on", "y", "t")
