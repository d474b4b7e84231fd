"""kill -9 at file operations, while checkpoints are written, and at random moments; each run is resumed."""

import io
import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress

import pandas as pd
import safetensors.torch

from afd_study.models.checkpoints import Run
from tests.breaking.studies import Tally, artefacts, command, counted, ended, forked, resumed_well, spawned

OPERATIONS = ("rename", "replace", "mkdir", "unlink", "rmdir", "fsync", "open", "close", "truncate")
AT_AN_OPERATION, IN_A_CHECKPOINT, AT_RANDOM, OF_ITS_OWN = range(4)
NAMES = (
    "kills at a file operation",
    "kills while a checkpoint is written",
    "kills at a random moment",
    "kills of a process of its own",
)
SERIES = 6  # kills of a run until it ends
ROTATION = (AT_AN_OPERATION, IN_A_CHECKPOINT, OF_ITS_OWN, AT_AN_OPERATION, IN_A_CHECKPOINT, AT_RANDOM)


class Points:
    """Counts file operations; at one of them this process ends as kill -9 ends it.

    A write of weights or of a table counts twice: before it, and half-way, with half of the file there.
    """

    def __init__(self, at=0, *, in_checkpoints=False, after_checkpoint=0):
        self.at, self.in_checkpoints, self.after_checkpoint = at, in_checkpoints, after_checkpoint
        self.operations = self.within = self.checkpoints = 0
        self.writing = False

    def reach(self, half=None):
        self.operations += 1
        self.within += self.writing
        count = self.within if self.in_checkpoints else self.operations
        if count == self.at and (self.writing or not self.in_checkpoints):
            if half is not None:
                os.truncate(half, os.stat(half).st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    def install(self):
        for name in OPERATIONS:
            setattr(os, name, self._before(getattr(os, name)))
        io.open = self._before(io.open)
        safetensors.torch.serialize_file = self._around(safetensors.torch.serialize_file)
        pd.DataFrame.to_parquet = self._around(pd.DataFrame.to_parquet)
        Run.checkpoint = self._checkpoint(Run.checkpoint)

    def _before(self, operation):
        def call(*args, **options):
            self.reach()
            return operation(*args, **options)

        return call

    def _around(self, write):
        def call(content, path, *args, **options):
            self.reach()
            result = write(content, path, *args, **options)
            self.reach(half=path)
            return result

        return call

    def _checkpoint(self, write):
        def call(*args, **options):
            self.writing = True
            write(*args, **options)
            self.writing = False
            self.checkpoints += 1
            if self.checkpoints == self.after_checkpoint:
                os.kill(os.getpid(), signal.SIGKILL)

        return call


def broken(studied, root, points):
    """Run the command until it is killed at one of `points`."""
    points.install()
    command(studied, root)


class Reference:
    """A command that was run at one go: its artefacts, seconds, and counts of what a kill may hit."""

    def __init__(self, studied, root, folder):
        self.studied, self.root, said, note = studied, root, folder / "said", folder / "counts"

        def run():
            points = Points()
            broken(studied, root, points)
            note.write_text(f"{points.operations} {points.within} {points.checkpoints}")

        began = time.monotonic()
        assert ended(forked(run, said)) == 0, said.read_text()
        self.seconds = time.monotonic() - began
        self.artefacts = artefacts(root)
        self.operations, self.within, self.checkpoints = map(int, note.read_text().split())
        self.steps = {key.split(os.sep)[0] for key in self.artefacts}
        assert self.checkpoints, "a study without a checkpoint"


def kills(count, folder, rng, references):
    """Kill runs `count` times, a few times each until it ends; compare what is there after each kill.

    Each kill is followed by the command again, and a series of them by a run to the end: all bytes are then
    to be those of the run at one go.
    """
    tallies = [Tally(name) for name in NAMES]
    root, said, series, in_checkpoints = folder / "killed", folder / "said", [], 0
    reference = references[0]
    progress = counted("kill", count)
    number = next(progress, count)
    while number < count:
        kind = ROTATION[number % len(ROTATION)]
        where, status = kill(kind, reference, root, said, rng)
        wrong = broken_by(status, root, reference, said)
        if status == -signal.SIGKILL:
            remains = [*root.glob("unfinished/*/checkpoint.new"), *root.glob("unfinished/*/checkpoint.old")]
            in_checkpoints += bool(remains) or kind == IN_A_CHECKPOINT
            series.append((kind, f"{where} of {reference.studied.task}"))
            number = next(progress, count)
        if wrong or status == 0 or len(series) == SERIES or number == count:
            wrong = wrong or resumed_well(reference.studied, root, reference.artefacts, said)
            for kind, where in series:
                tallies[kind].note(not wrong, f"{where}: {wrong}")
            shutil.rmtree(root, ignore_errors=True)
            series, reference = [], references[(references.index(reference) + 1) % len(references)]
    tallies[IN_A_CHECKPOINT].remark = f"{in_checkpoints} of all kills fell into the writing of a checkpoint"
    steps = set().union(*(reference.steps for reference in references))
    tallies[OF_ITS_OWN].remark = f"{len(references)} commands, {len(steps)} kinds of steps"
    return tallies


def broken_by(status, root, reference, said):
    """What is wrong after a kill, "" where nothing is: all artefacts that are there have to be right."""
    if status not in (0, -signal.SIGKILL):
        return f"status {status}: {said.read_text()[-300:]}"
    left = artefacts(root)
    taken = sorted(key for key, files in left.items() if reference.artefacts.get(key) != files)
    if taken:
        return f"taken for good: {', '.join(taken)}"
    words = said.read_text()
    return f"called damaged: {words[-300:]}" if "damaged" in words else ""


def kill(kind, reference, root, said, rng):
    """Kill one run; return where that was in words, and its exit status."""
    studied = reference.studied
    if kind in (AT_AN_OPERATION, IN_A_CHECKPOINT):
        within = kind == IN_A_CHECKPOINT
        last = reference.within if within else reference.operations
        at = rng.randint(1, 2 * last // SERIES)  # of those that are left
        points = Points(at, in_checkpoints=within)
        return f"operation {at}", ended(forked(lambda: broken(studied, root, points), said))
    if kind == AT_RANDOM:
        after = rng.uniform(0, reference.seconds / SERIES * 2)
        child = forked(lambda: command(studied, root), said)
        return f"{after:.2f} s", killed_after(after, child)
    jobs, loading = rng.choice((1, 2)), rng.random() < 0.2
    process = spawned(studied, root, jobs)
    if not loading:
        process.stderr.readline()  # libraries are loaded, and a step is done
    after = rng.uniform(0, reference.seconds / SERIES * 2)
    with suppress(subprocess.TimeoutExpired):
        process.wait(after)
    process.kill()
    process.communicate()
    return f"{after:.2f} s {'' if loading else 'after a step'}, {jobs} jobs", process.returncode


def killed_after(seconds, child):
    """Kill a child after some seconds, unless it has ended; return its exit status."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        process, status = os.waitpid(child, os.WNOHANG)
        if process:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    return ended(child)
