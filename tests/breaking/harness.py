"""Studies that are killed and stores that are damaged: does each end with the same bits, is each damage seen?

Children are forked from a process that has imported everything, so that a kill costs no start of Python.
"""

import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path

from afd_study.models.sealed_folders import DamagedFolder, opened
from afd_study.study.study import open_study
from afd_study.study.workflow.manifests import MANIFEST, read_manifest
from afd_study.study.workflow.store import Store

SETTINGS = {
    "reward.kinds": ["init_sft"],
    "world.n_pretraining": 200,
    "world.n_demonstrations": 120,
    "pretraining.steps": 120,
    "pretraining.checkpoint_every": 20,
    "pretraining.evaluate_every": 20,
    "sft.steps": 10,
    "reward.training.steps": 10,
}
OPERATIONS = ("rename", "mkdir", "unlink", "rmdir", "fsync", "open", "close")


@dataclass
class Tally:
    """A line of the table: what was tried, how often it ended well, and what did not."""

    name: str
    tried: int = 0
    right: int = 0
    faults: list[str] = field(default_factory=list)

    def note(self, right, what):
        self.tried += 1
        self.right += bool(right)
        if not right:
            self.faults.append(what)


def small_study(root):
    return open_study("harmless", "smoke", 0, 1, overrides=SETTINGS, store=Store(root), quiet=True)


def artefacts(root):
    """The checksums of all files, by step and key."""
    return {
        str(path.parent.relative_to(root)): read_manifest(path.parent)["files"]
        for path in Path(root).glob(f"*/*/{MANIFEST}")
    }


def forked(work, said):
    """Start `work` in a child whose words go to the file `said`; return its process id."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        handle = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        sys.stdout = sys.stderr = open(said, "w")
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def killed_at(number, work):
    """Run `work`, and end this process as kill -9 does at its file operation `number`."""
    count = 0

    def counted(operation):
        def call(*args, **options):
            nonlocal count
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return operation(*args, **options)

        return call

    for name in OPERATIONS:
        setattr(os, name, counted(getattr(os, name)))
    work()
    return count


def reference(folder):
    """Run the study at one go; return its artefacts, its seconds and how many file operations it took."""
    root, note = folder / "reference", folder / "operations"
    began = time.monotonic()
    child = forked(lambda: note.write_text(str(killed_at(0, small_study(root).run))), folder / "said")
    _, status = os.waitpid(child, 0)
    assert status == 0, (folder / "said").read_text()
    return artefacts(root), time.monotonic() - began, int(note.read_text())


def kills(count, folder, rng, expected, seconds, operations):
    """Kill a run `count` times, half of them at a file operation; resume each, and compare all bytes."""
    tallies = Tally("kills at a file operation"), Tally("kills at a random moment")
    root, said = folder / "killed", folder / "said"
    for number in range(count):
        tally = tallies[number % 2]
        shutil.rmtree(root, ignore_errors=True)
        at = rng.randint(1, operations) if number % 2 == 0 else 0
        after = rng.uniform(0, seconds)
        child = forked(lambda at=at: killed_at(at, small_study(root).run), said)
        if not at:
            time.sleep(after)
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        partial = {key: files for key, files in artefacts(root).items() if expected.get(key) != files}
        child = forked(small_study(root).run, said)
        _, resumed = os.waitpid(child, 0)
        words = said.read_text()
        same = not partial and artefacts(root) == expected and resumed == 0 and "damaged" not in words
        where = f"operation {at}" if at else f"{after:.2f} s"
        tally.note(same, f"{where}, status {status}, then {resumed}: {words[-200:]}")
    return tallies


def flip(path, rng):
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


DAMAGES = {
    "a flipped bit": flip,
    "cut": lambda path, rng: os.truncate(path, rng.randrange(path.stat().st_size)),
    "empty": lambda path, rng: path.write_bytes(b""),
    "zeroed": lambda path, rng: path.write_bytes(bytes(path.stat().st_size)),
    "missing": lambda path, rng: path.unlink(),
    "longer": lambda path, rng: path.write_bytes(path.read_bytes() + b"\n"),
}


def damaged(folder, rng, number, manifest):
    """Damage a file of a folder, every second time the one with the checksums; say what was done."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    path = folder / manifest if number % 2 else rng.choice(paths)
    kind = list(DAMAGES)[number // 2 % len(DAMAGES)]
    DAMAGES[kind](path, rng)
    return f"{path.relative_to(folder)}: {kind}"


def store_damages(count, folder, rng):
    """Damage artefacts one by one; each has to be noticed by the store, and its whole copy taken."""
    tally = Tally("damages to artefacts and manifests")
    study = small_study(folder / "reference")
    steps = [step for step in study.steps() if study.store.folder(step).is_dir()]
    for number in range(count):
        step = rng.choice(steps)
        place, copy = study.store.folder(step), folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(place, copy)
        what = damaged(place, rng, number, MANIFEST)
        try:
            seen = study.store.manifest(step) is None
        except Exception as fault:
            seen, what = False, f"{what}: {fault!r}"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(copy, place)
        tally.note(seen and study.store.manifest(step) is not None, f"{step.name}, {what}")
    return tally


def checkpoint_damages(count, folder, rng):
    """Damage a checkpoint that a killed run left; each damage has to be noticed before it is loaded."""
    tally = Tally("damages to checkpoints")
    root = folder / "stopped"
    child = forked(small_study(root).run, folder / "said")
    while not (states := list(root.glob("unfinished/*/checkpoint/state.json"))):
        assert os.waitpid(child, os.WNOHANG)[0] == 0, (folder / "said").read_text()
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    whole, copy = states[0].parent, folder / "checkpoint"
    assert opened(whole) is not None
    for number in range(count):
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(whole, copy)
        what = damaged(copy, rng, number, "state.json")
        try:
            opened(copy)
            tally.note(False, what)
        except DamagedFolder:
            tally.note(True, what)
    return tally


def break_all(*, n_kills, n_damages, seed, place=None):
    """Run all of it in a folder of its own below `place`; return the tallies."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory(dir=place) as name:
        folder = Path(name)
        expected, seconds, operations = reference(folder)
        return [
            *kills(n_kills, folder, rng, expected, seconds, operations),
            store_damages(n_damages, folder, rng),
            checkpoint_damages(n_damages, folder, rng),
        ]
