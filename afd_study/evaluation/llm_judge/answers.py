"""A file of answers: each is added when it comes, so that no question is paid for twice.

One JSON object a line, {"key": ..., "verdict": ...}. A key is a hash of the question; neither questions nor
anything of the endpoint's key is in the file.
"""

import hashlib
import json
import os
import threading
from collections.abc import Container
from pathlib import Path
from typing import Any

from afd_study.errors import DataError, StoreError


def question_key(base_url: str, body: dict[str, Any]) -> str:
    """Return 40 hex digits that change with the endpoint and with anything that is sent to it."""
    text = json.dumps([base_url, body], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=20).hexdigest()


class Answers:
    """The verdicts in a file, by question; `keep` adds one, from any thread."""

    def __init__(self, path: Path, verdicts: Container[str]) -> None:
        """Read `path`, if it is there; `verdicts` are those that it may hold.

        A line that an interruption cut short is passed over, and so is one with another verdict. Raises
        DataError for a file that holds something else, StoreError for one that cannot be read.
        """
        self.path, self._lock = path, threading.Lock()
        self._verdicts: dict[str, str] = {}
        try:
            text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
        except OSError as fault:
            raise StoreError(f"cannot read the answers in {path}: {fault.strerror or fault}") from fault
        *lines, self._torn = text.split("\n")
        for line in lines:
            record = _record(line)
            if record and record[1] in verdicts:
                self._verdicts[record[0]] = record[1]
        if any(lines) and not self._verdicts:
            raise DataError(f"{path} holds no answers of a judge: name another file, to be made")

    def __contains__(self, key: str) -> bool:
        return key in self._verdicts

    def __getitem__(self, key: str) -> str:
        return self._verdicts[key]

    def prepare(self) -> None:
        """Make the file, so that one which cannot be written is known before anything is asked."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.touch()
        except OSError as fault:
            raise self._unwritable(fault) from fault

    def keep(self, key: str, verdict: str) -> None:
        """Add a verdict, on the disk before this returns; StoreError where that fails."""
        with self._lock:
            # a line that was cut short is closed first, or the new one would be lost with it
            line = "\n" * bool(self._torn) + json.dumps({"key": key, "verdict": verdict}) + "\n"
            try:
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(line)
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as fault:
                self._torn = "?"  # part of it may have been written
                raise self._unwritable(fault) from fault
            self._torn = ""
            self._verdicts[key] = verdict

    def _unwritable(self, fault: OSError) -> StoreError:
        return StoreError(
            f"cannot write the answers to {self.path}: {fault.strerror or fault}. Free some space, or make "
            "the folder writable; what was answered before is kept"
        )


def _record(line: str) -> tuple[str, str] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict):
        return None
    key, verdict = record.get("key"), record.get("verdict")
    return (key, verdict) if isinstance(key, str) and isinstance(verdict, str) else None
