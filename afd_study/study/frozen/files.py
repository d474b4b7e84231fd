"""Frozen results: small tables with a manifest, for what takes too long to be computed with the book.

A folder holds CSV tables and `manifest.json`: commit, versions, hardware, threads, seeds, seconds, and each
table's checksum. A table that does not match its manifest is refused, never shown.
"""

import hashlib
import json
import os
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from afd_study.errors import StoreError, unknown_name
from afd_study.models import distributed
from afd_study.settings import at_home
from afd_study.study.workflow.code_version import ROOT, library_versions
from afd_study.study.workflow.store import commit, unwritable

MANIFEST = "manifest.json"


def results_folder() -> Path:
    """Return where frozen results lie: AFD_RESULTS, or book/results beside the package."""
    folder = os.environ.get("AFD_RESULTS")
    return at_home(Path(folder)).resolve() if folder else ROOT.parent / "book" / "results"


def hardware() -> dict[str, Any]:
    """Return processor, cores that this process may use, and accelerator, as far as the system says."""
    import torch  # a page from frozen tables needs no torch until somebody asks for the hardware

    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    except OSError:
        pass  # not Linux: the platform's own name has to do
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"processor": name, "cores": cores, "accelerator": gpu, "system": platform.system()}


def provenance() -> dict[str, Any]:
    """Return what numbers were computed by and on: commit, libraries, python, hardware."""
    made_by = {"commit": commit(), "libraries": library_versions()}
    return {**made_by, "python": platform.python_version(), "hardware": hardware()}


def freeze(name: str, tables: Mapping[str, pd.DataFrame], **about: Any) -> Path:
    """Write tables as CSV with their manifest under `name`, whole: beside the old ones first, then renamed.

    `about` goes into the manifest: seeds, threads, seconds, profile and whatever else says how the tables
    were made.

    Raises StoreError where the folder cannot be written.
    """
    folder = results_folder() / name
    if not distributed.is_main():
        return folder
    fresh = folder.with_name(f".{folder.name}-fresh")
    try:
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        files = {}
        for table, frame in tables.items():
            path = fresh / f"{table}.csv"
            frame.to_csv(path, index=False, float_format="%.9g", lineterminator="\n")
            files[path.name] = {"blake2b": _checksum(path), "rows": len(frame)}
        manifest = {**provenance(), **about, "files": files}
        (fresh / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
    except OSError as fault:
        raise unwritable(folder, fault) from fault
    return folder


def is_frozen(name: str) -> bool:
    """Tell whether there are frozen results of that name, whole or not."""
    return (results_folder() / name).is_dir()


def read_manifest(name: str) -> dict[str, Any]:
    """Return the manifest of the frozen results `name`.

    Raises StoreError where there is none, or it cannot be read.
    """
    path = results_folder() / name / MANIFEST
    if not path.is_file():
        here = results_folder()
        known = sorted(str(path.parent.relative_to(here)) for path in here.rglob(MANIFEST))
        raise StoreError(
            f"there are no frozen results '{name}' (known: {', '.join(known) or 'none'}): compute them with "
            "`make results`, or point AFD_RESULTS to where they lie"
        )
    try:
        manifest = dict(json.loads(path.read_text(encoding="utf-8")))
        if not all(about["blake2b"] for about in manifest["files"].values()):
            raise ValueError("a table without a checksum")
        return manifest
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as fault:
        raise StoreError(f"the manifest of the frozen results '{name}' cannot be read: {fault}") from fault


def read_frozen(name: str, table: str) -> pd.DataFrame:
    """Return a frozen table whose checksum is its manifest's.

    Raises SpecError for a table that the manifest does not name, StoreError for one that is missing or does
    not match.
    """
    files = read_manifest(name).get("files", {})
    if f"{table}.csv" not in files:
        raise unknown_name(f"frozen table of '{name}'", table, [file.removesuffix(".csv") for file in files])
    path = results_folder() / name / f"{table}.csv"
    if not path.is_file() or _checksum(path) != files[path.name]["blake2b"]:
        what = "does not match its manifest" if path.is_file() else "is missing"
        raise StoreError(
            f"the frozen table {name}/{path.name} {what} and is not shown: restore it from the repository, "
            "or compute it again with `make results`"
        )
    return pd.read_csv(path, keep_default_na=True)


def _checksum(path: Path) -> str:
    # a checkout may have changed line ends; the numbers are the same
    text = path.read_bytes().replace(b"\r\n", b"\n")
    return hashlib.blake2b(text, digest_size=16).hexdigest()
