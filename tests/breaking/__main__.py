"""`python -m tests.breaking [PART ...]`: break studies in every way that a machine does; print what held.

Each line of the table is printed when it is known; progress goes to stderr. `make break` runs all parts.
"""

import argparse
import os
import random
import sys
import tempfile
from contextlib import redirect_stderr
from importlib import import_module
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # children are forked, so no pool of threads may stand before
os.environ["TQDM_DISABLE"] = "1"

from afd_study.study.steps import STEPS  # noqa: E402
from afd_study.study.workflow.step import closure  # noqa: E402
from tests.breaking import damages, kills, shortages, signals  # noqa: E402
from tests.breaking.studies import ROOT, studies  # noqa: E402

PARTS = ("kills", "damages", "checkpoints", "signals", "disk", "memory", "together")
LOADED = ("commands", "workflow.context", "forecast.dry_run")  # what children would import one by one


def arguments():
    parser = argparse.ArgumentParser(prog="python -m tests.breaking", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all if none is named"
    )
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--damages", type=int, default=200, help="to artefacts and manifests")
    parser.add_argument("--checkpoints", type=int, default=100, help="damages to checkpoints")
    parser.add_argument("--resumed", type=int, default=40, help="damaged stores, and checkpoints, run again")
    parser.add_argument("--stops", type=int, default=12, help="checkpoints that are damaged")
    parser.add_argument("--pairs", type=int, default=8, help="of runs at once on one store")
    parser.add_argument("--few", action="store_true", help="one small command instead of all kinds of steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--place", help="a folder on the file system to be tried, such as /dev/shm")
    options = parser.parse_args()
    for part in options.parts:
        if part not in PARTS:
            parser.error(f"unknown part {part!r}: one of {', '.join(PARTS)}")
    return options


def tallies(options, folder, rng, references):
    """Break what the options ask for; yield each line of the table when it is known."""
    parts = options.parts or PARTS
    if "kills" in parts:
        yield from kills.kills(options.kills, folder, rng, references)
    if "damages" in parts:
        yield damages.store_damages(options.damages, folder, rng, references)
        yield damages.resumed_stores(options.resumed, folder, rng, references)
    if "checkpoints" in parts:
        stopped = list(damages.stops(options.stops, folder, references))
        yield damages.checkpoint_damages(options.checkpoints, folder, rng, stopped)
        yield damages.resumed_checkpoints(options.resumed, folder, rng, stopped)
    if "signals" in parts:
        yield from signals.signals(folder, rng, references)
    if "disk" in parts:
        yield shortages.small_files(folder, rng, references)
        yield shortages.small_disks(folder, rng, references)
    if "memory" in parts:
        yield shortages.little_memory(folder, rng, references)
    if "together" in parts:
        yield shortages.together(options.pairs, folder, rng, references)


def main():
    options = arguments()
    os.environ["PYTHONPATH"] = str(ROOT)
    for name in (*(f"steps.{kind.function.split(':')[0]}" for kind in STEPS.values()), *LOADED):
        import_module(f"afd_study.study.{name}")
    rng, faulty = random.Random(options.seed), False
    with (
        tempfile.TemporaryDirectory(dir=options.place) as name,
        open(os.devnull, "w") as nowhere,
        redirect_stderr(nowhere),  # each damage is a line
    ):
        folder = Path(name)
        references = []
        commands = studies(folder, options.few)
        for number, studied in enumerate(commands, start=1):
            print(f"command {number} of {len(commands)}, at one go", file=sys.__stderr__, flush=True)
            reference = kills.Reference(studied, folder / f"reference-{number}", folder)
            reference.wanted = studied.steps(reference.root)  # each of which a run looks at
            reference.stored = list(closure(reference.wanted).values())
            references.append(reference)
        print(f"{'':<40}{'tried':>7}{'held':>7}", flush=True)
        for tally in tallies(options, folder, rng, references):
            print(f"{tally.name:<40}{tally.tried:>7}{tally.right:>7}  {tally.remark}".rstrip())
            for fault in tally.faults:
                print(f"    {fault}")
            sys.stdout.flush()
            faulty = faulty or bool(tally.faults)
    return int(faulty)


if __name__ == "__main__":
    sys.exit(main())
