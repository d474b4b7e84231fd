"""How a command ends that is interrupted: at once, with the shell's exit status and one line of words.

Nothing has to be saved then. Artefacts and checkpoints are whole or absent at any moment, and a claim ends
with its process. This module loads only the standard library, so that it is there before slow imports.
"""

import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

SIGNALS = {
    name: how
    for name, how in (("SIGINT", "by Ctrl-C"), ("SIGTERM", "by a request to end"), ("SIGHUP", "by a hang-up"))
    if hasattr(signal, name)  # Windows has no SIGHUP
}
PATIENCE = 5.0  # seconds until a command ends whose code, or a library's, holds on to the interruption

_received: list[int] = []  # the signal that ends this process, once there is one


@contextmanager
def guarded() -> Iterator[None]:
    """End the process on the first SIGINT, SIGTERM or SIGHUP: exit status 130, 143 or 129, and one line.

    Further signals change nothing. A signal that was ignored before, as under nohup, stays ignored.
    """
    previous = {}
    if threading.current_thread() is threading.main_thread():
        for name in SIGNALS:
            number = getattr(signal, name)
            if signal.getsignal(number) != signal.SIG_IGN:
                previous[number] = signal.signal(number, _interrupt)
        _watch(set(previous))
    try:
        yield
    finally:
        if _received:  # whatever the exception, and also where a library has swallowed it
            _leave()
        if previous:
            signal.set_wakeup_fd(-1)
        for number, handler in previous.items():
            signal.signal(number, handler)


def _watch(numbers: set[int]) -> None:
    """Have a thread end the process where a signal's handler does not come to run.

    Python runs a handler between two of its own instructions, and the main thread may be in a library for
    long. Each signal writes its number into a pipe, whatever the main thread is doing. Only a library that
    keeps Python's lock as well holds out against this; then SIGKILL is left, which harms nothing either.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

    def wait() -> None:
        while number := os.read(reading, 1):
            if number[0] in numbers:
                time.sleep(PATIENCE)
                _received[:] = _received or [number[0]]
                _leave()

    threading.Thread(target=wait, daemon=True).start()


@contextmanager
def delayed() -> Iterator[None]:
    """Hold signals back; processes that are started meanwhile begin with these signals blocked."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _interrupts())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_to_parent() -> None:
    """Let a worker ignore what a terminal sends to all: its parent says the line, and ends it."""
    for name in SIGNALS:
        if name != "SIGTERM":
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _interrupts())


def _interrupts() -> list[int]:
    return [getattr(signal, name) for name in SIGNALS if name != "SIGTERM"]


def _interrupt(number: int, frame: FrameType | None) -> None:
    for name in SIGNALS:
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    _received.append(number)
    sys.unraisablehook = lambda _: None  # where the exception meets a destructor, Python would print it
    threading.Thread(target=_leave_late, daemon=True).start()
    _end_workers()
    raise SystemExit(128 + number)


def _leave_late() -> None:
    time.sleep(PATIENCE)
    _leave()


def _leave() -> None:
    """Say what was kept, and end this process without running what is left of it."""
    number = _received[0]
    _end_workers()
    if os.environ.get("RANK", "0") == "0":  # one process of a launch speaks for all
        command = shlex.join(["afd", *sys.argv[1:]])
        shown = "".join(letter if letter.isprintable() else "?" for letter in command)
        line = (
            f"afd: interrupted {SIGNALS[signal.Signals(number).name]}; finished steps and the latest "
            f"checkpoints are kept. The same command goes on from there: {shown}\n"
        )
        with suppress(OSError):  # the terminal may be gone
            os.write(2, (b"\n" if os.isatty(2) else b"") + line.encode(errors="replace"))
    leave(128 + number)


def leave(status: int) -> NoReturn:
    """End this process without running what is left of it, or what libraries do at the end."""
    with suppress(Exception):
        if utilities := sys.modules.get("multiprocessing.util"):
            utilities._exit_function()  # returns the semaphores of a pool; else Python warns of them
    os._exit(status)


def _end_workers() -> None:
    with suppress(Exception):
        if processes := sys.modules.get("multiprocessing.process"):
            for worker in processes.active_children():
                worker.kill()
