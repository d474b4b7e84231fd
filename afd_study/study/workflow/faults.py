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
    "failed to map segment from shared object",
)


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
    """Say which steps a worker was at, of which signal it died, and what to do."""
    signals = {-code for code in exit_codes if code is not None and code < 0}
    first = min(signals - {signal.SIGTERM} or signals, default=0)  # Python ends the others by SIGTERM
    how = f"by {signal.Signals(first).name}" if first in set(signal.Signals) else "without a word"
    return WorkerError(
        f"a worker process was ended {how} while it was at {', '.join(sorted(set(names)))}. So does a system "
        f"whose memory runs out: try --jobs 1, or smaller batches. {KEPT}"
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
            or (named and isinstance(cause, (RuntimeError, ImportError, OSError)))
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
