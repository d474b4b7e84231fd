"""A short part of the harness; the whole is `make break`."""

import subprocess
import sys

import pytest


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_kills_and_damages_cost_no_bit(root):
    words = ["-m", "tests.breaking", "--kills", "4", "--damages", "60", "--seed", "1"]
    done = subprocess.run(
        [sys.executable, *words], cwd=root, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("damages to") == 2 and "kills at a random moment" in done.stdout
