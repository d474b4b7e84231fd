"""The store: each step's artefact in a folder named by its key, whole or absent, checked when it is opened.

A key covers the step's name, its code's version, the libraries' versions, every setting it receives and
the keys of its inputs. An artefact is written in a workspace beside its place and renamed when its
manifest (checksums, versions, commit, seconds, cost) is in; a workspace that an interruption left is taken
up again. What has to be computed is decided in `executor.steps_to_run`: every step whose key (`Step.key`) has
no whole artefact here.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from afd_study.errors import SpecError, StoreError
from afd_study.models import distributed
from afd_study.models.sealed_folders import sync, sync_all
from afd_study.settings import at_home
from afd_study.study.workflow.code_version import ROOT, code_version, library_versions
from afd_study.study.workflow.manifests import (
    MANIFEST,
    Damage,
    check_files,
    checksums,
    manifest_text,
    read_manifest,
)
from afd_study.study.workflow.step import Step, plain

try:
    import fcntl
except ImportError:  # no Unix: two runs of the same step at once are then the user's affair
    fcntl = None  # type: ignore[assignment]

__all__ = ["CLAIM", "MANIFEST", "Store", "commit", "default_store", "unreadable", "unwritable"]

CLAIM = "claim"  # the file of a workspace that its holder has locked


@dataclass(frozen=True)
class Store:
    """Artefacts under `root`."""

    root: Path

    def folder(self, step: Step) -> Path:
        """Return where the step's artefact lies, or will lie."""
        return self.root / step.name / step.key

    def workspace(self, step: Step) -> Path:
        """Return where the step works until it is done; outlives an interruption."""
        return self.root / "unfinished" / f"{step.name}-{step.key}"

    def manifest(self, step: Step) -> dict[str, Any] | None:
        """Return the manifest of a whole artefact, or None; a damaged one is removed, to be made again.

        Raises StoreError where an artefact cannot be read (no permission, a fault of the disk): that says
        nothing about its bytes, and it is left as it is.
        """
        folder = self.folder(step)
        try:
            before = folder.stat()
            manifest = read_manifest(folder, name=step.name, key=step.key)
            check_files(folder, manifest)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except Damage as damage:
            print(
                f"{step.name}: the artefact in {folder} is damaged ({damage}); it is computed again",
                file=sys.stderr,  # stdout is for tables
            )
            with suppress(OSError):
                if os.path.samestat(folder.stat(), before):  # else another run has just made it anew
                    shutil.rmtree(folder, ignore_errors=True)
            return None
        except OSError as fault:
            raise unreadable(folder, fault) from fault
        return manifest

    @contextmanager
    def claimed(self, step: Step) -> Iterator[None]:
        """Make the step's workspace and hold it against other processes, waiting for one that has it.

        A claim ends with its process, however that ends.

        Raises StoreError where the folder cannot be written.
        """
        workspace, handle = self.workspace(step), None
        while handle is None:
            try:
                workspace.mkdir(parents=True, exist_ok=True)
                # a file open for writing: NFS locks a folder on one node alone
                handle = os.open(workspace / CLAIM, os.O_RDWR | os.O_CREAT) if fcntl is not None else -1
            except FileNotFoundError:
                continue  # its holder was done, and removed it
            except OSError as fault:
                raise unwritable(workspace, fault) from fault
        try:
            if fcntl is not None:
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            if fcntl is not None:
                os.close(handle)

    def keep(self, step: Step, out: Path, *, seconds: float, cost: Mapping[str, Any]) -> None:
        """Move a finished artefact from `out` to its place, its manifest last.

        Raises StoreError where the disk is full or the folder cannot be written.
        """
        manifest = {
            "name": step.name,
            "key": step.key,
            "files": checksums(out),
            "settings": plain(step.settings),
            "inputs": {name: item.key for name, item in step.inputs.items()},
            "cost": dict(cost),
            "code": code_version(step.function),
            "libraries": library_versions(),
            "commit": commit(),
            "on_gpu": distributed.on_gpu(),
            "seconds": round(seconds, 3),
            "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        folder = self.folder(step)
        try:
            (out / MANIFEST).write_text(manifest_text(manifest), encoding="utf-8")
            sync_all(out)  # before its name says that it is whole
            folder.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
            out.rename(folder)
            sync(folder.parent)
        except OSError as fault:
            raise unwritable(folder, fault) from fault
        shutil.rmtree(self.workspace(step), ignore_errors=True)

    def seconds(self, name: str) -> float | None:
        """Return how long the latest step of this name took here, or None where none has run."""
        try:
            paths = list((self.root / name).glob(f"*/{MANIFEST}"))
            newest = max(paths, key=lambda path: path.stat().st_mtime, default=None)
            return None if newest is None else float(read_manifest(newest.parent)["seconds"])
        except (OSError, Damage, ValueError, KeyError, TypeError):
            return None  # an estimate can do without


def default_store() -> Store:
    """Return the store of AFD_STORE, or `.afd` beside the checkout, or else in the user's cache folder.

    Raises SpecError for an unknown user in AFD_STORE's `~user`, and where no home folder is known.
    """
    place = os.environ.get("AFD_STORE")
    if place:
        try:
            return Store(at_home(Path(place)).resolve())
        except (ValueError, RuntimeError, OSError) as fault:  # no such user; links that go in a circle
            raise SpecError(f"AFD_STORE={place} is no usable path ({fault}): name another folder") from fault
    checkout = ROOT.parent
    if (checkout / "pyproject.toml").is_file():
        return Store(checkout / ".afd")
    try:
        cache_folder = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    except RuntimeError as fault:
        raise SpecError("no home folder is known for a store: set AFD_STORE to a folder") from fault
    return Store(Path(cache_folder) / "afd_study")


def unwritable(where: Path, fault: OSError) -> StoreError:
    """Say what could not be written, why, and what to do about it."""
    return StoreError(
        f"cannot write to the store at {where}: {fault.strerror or fault}. Free some space, make the "
        "folder writable, or set AFD_STORE to another folder; what was finished is kept"
    )


def unreadable(where: Path, fault: OSError) -> StoreError:
    """Say what could not be read, why, and that it is still there."""
    return StoreError(
        f"cannot read the artefact in {where}: {fault.strerror or fault}. It is left as it is: make it "
        "readable, remove it to have it computed again, or set AFD_STORE to another folder"
    )


@cache
def commit() -> str:
    """Return the checkout's commit, with '+' where files differ from it; '' outside a checkout."""
    try:
        head, changes = (
            subprocess.run(
                ["git", *words], cwd=ROOT, capture_output=True, text=True, check=True, timeout=10
            ).stdout
            for words in (["rev-parse", "--short=12", "HEAD"], ["status", "--porcelain", "--", "."])
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return head.strip() + ("+" if changes.strip() else "")
