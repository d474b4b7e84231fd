"""`python -m tests.bad_input`: run the corpus of bad inputs, and print what came of it, file by file.

A case is a bad input that has to be refused; beside it stands a look-alike that has to pass. A case whose
input is taken without a word is a silent pass. One that ends in anything but an error for a person is a
traceback. Faults are told apart by their words, without the values that they name.
"""

import argparse
import re
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from afd_study.errors import AfdError

HERE = Path(__file__).resolve().parent
COLUMNS = ("cases", "held", "silent", "tracebacks", "look-alikes", "passed")
_VALUES = re.compile(r"'[^']*'|\"[^\"]*\"|\S*[/\\]\S*|\S*\d\S*|\S+\.\w+\b")
_NO_ERROR = ("DID NOT RAISE", "assert not ")


class Census:
    """Counts outcomes of tests by file, and the words of every error for a person that is made meanwhile."""

    def __init__(self):
        self.counts, self.words, self.failed = defaultdict(Counter), set(), []

    def pytest_runtest_logreport(self, report):
        if report.when != "call" or "[" not in report.nodeid or report.skipped:
            return
        file, _, name = report.nodeid.partition("::")
        alike = any(word in name.partition("[")[0] for word in ("look_alike", "passes"))
        count, text = self.counts[Path(file).name], str(report.longrepr or "")
        count["look-alikes" if alike else "cases"] += 1
        if report.passed:
            count["passed" if alike else "held"] += 1
            return
        self.failed.append(report.nodeid)
        if not alike:
            count["silent" if any(each in text for each in _NO_ERROR) else "tracebacks"] += 1

    def record(self, error, *args):
        self.words.add(" ".join(_VALUES.sub("_", str(args[0] if args else "")).split())[:80])


def main():
    options = argparse.ArgumentParser(prog="python -m tests.bad_input", description=__doc__)
    options.add_argument("files", nargs="*", help="of tests/bad_input; all if none is named")
    files = options.parse_args().files or sorted(str(path) for path in HERE.glob("test_*.py"))
    census, plain = Census(), AfdError.__init__

    def recorded(self, *args, **keywords):
        census.record(self, *args)
        plain(self, *args, **keywords)

    AfdError.__init__ = recorded
    status = pytest.main(["-q", "-p", "no:cacheprovider", "--no-header", *files], plugins=[census])
    print(f"\n{'':<26}" + "".join(f"{name:>12}" for name in COLUMNS))
    for file, count in sorted(census.counts.items()):
        print(f"{file:<26}" + "".join(f"{count[name]:>12}" for name in COLUMNS))
    total = sum(census.counts.values(), Counter())
    print(f"{'in all':<26}" + "".join(f"{total[name]:>12}" for name in COLUMNS))
    print(f"{len(census.words)} distinct faults, told apart by their words")
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
