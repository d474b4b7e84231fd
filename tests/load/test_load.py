"""The load harness itself, on sizes of a second or two; the whole is `make load`."""

import subprocess
import sys
from pathlib import Path

import pytest

SIZES = {"draws": ["20"], "artefacts": ["5"], "one_row": ["1000", "10000000"]}


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="reads Linux's /proc")
@pytest.mark.parametrize("part", SIZES)
def test_each_part_prints_what_it_takes(part, root, tmp_path):
    words = ["-m", "tests.load", part, *SIZES[part], "--place", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, *words], cwd=root, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = done.stdout.splitlines()[1:]
    assert len(rows) == len(SIZES[part])
    assert all(float(row.split()[-1]) > 0 for row in rows)  # the memory, MB
    assert sum("(refused)" in row for row in rows) == (part == "one_row")
