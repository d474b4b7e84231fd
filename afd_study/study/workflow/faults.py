"""Faults of the machine that end a command: a killed worker, too little memory, an output that is full.

This module loads nothing slow: memory may already run out when libraries are imported.
"""

import errno
import os
import signal
import sys
from collections.abc import Iterable

from afd_study.errors import AfdError, SpecError

KEPT = "Finished steps and the latest checkpoints are kept, and the same command goes on from there"
_WORDS = (
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "out of memory",
    "bad_alloc",
    "can't start new thread",
    "failed to launch worker thread",
    "failed to map segment from shared object",
)
# How a process ends that gets no memory: by the system's killer, by C++'s bad_alloc, by the C library
_OF_MEMORY = {*(-getattr(signal, name) for name in ("SIGKILL", "SIGABRT") if hasattr(signal, name)), 127}


class WorkerError(AfdError, RuntimeError):
    """A worker process ended before its step did."""


class OutputError(AfdError, OSError):
    """Standard output takes no more."""


def say(text: str | None) -> None:
    """Print to standard output now. Raises OutputError where that is full, or nobody reads it any more."""
    try:
        if text is not None:
            print(text)
        sys.stdout.flush()
    except OSError as fault:
        sys.stdout = open(os.devnull, "w")  # Python would try again at its end
        raise OutputError(
            f"cannot write to standard output: {fault.strerror or fault}. What was computed is kept: the "
            "same command prints it"
        ) from fault


def killed_worker(names: Iterable[str], exit_codes: Iterable[int | None]) -> WorkerError:
    """Say which steps a worker was at, how it ended, why as far as that can be known, and what to do."""
    codes = {code for code in exit_codes if code}
    code = min(codes - {-signal.SIGTERM} or codes, default=0)  # Python ends the others by SIGTERM
    if -code in set(signal.Signals):
        how = f"was ended by {signal.Signals(-code).name}"
    else:
        how = f"ended with status {code}" if code else "ended without a word"
    memory = "most likely since memory ran out" if code in _OF_MEMORY else "perhaps since memory ran out"
    return WorkerError(
        f"a worker process {how} while it was at {', '.join(sorted(set(names)))}, {memory}: try --jobs 1, or "
        f"smaller batches (micro_batch_size). {KEPT}"
    )


def memory_fault(fault: BaseException) -> str | None:
    """Return what to tell of a fault that comes of too little memory; None for any other."""
    cause: BaseException | None = fault
    for _ in range(10):  # causes can go in a circle
        if cause is None:
            return None
        named = any(word in str(cause).lower() for word in _WORDS)
        if (
            isinstance(cause, MemoryError)
            or getattr(cause, "errno", None) == errno.ENOMEM
            or (named and not isinstance(cause, AfdError))
        ):
            return (
                "memory ran out: try --jobs 1, smaller batches (micro_batch_size), or a machine with more of "
                f"it. {KEPT}"
            )
        cause = cause.__cause__ or cause.__context__
    return None


def requested_jobs() -> int:
    """Return how many steps AFD_JOBS lets run at once, 1 by default; SpecError for what is no such number."""
    text = os.environ.get("AFD_JOBS", "").strip() or "1"
    if not (text.isascii() and text.isdigit() and 1 <= len(text) <= 4 and int(text) >= 1):
        raise SpecError(f"AFD_JOBS={text} is no number of steps at once: give a whole number from 1 to 9999")
    return int(text)
