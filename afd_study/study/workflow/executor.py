"""Running steps: each once, in the order of what they need, on as many processes as asked for.

Under `accelerate launch` all processes run every step together, one step at a time (models.distributed). They
share out what trains, draws or scores. Each computes the rest by itself, which costs no more than waiting for
it. The main process claims the step, keeps its artefact and reports; what the others wrote is thrown away.
"""

import ctypes
import gc
import inspect
import multiprocessing
import os
import queue
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow as pa
from safetensors import SafetensorError

from afd_study.errors import AfdError, StoreError
from afd_study.models import distributed
from afd_study.study.workflow import interruption
from afd_study.study.workflow.faults import killed_worker
from afd_study.study.workflow.file_faults import file_fault
from afd_study.study.workflow.progress import ProgressBar
from afd_study.study.workflow.step import Step, arguments, closure
from afd_study.study.workflow.store import Store, unwritable

_LARGE = 700 * 2**20  # bytes of a process; one with torch and a small model has 500 MiB
_QUIET = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "TOKENIZERS_PARALLELISM": "false"}


def execute(
    wanted: Iterable[Step],
    store: Store,
    *,
    jobs: int = 1,
    threads: int = 1,
    quiet: bool = False,
    lines: bool = False,
    check: Callable[[Mapping[str, Step]], None] = lambda todo: None,
) -> int:
    """Bring every wanted step and all that it needs into the store; return how many had to be run.

    Progress and an estimate of what is left go to stderr: a bar on a terminal, with `lines` a line a step
    elsewhere, nothing if `quiet`. `check` sees the steps that have to be run, by key, before any is run. An
    interruption leaves finished steps in the store, and unfinished ones with their last checkpoint.

    Raises StoreError where the store cannot be written, or is not the same in all processes of a launch.
    """
    todo = _launch_steps_to_run(list(wanted), store)
    check(todo)
    if not todo:
        return 0
    try:  # before minutes of work, and before libraries are loaded
        (store.root / "unfinished").mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise unwritable(store.root, fault) from fault
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    with ProgressBar(todo, store, quiet or not distributed.is_main(), lines) as bar:
        if jobs <= 1 or len(todo) == 1 or distributed.launched():
            for step in todo.values():
                _run(step, store, threads, bar.report)
                bar.done(step)
        else:
            _in_processes(todo, store, jobs, threads, bar)
    return len(todo)


def steps_to_run(wanted: Iterable[Step], store: Store) -> dict[str, Step]:
    """Return the steps that have to be run, by key, each behind those that it needs.

    What only serves a step that the store holds is not asked for.
    """
    todo: dict[str, Step] = {}
    in_store: dict[str, bool] = {}

    def visit(step: Step) -> None:
        if step.key not in in_store:
            in_store[step.key] = store.manifest(step) is not None
            if not in_store[step.key]:
                for needed in step.inputs.values():
                    visit(needed)
                todo[step.key] = step

    for step in wanted:
        visit(step)
    return todo


def _launch_steps_to_run(wanted: Sequence[Step], store: Store) -> dict[str, Step]:
    """Return the steps that have to be run: under a launch those that its main process misses."""
    if not distributed.launched():
        return steps_to_run(wanted, store)
    steps = steps_to_run(wanted, store) if distributed.is_main() else {}
    keys, root = distributed.from_main(([*steps], store.root))
    by_key = closure(wanted) if keys else {}
    if root != store.root or not by_key.keys() >= set(keys):
        raise StoreError(
            f"the main process of this launch has the store {root} and process {distributed.index()} "
            f"{store.root}: all need the same store (AFD_STORE), code and library versions"
        )
    return {key: by_key[key] for key in keys}


def _run(step: Step, store: Store, threads: int, report: Any) -> None:
    """Run one step in this process and keep its artefact, unless another process is at it: then wait."""
    with store.claimed(step) if distributed.is_main() else nullcontext():
        if distributed.from_main(distributed.is_main() and store.manifest(step) is None):
            _compute(step, store, threads, report)
        elif distributed.is_main():
            shutil.rmtree(store.workspace(step), ignore_errors=True)
    distributed.wait()  # the artefact is there


def _compute(step: Step, store: Store, threads: int, report: Any) -> None:
    import torch
    from transformers.utils.logging import disable_progress_bar

    from afd_study.study.workflow.context import Context

    torch.set_num_threads(threads)
    disable_progress_bar()  # transformers' own, of every file that it reads
    keep_freed_memory()
    _relax_garbage_collector()
    module, name = step.function.split(":")
    function = getattr(import_module(module), name)
    workspace = store.workspace(step)
    out = workspace / ("out" if distributed.is_main() else f"out-{distributed.index()}")
    try:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
    except OSError as fault:
        raise unwritable(store.root, fault) from fault
    context = Context(workspace, lambda share, note: report(step.key, share, note))
    folders = {name: store.folder(needed) for name, needed in step.inputs.items()}
    started = time.perf_counter()
    try:
        function(out, context, **arguments(function, {**step.settings, **step.places, **folders}))
    except AfdError:
        raise
    except (OSError, SafetensorError) as fault:
        reason = file_fault(fault, workspace, folders.values())
        if reason is None:
            raise
        raise reason from fault
    finally:
        _return_memory()
    distributed.wait()  # nobody writes any more
    if distributed.is_main():
        store.keep(step, out, seconds=time.perf_counter() - started, cost=context.cost)


@cache
def _libc() -> Any:
    """Return glibc. With another C library steps are slower, and their numbers the same."""
    try:
        library = ctypes.CDLL("libc.so.6")
    except OSError:
        return None
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None


def keep_freed_memory() -> None:
    """Stop glibc from handing large blocks back to the system at every step: a fifth of a step's time."""
    if _libc() is not None:
        for parameter in (-1, -3):  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
            _libc().mallopt(parameter, 2**31 - 1)


def _return_memory() -> None:
    """Hand freed memory back after a step of large data: another step may need it, or another process."""
    try:
        held = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return  # no Linux
    if held > _LARGE:
        gc.collect()
        pa.default_memory_pool().release_unused()
        if _libc() is not None:
            _libc().malloc_trim(0)


@cache
def _relax_garbage_collector() -> None:
    """Have Python go through its objects less often: that was a third of reading 120,000 texts as ids."""
    gc.set_threshold(20_000, *gc.get_threshold()[1:])


def check_signature(step: Step) -> None:
    """Raise TypeError where a step's settings and inputs do not fit its function; used by the tests."""
    module, name = step.function.split(":")
    function = getattr(import_module(module), name)
    values = {**step.settings, **step.places, **dict.fromkeys(step.inputs, Path())}
    inspect.signature(function).bind(Path(), None, **arguments(function, values))


_reports: Any = None


def _start_worker(reports: Any, parent: int) -> None:
    """Prepare a worker: where it reports to, and to end with its parent, however that ends."""
    global _reports
    _reports = reports
    interruption.leave_to_parent()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _work(step: Step, store: Store, threads: int) -> None:
    _run(step, store, threads, lambda key, share, note: _reports.put((key, share, note)))


def _in_processes(todo: Mapping[str, Step], store: Store, jobs: int, threads: int, bar: ProgressBar) -> None:
    """Run steps as soon as what they need is there, the most urgent first; a failure stops the others."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", str(threads))  # of the workers, which start with it
    spawn = multiprocessing.get_context("spawn")
    with interruption.delayed():  # Python's keeper of semaphores starts here, and must outlive a hang-up
        reports = spawn.Queue()
    waiting, running = dict(todo), dict[Future[None], Step]()
    urgent = urgency(todo, bar.expected)
    with ProcessPoolExecutor(jobs, spawn, _start_worker, (reports, os.getpid())) as pool:
        try:
            while waiting or running:
                unfinished = set(waiting) | {step.key for step in running.values()}
                ready = [
                    s for s in waiting.values() if not any(i.key in unfinished for i in s.inputs.values())
                ]
                ready.sort(key=lambda step: -urgent[step.key])
                for step in ready[: jobs - len(running)]:
                    with interruption.delayed():  # a worker starts here, and Ctrl-C is none of its affairs
                        running[pool.submit(_work, waiting.pop(step.key), store, threads)] = step
                finished, _ = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
                _drain(reports, bar)
                for future in finished:
                    future.result()
                    bar.done(running.pop(future))
        except BaseException as fault:
            workers = list(pool._processes.values())  # shutdown forgets them
            pool.shutdown(wait=False, cancel_futures=True)
            if isinstance(fault, BrokenProcessPool):  # before others end, which are none of its causes
                for worker in workers:
                    worker.join(1.0)
                codes = [worker.exitcode for worker in workers]
                raise killed_worker([step.name for step in running.values()], codes) from fault
            for worker in workers:  # a failed study must not go on computing
                worker.terminate()
            raise


def urgency(todo: Mapping[str, Step], expected: Mapping[str, float]) -> dict[str, float]:
    """Return for each step the seconds from its start to the end of the longest chain that waits for it.

    By that order few processes are left without work at the end: what is short comes last.
    """
    seconds = dict(expected)
    for key, step in reversed(list(todo.items())):  # each stands behind those that it needs
        for needed in step.inputs.values():
            if needed.key in seconds:
                seconds[needed.key] = max(seconds[needed.key], expected[needed.key] + seconds[key])
    return seconds


def _drain(reports: Any, bar: ProgressBar) -> None:
    while True:
        try:
            bar.report(*reports.get_nowait())
        except queue.Empty:
            return
