"""What a study takes on the machine at hand, where it computes on its CPU: lines of a dry run.

Each kind of work is timed beforehand (`calibration`) on one thread, in seconds of the processor, which others
that keep the machine busy change little. Threads are taken to share work evenly. Steps without a model take
what a step of their name took in the store, or else the seconds of `STEPS`.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from afd_study.models.gguf_files import free_memory
from afd_study.models.processor import has_bfloat16_units
from afd_study.study.forecast.calibration import Rates, measure
from afd_study.study.forecast.sizes import Sizes
from afd_study.study.forecast.step_work import Work, work_of
from afd_study.study.forecast.words import duration
from afd_study.study.steps import STEPS
from afd_study.study.study import Study
from afd_study.study.workflow.executor import keep_freed_memory
from afd_study.study.workflow.step import Step

SHOWN = 6  # steps, the longest
BUSY = 0.8  # share of its time that a process runs, under which others are said to keep the machine busy


class Timed(NamedTuple):
    """Rates of a policy's work on a thread of its own, and the share of a core that a process gets now."""

    rates: Rates
    share: float = 1.0


Timing = Callable[[Sizes], Timed]


class Machine(NamedTuple):
    """What a CPU has: cores, bytes of memory that are free, and units for bfloat16 (None: nobody knows)."""

    cores: int
    memory: int | None
    bfloat16: bool | None


def machine_here() -> Machine:
    """Return what this machine has, of which a process may use these cores."""
    known = getattr(os, "sched_getaffinity", None)
    cores = len(known(0)) if known else os.cpu_count() or 1
    return Machine(cores, free_memory(), has_bfloat16_units())


def timed(sizes: Sizes) -> Timed:
    """Time the study's policy on this machine, for some seconds."""
    tokens, lora = max(2, round(sizes.written)), sizes.spec.policy.lora
    keep_freed_memory()  # as steps do: else a large tensor costs more than what is computed
    started, ran = time.perf_counter(), time.process_time()
    rates = measure(sizes.config, sizes.policy, tokens=tokens, lora=lora)
    return Timed(rates, min(1.0, (time.process_time() - ran) / (time.perf_counter() - started)))


def machine_lines(
    study: Study, sizes: Sizes, steps: Sequence[tuple[str, Step]], *, machine: Machine, timing: Timing
) -> Iterator[str]:
    """Yield what the named steps take on this machine: time, memory, and which type would be faster.

    Nothing is timed where the steps do not fit into memory, or none of them needs a model.
    """
    works = [(name, step, work_of(step, sizes)) for name, step in steps]
    through = [(name, step, work) for name, step, work in works if work is not None]
    if not through:
        return
    held = sorted((work.held for *_, work in through), reverse=True)[: study.jobs]
    fits = machine.memory is None or sum(held) < machine.memory
    if fits:
        rest = [step for _, step, work in works if work is None]
        yield from _time(study, sizes, through, rest, machine, timing(sizes))
    yield from _memory(sum(held), len(held), machine.memory, fits=fits)
    yield from _advice(sizes.policy.weights, machine.bfloat16, sizes)


def _time(
    study: Study,
    sizes: Sizes,
    through: Sequence[tuple[str, Step, Work]],
    rest: Sequence[Step],
    machine: Machine,
    passes: Timed,
) -> Iterator[str]:
    threads = study.spec.threads
    together = max(1, min(study.jobs, machine.cores // threads))  # more of them would wait for each other
    rates = Rates(*(each * min(threads, machine.cores) for each in passes.rates))
    seconds = [(work.flops / rates.of(STEPS[step.name].work), name) for name, step, work in through]
    other = sum(study.store.seconds(step.name) or STEPS[step.name].seconds for step in rest)
    whole = (sum(each for each, _ in seconds) + other) / together
    yield (
        f"time on this machine, if nothing else runs: about {duration(whole)} for seed {study.seeds[0]} "
        f"({machine.cores} cores, {threads} threads a step, {together} steps at once)"
    )
    if passes.share < BUSY:
        now = duration(whole / passes.share)
        yield f"  others keep it busy: a process gets {passes.share:.0%} of a core, so about {now} as it is"
    token = 2 * sizes.policy.parameters
    yield (
        f"  by passes in {sizes.policy.weights} that were just timed: {rates.drawing / token:.0f} tokens a "
        f"second are drawn, {rates.scoring / token:.0f} read, {rates.training / token / 3:.0f} learned from"
    )
    seconds.sort(reverse=True)
    for each, name in seconds[:SHOWN]:
        yield f"  {name:<28}{duration(each):>8}"
    shorter = [each for each, _ in seconds[SHOWN:]]
    yield f"  {len(shorter)} shorter steps {duration(sum(shorter))}"
    yield f"  {len(rest)} steps without a model {duration(other)}"


def _memory(held: float, n: int, free: int | None, *, fits: bool) -> Iterator[str]:
    need = f"memory on this machine: about {held / 1e9:.1f} GB for {n} steps at once, by estimate"
    if free is None:
        yield need
        return
    verdict = (
        "it fits" if fits else "TOO LITTLE: lower --jobs, batch sizes or sampling.draws; nothing was timed"
    )
    yield f"{need}; {free / 1e9:.1f} GB are free: {verdict}"


def _advice(weights: str, has_units: bool | None, sizes: Sizes) -> Iterator[str]:
    """Name the faster type. Nothing but settings chooses one, since numbers follow from it."""
    if sizes.spec.policy.name_or_path is None:
        return  # from scratch in float32
    if weights == "bfloat16" and has_units is False:
        yield "  without units for bfloat16 float32 would be faster here: --set policy.dtype=float32"
    if weights == "float32" and has_units:
        yield (
            "  with units for bfloat16 that type would be faster here: --set policy.dtype=bfloat16 "
            "(rounded weights, so other numbers)"
        )
