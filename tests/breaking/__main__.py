"""`python -m tests.breaking`: kill studies, damage stores and checkpoints, print a table of what held."""

import argparse
import os
import sys
from contextlib import redirect_stderr
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # children are forked, so no pool of threads may stand before
sys.path.insert(0, str(Path(__file__).parent))

from harness import break_all  # noqa: E402

import afd_study.methods.reward_model  # noqa: E402, F401  # what children would import one by one
import afd_study.study.workflow.context  # noqa: E402, F401


def main():
    options = argparse.ArgumentParser(prog="python -m tests.breaking", description=__doc__)
    options.add_argument("--kills", type=int, default=100)
    options.add_argument("--damages", type=int, default=200, help="to stores, and as many to checkpoints")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--place", help="a folder on the file system to be tried, such as /dev/shm")
    options = options.parse_args()
    with open(os.devnull, "w") as nowhere, redirect_stderr(nowhere):  # each damage is a line
        tallies = break_all(
            n_kills=options.kills, n_damages=options.damages, seed=options.seed, place=options.place
        )
    print(f"{'':<38}{'tried':>7}{'held':>7}")
    for tally in tallies:
        print(f"{tally.name:<38}{tally.tried:>7}{tally.right:>7}")
        for fault in tally.faults:
            print(f"    {fault}")
    return int(any(tally.faults for tally in tallies))


if __name__ == "__main__":
    sys.exit(main())
