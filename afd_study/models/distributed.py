"""Several processes that act as one (`accelerate launch`): who this process is, and what all of them share.

Every process runs the same code on the same data in the same order. Where it saves time, work is cut by
prompt (`map_across_ranks`) and its results are gathered, so that each process holds the result that a single
process would have. These messages go through a process group of their own on the CPU (gloo). It waits for as
long as it takes, and breaks when one process ends. Gradients are exchanged by accelerate (`training`).

Without a launch there is one process, and nothing here does or loads anything.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from afd_study.errors import SpecError
from afd_study.models.prompt_tables import places_by_prompt

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

PATIENCE = timedelta(days=7)  # another launch may be computing the next step, and a step may take hours

Value = TypeVar("Value")
Results = TypeVar("Results", bound=Sequence[Any] | np.ndarray)


class WithPrompt(Protocol):
    """Work that can be shared by prompt: an example or a request."""

    @property
    def ids(self) -> tuple[int, ...]:
        """All of its token ids."""

    @property
    def prompt(self) -> tuple[int, ...]:
        """Its prompt's token ids."""


Work = TypeVar("Work", bound=WithPrompt)


def launched() -> bool:
    """Tell whether this is one of several processes that a launcher has started."""
    return "LOCAL_RANK" in os.environ and _number("WORLD_SIZE") > 1


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
    """Tell whether to compute on a GPU. Under a launch "cuda" is then this process's own GPU."""
    import torch

    count()  # joins the launch, which chooses that GPU
    return torch.cuda.is_available() and not _cpu_requested()


def gathered(value: Value) -> list[Value]:
    """Return every process's value, in their order."""
    if not launched():
        return [value]
    from torch import distributed

    values: list[Any] = [None] * count()
    distributed.all_gather_object(values, value, group=_group())
    return values


def from_main(value: Value) -> Value:
    """Return the main process's value; waits for it."""
    if not launched():
        return value
    from torch import distributed

    message = [value]
    distributed.broadcast_object_list(message, src=0, group=_group())
    return message[0]


def summed(value: float) -> float:
    """Return the sum of all processes' values: the same bits in each of them."""
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
    """Return all items of a step in their order; each process gives those of its `rank_slice`."""
    return [item for row in zip(*gathered(list(mine)), strict=True) for item in row]


def map_across_ranks(items: Sequence[Work], run: Callable[[Sequence[Work]], Results]) -> Results:
    """Return `run(items)`, a result an item; all processes compute it, each prompt's items by one of them.

    `items` are the same in every process, and `run` treats each by itself. The prompts with the most tokens
    are dealt out first, in turn. A fault in one process is raised in all of them.
    """
    if not launched():
        return run(items)
    shares = _shares(items, count())
    outcome: Any
    try:
        mine = [items[place] for place in shares[index()]]
        outcome = run(mine) if mine else []
    except Exception as fault:  # the others would wait for ever
        outcome = fault
    parts = gathered(outcome)
    for part in parts:
        if isinstance(part, Exception):
            raise part
    results: Any = [None] * len(items)
    for share, part in zip(shares, parts, strict=True):
        for place, value in zip(share, part, strict=True):
            results[place] = value
    if any(isinstance(part, np.ndarray) for part in parts):
        results = np.array(results)
    return results


def _shares(items: Sequence[WithPrompt], n: int) -> list[list[int]]:
    """Return the places of each process's items, for `n` processes."""
    prompts = sorted(
        places_by_prompt([item.prompt for item in items]).values(),
        key=lambda places: -sum(len(items[place].ids) for place in places),
    )
    return [sorted(place for prompt in prompts[rank::n] for place in prompt) for rank in range(n)]


@contextmanager
def only_main_speaks() -> Iterator[None]:
    """Silence all processes but the main one; exceptions still come from all."""
    if is_main():
        yield
        return
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield


def leave() -> None:
    """End the launch's process groups; nothing here works after it."""
    if launched():
        from torch import distributed

        distributed.destroy_process_group()
        _group.cache_clear()


@cache
def _group() -> "ProcessGroup":
    """Join the launch, and return the process group for messages.

    Raises SpecError where there are more processes than GPUs on this machine, and where variables of a
    launch are set without the others.
    """
    absent = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if absent:
        raise SpecError(
            f"WORLD_SIZE and LOCAL_RANK say that this is one of several processes, and {', '.join(absent)} "
            "is not set: unset them, or start the processes by accelerate launch"
        )
    import torch
    from accelerate import PartialState

    if not torch.cuda.is_available():
        os.environ["ACCELERATE_USE_CPU"] = "true"  # else accelerate believes each process to be alone
    local = _number("LOCAL_WORLD_SIZE")
    if not _cpu_requested() and local > torch.cuda.device_count():
        raise SpecError(
            f"{local} processes were started for {torch.cuda.device_count()} GPUs: start one for each "
            "(--num_processes), or set ACCELERATE_USE_CPU=true"
        )
    PartialState(cpu=_cpu_requested())
    return torch.distributed.new_group(backend="gloo", timeout=PATIENCE)


def _number(name: str) -> int:
    """Return a launcher's variable, 1 where it is not set; SpecError where it is no number."""
    value = os.environ.get(name, "1")
    try:
        return int(value)
    except ValueError:
        raise SpecError(f"the environment variable {name} is {value!r}, and no number: unset it") from None


def _cpu_requested() -> bool:
    return os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes", "on", "y", "t")
