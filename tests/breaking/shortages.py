"""A small disk and little memory: one clear line and exit status 1, and a resume that costs no bit."""

import os
import resource
import shlex
import shutil
import signal
import subprocess
import sys

from tests.breaking.studies import (
    ROOT,
    Tally,
    artefacts,
    as_on_a_terminal,
    command,
    counted,
    ended,
    forked,
    resumed_well,
    spawned,
)

FILE_SIZES = (300, 1_000, 3_000, 8_000, 12_000, 20_000, 30_000, 60_000)  # bytes
DISKS = (200, 400, 800)  # kB
MEMORY = (300, 600, 900, 1200, 1500, 1800, 2200)  # MB of addresses, or of data


def unclear(status, words, by_libraries=0):
    """What is wrong with a command's end for want of room: it is to be status 1 and one line.

    `by_libraries` lines may stand before it, or speak of memory in its place: a library that ends the process
    by itself leaves Python no word.
    """
    lines = [line for line in words.splitlines() if line and not line.startswith("  ")]
    told = bool(lines) and (lines[-1].startswith("afd: ") or (by_libraries and "memory" in lines[-1].lower()))
    if status == 0 or (status == 1 and told and len(lines) <= 1 + by_libraries and "Traceback" not in words):
        return ""
    return f"status {status}, {len(lines)} lines, {words[-400:]!r}"


def small_files(folder, rng, references):
    """Let no file grow beyond a limit, as a quota does; then resume without it."""
    tally = Tally("limits of a file's size")
    root, said = folder / "small-files", folder / "said"
    cases = [(reference, size) for reference in references[:2] for size in FILE_SIZES]
    for number in counted("limit of files", len(cases)):
        reference, size = cases[number]
        shutil.rmtree(root, ignore_errors=True)

        def limited(reference=reference, size=size):
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
            command(reference.studied, root)

        status = ended(forked(limited, said))
        tally.remark = f"{int(tally.remark.split()[0] if tally.remark else 0) + (status == 1)} ended with 1"
        words = said.read_text()
        wrong = unclear(status, words) or resumed_well(reference.studied, root, reference.artefacts, said)
        tally.note(not wrong, f"{size} bytes: {wrong}")
    return tally


def small_disks(folder, rng, references):
    """Run in a small file system of memory's, where namespaces allow one; make it larger, and resume."""
    tally, reference = Tally("small disks"), references[0]
    if not _namespaces():
        tally.remark = "not tried: this system lets no user mount"
        return tally
    place, kept = folder / "disk", folder / "kept"
    run = shlex.join([sys.executable, "-m", "afd_study.study", *reference.studied.words, "--jobs", "1"])
    environment = {**os.environ, "AFD_STORE": str(place / "store"), "TQDM_DISABLE": "1"}
    for number in counted("small disk", len(DISKS)):
        shutil.rmtree(kept, ignore_errors=True)
        place.mkdir(exist_ok=True)
        steps = [
            f"mount -t tmpfs -o size={DISKS[number]}k none {place}",
            f"{{ {run} >/dev/null; echo status $? >&2; }}",
            f"mount -o remount,size=100m {place}",
            f"{run} >/dev/null 2>&1",
            f"cp -r {place}/store {kept}",
        ]
        done = subprocess.run(
            ["unshare", "-rm", "bash", "-c", " && ".join(steps)],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        words, _, status = done.stderr.rpartition("status ")
        wrong = unclear(int(status or -1), words)
        if not wrong and artefacts(kept) != reference.artefacts:
            wrong = "other bits, or none"
        tally.note(not wrong, f"{DISKS[number]} kB: {wrong}")
    return tally


def _namespaces():
    try:
        words = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"]
        return subprocess.run(words, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def little_memory(folder, rng, references):
    """Limit a process's memory, and its workers', from the start; then resume without the limit."""
    tally, reference = Tally("limits of memory"), references[0]
    root, said = folder / "little-memory", folder / "said"
    kinds = (resource.RLIMIT_AS, resource.RLIMIT_DATA)
    cases = [(kind, size, jobs) for kind in kinds for size in MEMORY for jobs in (1, 2)]
    ends = []
    for number in counted("limit of memory", len(cases)):
        kind, size, jobs = cases[number]
        shutil.rmtree(root, ignore_errors=True)

        def limit(kind=kind, size=size):
            as_on_a_terminal()
            resource.setrlimit(kind, (size * 10**6,) * 2)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

        process = spawned(reference.studied, root, jobs, prepare=limit)
        _, words = process.communicate()
        ends.append(process.returncode)
        wrong = unclear(process.returncode, words, by_libraries=1)
        wrong = wrong or resumed_well(reference.studied, root, reference.artefacts, said)
        name = "addresses" if kind == resource.RLIMIT_AS else "data"
        tally.note(not wrong, f"{size} MB of {name}, {jobs} jobs: {wrong}")
    tally.remark = f"{ends.count(1)} ended with 1, {ends.count(0)} had enough"
    return tally


def together(count, folder, rng, references):
    """Start two runs at once on one store, every second time a third that is killed; compare all bytes."""
    tally = Tally("two runs at once on one store")
    root = folder / "shared-store"
    for number in counted("pair of runs", count):
        reference = references[number % len(references)]
        shutil.rmtree(root, ignore_errors=True)
        saids = [folder / f"said-{place}" for place in range(3)]
        children = [
            forked(lambda r=reference: command(r.studied, root), said) for said in saids[: 2 + number % 2]
        ]
        if number % 2:
            signal.sigtimedwait((), rng.uniform(0, reference.seconds))
            os.kill(children[2], signal.SIGKILL)
        ends = [ended(child) for child in children]
        same = artefacts(root) == reference.artefacts
        words = [said.read_text()[-300:] for said in saids if said.exists()]
        tally.note(ends[:2] == [0, 0] and same, f"{ends}, {'same' if same else 'other'} bits: {words}")
    return tally
