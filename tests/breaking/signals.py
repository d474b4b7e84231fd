"""SIGINT, SIGTERM and SIGHUP: the shell's exit status, one line, no further command, and a resume."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.breaking.studies import ROOT, Tally, as_on_a_terminal, counted, resumed_well, spawned

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
WHEN = ("at the start", "in the middle", "twice", "before && echo done")
PATIENCE = 120  # seconds until a run has come as far as a signal waits for


def signals(folder, rng, references):
    """Send each signal at each moment; half of the runs have workers."""
    tallies = {when: Tally(f"signals {when}") for when in WHEN}
    cases = [(when, name) for when in WHEN for name in SIGNALS]
    root, said = folder / "signalled", folder / "said"
    for number in counted("signal", len(cases)):
        when, name = cases[number]
        reference = references[0]
        shutil.rmtree(root, ignore_errors=True)
        if when == WHEN[3]:
            wrong = in_a_shell(reference.studied, root, getattr(signal, name))
        else:
            wrong = signalled(reference.studied, root, getattr(signal, name), when, jobs=1 + number % 2)
        wrong = wrong or resumed_well(reference.studied, root, reference.artefacts, said)
        tallies[when].note(not wrong, f"{name}: {wrong}")
    return list(tallies.values())


def guarded(process):
    """Whether a process catches SIGTERM, by Linux's own account: true before anything slow is imported."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return False
    caught = next(line.split()[1] for line in lines if line.startswith("SigCgt"))
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


def until(true):
    end = time.monotonic() + PATIENCE
    while not true() and time.monotonic() < end:
        time.sleep(0.01)


def signalled(studied, root, number, when, jobs):
    """Signal a run; return what is wrong with its end, "" where nothing is."""
    process = spawned(studied, root, jobs)
    until(lambda: guarded(process.pid))
    if when != WHEN[0]:
        until(lambda: list(root.glob("unfinished/*/checkpoint")) or process.poll() is not None)
    for _ in range(2 if when == WHEN[2] else 1):
        os.killpg(process.pid, number)
        time.sleep(0.02)
    out, words = process.communicate(timeout=PATIENCE)
    lines = [line for line in words.splitlines() if not line.startswith("  ")]  # progress is indented
    one = len(lines) == 1 and lines[0].startswith("afd: interrupted") and "same command goes on" in lines[0]
    if process.returncode == 128 + number and one and not out:
        return ""
    return f"status {process.returncode}, {words[-300:]!r}, {out[-100:]!r}"


def in_a_shell(studied, root, number):
    """Signal the run of `afd run ... && echo done`; return what is wrong with what the shell does."""
    command = shlex.join([sys.executable, "-m", "afd_study.study", *studied.words, "--jobs", "1"])
    environment = {**os.environ, "AFD_STORE": str(root), "TQDM_DISABLE": "1"}
    shell = subprocess.Popen(
        ["bash", "-c", f"{command} && echo done"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=as_on_a_terminal,
    )
    until(lambda: list(root.glob("unfinished/*/checkpoint")) or shell.poll() is not None)
    if number == signal.SIGINT:
        os.killpg(shell.pid, number)  # Ctrl-C reaches the shell as well
    else:
        child = Path(f"/proc/{shell.pid}/task/{shell.pid}/children").read_text()
        os.kill(int(child), number)
    out, words = shell.communicate(timeout=PATIENCE)
    if shell.returncode in (128 + number, -number) and not out and "afd: interrupted" in words:
        return ""
    return f"status {shell.returncode}, {words[-300:]!r}, {out!r}"
