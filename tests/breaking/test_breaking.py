"""A short part of the harness; the whole is `make break`."""

import subprocess
import sys

import pytest

FEW = ["--few", "--kills", "6", "--damages", "40", "--checkpoints", "40", "--resumed", "2", "--stops", "2"]


def broken(root, *words):
    done = subprocess.run(
        [sys.executable, "-m", "tests.breaking", *words, "--seed", "1"],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_kills_and_damages_cost_no_bit(root):
    status, table, said = broken(root, "kills", "damages", "checkpoints", "together", *FEW, "--pairs", "1")
    assert status == 0, table + said
    lines = {line[:40].strip(): line[40:].split()[:2] for line in table.splitlines()}
    tried = {name: int(counts[0]) for name, counts in lines.items() if name}
    held = {name: int(counts[1]) for name, counts in lines.items() if name}
    assert tried == held and sum(tried.values()) == 6 + 40 + 2 + 40 + 2 + 1


def test_an_unknown_part_is_refused(root):
    status, _, said = broken(root, "kils")
    assert status == 2 and "unknown part 'kils': one of kills, damages" in said
