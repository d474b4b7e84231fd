"""Damage to artefacts, manifests and checkpoints: each has to be seen, and cost no bit."""

import os
import shutil

from afd_study.models.sealed_folders import DamagedFolder, opened
from afd_study.study.workflow.manifests import MANIFEST
from afd_study.study.workflow.store import Store
from tests.breaking.kills import Points, broken
from tests.breaking.studies import Tally, counted, ended, forked, resumed_well

RECORD = "state.json"


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


def damaged(folder, rng, number, record):
    """Damage a file of a folder, every second time the one with the checksums; say what was done."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    path = folder / record if number % 2 else rng.choice(paths)
    kind = list(DAMAGES)[number // 2 % len(DAMAGES)]
    DAMAGES[kind](path, rng)
    return f"{path.relative_to(folder)}: {kind}"


def store_damages(count, folder, rng, references):
    """Damage artefacts one by one; each has to be noticed by the store, and its whole copy taken."""
    tally = Tally("damages to artefacts and manifests, seen")
    for number in counted("damage to an artefact", count):
        reference = references[number % len(references)]
        store = Store(reference.root)
        step = rng.choice(reference.stored)
        place, copy = store.folder(step), folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(place, copy)
        what = damaged(place, rng, number, MANIFEST)
        try:
            seen = store.manifest(step) is None
        except Exception as fault:
            seen, what = False, f"{what}: {fault!r}"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(copy, place)
        tally.note(seen and store.manifest(step) is not None, f"{step.name}, {what}")
    return tally


def resumed_stores(count, folder, rng, references):
    """Damage three artefacts of a store at once, run the command again, and compare all bytes."""
    tally = Tally("damaged stores, run again")
    root, said = folder / "damaged", folder / "said"
    for number in counted("damaged store", count):
        reference = references[number % len(references)]
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(reference.root, root)
        store, steps = Store(root), rng.sample(reference.wanted, 3)
        what = [
            f"{step.name}, {damaged(store.folder(step), rng, number + place, MANIFEST)}"
            for place, step in enumerate(steps)
        ]
        wrong = resumed_well(reference.studied, root, reference.artefacts, said)
        if not wrong and said.read_text().count("is damaged") == 0:
            wrong = "not a word of the damage"
        tally.note(not wrong, f"{'; '.join(what)}: {wrong}")
    return tally


def stops(count, folder, references):
    """Kill runs behind some of their checkpoints; yield each with its store and its checkpoint's folder."""
    spread = [
        (reference, 1 + place * reference.checkpoints // (count + 1))
        for place in range(1, count + 1)
        for reference in references
    ][:count]
    for place, (reference, after) in enumerate(spread):
        root = folder / f"stopped-{place}"
        points = Points(after_checkpoint=after)
        ended(forked(lambda r=reference, p=points, to=root: broken(r.studied, to, p), folder / "said"))
        places = list(root.glob("unfinished/*/checkpoint"))
        assert len(places) == 1 and opened(places[0]) is not None, (folder / "said").read_text()
        yield reference, root, places[0]


def checkpoint_damages(count, folder, rng, stopped):
    """Damage checkpoints that killed runs left; each damage has to be noticed before it is loaded."""
    tally = Tally("damages to checkpoints, seen")
    copy = folder / "checkpoint"
    for number in counted("damage to a checkpoint", count):
        _, _, whole = stopped[number % len(stopped)]
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(whole, copy)
        what = f"{whole.parent.name}, {damaged(copy, rng, number, RECORD)}"
        try:
            opened(copy)
            tally.note(False, what)
        except DamagedFolder:
            tally.note(True, what)
    return tally


def resumed_checkpoints(count, folder, rng, stopped):
    """Damage a checkpoint, go on by the command line, compare all bytes; half have an older one beside."""
    tally = Tally("damaged checkpoints, gone on from")
    root, said, older = folder / "going-on", folder / "said", 0
    for number in counted("damaged checkpoint", count):
        reference, source, whole = stopped[number % len(stopped)]
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(source, root)
        place = root / whole.relative_to(source)
        with_older = number // len(stopped) % 2
        if with_older:
            shutil.copytree(place, place.with_name("checkpoint.old"))
            older += 1
        what = f"{whole.parent.name}, {damaged(place, rng, number, RECORD)}"
        wrong = resumed_well(reference.studied, root, reference.artefacts, said)
        start = "the checkpoint before" if with_older else "the start"
        words = said.read_text()
        if not wrong and not ("is damaged" in words and f"{start}\n" in words):
            wrong = f"it says {words[:300]}"
        tally.note(not wrong, f"{what}: {wrong}")
    kinds = len({whole.parent.name.rsplit("-", 1)[0] for _, _, whole in stopped})
    tally.remark = f"of {kinds} kinds of training; {older} had an older one beside"
    return tally
