"""What tests of killed runs ask of processes."""

import time
from pathlib import Path


def descendants(process):
    """All processes below one, by Linux's own account."""
    found, todo = [], [process]
    while todo:
        try:  # any thread may have begun one
            threads = list(Path(f"/proc/{todo.pop()}/task").glob("*/children"))
            children = [int(word) for thread in threads for word in thread.read_text().split()]
        except OSError:
            continue
        found += children
        todo += children
    return found


def alive(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_until(true, seconds):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)
