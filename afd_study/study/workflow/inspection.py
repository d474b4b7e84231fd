"""What lies in a store: each artefact and each unfinished workspace, how large, and whether it is of use."""

import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from afd_study.study.workflow.code_version import code_version, library_versions
from afd_study.study.workflow.manifests import Damage, check_files, read_manifest
from afd_study.study.workflow.store import CLAIM, Store, fcntl, unwritable

STATES = ("whole", "outdated", "damaged", "unreadable", "unfinished", "in use")
REMOVABLE = ("outdated", "damaged", "unfinished")
_KEY, _NAME = re.compile(r"[0-9a-f]{20}"), re.compile(r"[A-Za-z0-9_-]+")


class Entry(NamedTuple):
    """An artefact or workspace: its step and key, its bytes, one of STATES, why, and when it was written."""

    step: str
    key: str
    folder: Path
    size: int
    state: str
    reason: str
    written: str


def survey(store: Store, functions: Mapping[str, str], *, thorough: bool = False) -> list[Entry]:
    """Return all that lies in a store, by step and key; folders that are no artefacts' are left out.

    `functions` names each step's function ("module:function") of today: artefacts of another code, or of
    other library versions, are outdated. `thorough` reads every file and compares checksums.
    Raises StoreError where the store itself cannot be read.
    """
    entries = [_artefact(path, functions, thorough) for path in sorted(_folders(store.root))]
    return entries + [_workspace(path) for path in sorted(_subfolders(store.root / "unfinished"))]


def remove(store: Store, entries: Iterable[Entry]) -> list[Entry]:
    """Remove entries, but none that a run has taken up since; return those that are gone.

    Raises StoreError where one cannot be removed.
    """
    gone = []
    for entry in entries:
        with _held(entry.folder, entry.state == "unfinished") as ours:
            if not ours:
                continue
            try:
                shutil.rmtree(entry.folder)
            except FileNotFoundError:
                pass  # a run was faster
            except OSError as fault:
                raise unwritable(entry.folder, fault) from fault
            gone.append(entry)
    return gone


def _folders(root: Path) -> Iterator[Path]:
    for step in _subfolders(root):
        if step.name != "unfinished":
            yield from (path for path in _subfolders(step) if _KEY.fullmatch(path.name))


def _subfolders(folder: Path) -> list[Path]:
    try:
        paths = list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as fault:
        raise unwritable(folder, fault) from fault
    return [path for path in paths if _NAME.fullmatch(path.name) and path.is_dir() and not path.is_symlink()]


def _artefact(folder: Path, functions: Mapping[str, str], thorough: bool) -> Entry:
    name, key = folder.parent.name, folder.name
    state, reason = "whole", ""
    try:
        manifest = read_manifest(folder, name=name, key=key)
        if thorough:
            check_files(folder, manifest)
        reason = _outdated(manifest["code"], manifest["libraries"], functions.get(name))
        state = "outdated" if reason else "whole"
    except (Damage, FileNotFoundError, NotADirectoryError) as fault:
        state, reason = "damaged", str(fault) if isinstance(fault, Damage) else "it has no manifest"
    except OSError as fault:
        state, reason = "unreadable", fault.strerror or str(fault)
    return Entry(name, key, folder, _size(folder), state, reason, _written(folder))


def _outdated(code: str, libraries: Mapping[str, str], function: str | None) -> str:
    """Say why an artefact is of no use to the present code; "" where it may be."""
    if function is None:
        return "there is no such step any more"
    if code != code_version(function):
        return "the step's code has changed"
    today = library_versions()
    others = [name for name in sorted({*today, *libraries}) if today.get(name) != libraries.get(name)]
    return f"other versions of {', '.join(others)}" if others else ""


def _workspace(folder: Path) -> Entry:
    name, _, key = folder.name.rpartition("-")
    with _held(folder, True) as ours:
        state, reason = ("unfinished", "a run that was interrupted") if ours else ("in use", "a run is at it")
    return Entry(name or key, key, folder, _size(folder), state, reason, _written(folder))


@contextmanager
def _held(folder: Path, claimed: bool) -> Iterator[bool]:
    """Hold a workspace against runs; False where a run has it. Artefacts need no holding."""
    try:
        handle = os.open(folder / CLAIM, os.O_RDWR) if claimed and fcntl is not None else None
    except OSError:
        handle = None  # nobody has claimed it
    ours = True
    try:
        if handle is not None:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        ours = False
    try:
        yield ours
    finally:
        if handle is not None:
            os.close(handle)


def _size(folder: Path) -> int:
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(where, name)).st_size
            except OSError:
                continue  # a run has just removed it
    return total


def _written(folder: Path) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(folder.stat().st_mtime))
    except OSError:
        return ""
