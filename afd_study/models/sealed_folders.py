"""Folders that are whole or known not to be: each file's checksum in a record that has one of its own.

A folder is written under another name, brought to the disk, and renamed. The one before it goes only when the
new one stands. So a kill or a loss of power leaves a whole folder, and whatever else happened to it is seen.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from afd_study.errors import StoreError

RECORD = "state.json"


class DamagedFolder(Exception):
    """The files are not those that were written; the text says which one."""


def seal(folder: Path, record: Mapping[str, Any]) -> None:
    """Write `record` (fit for JSON) with the checksums of all files, and bring everything to the disk."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = {path.relative_to(folder).as_posix(): file_checksum(path) for path in paths}
    (folder / RECORD).write_bytes(_text({**record, "files": files}))
    sync_all(folder)


def sync_all(folder: Path) -> None:
    """Bring a folder and all that is in it to the disk: a loss of power after this costs none of it."""
    for path in (*folder.rglob("*"), folder):
        sync(path)


def opened(folder: Path) -> dict[str, Any] | None:
    """Return the record of a sealed folder, or None where there is no folder.

    Raises DamagedFolder where any byte differs from what was written or a file is missing, StoreError where
    the folder cannot be read (no permission, a fault of the disk): that says nothing about its bytes.
    """
    if not folder.is_dir():
        return None
    with _reading(folder / RECORD):
        text = (folder / RECORD).read_bytes()
    try:
        record = json.loads(text)
        files = dict(record.pop("files"))
        del record["checksum"]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as fault:
        raise DamagedFolder(f"{RECORD} cannot be read") from fault
    if text != _text({**record, "files": files}):
        raise DamagedFolder(f"{RECORD} differs from its checksum")
    for name, expected in files.items():
        with _reading(folder / name):
            if file_checksum(folder / name) != expected:
                raise DamagedFolder(f"{name} differs from its checksum")
    return dict(record)


def replace(current: Path, fresh: Path, older: Path) -> None:
    """Put a sealed folder in the place of another, which stands as `older` until that is done."""
    if current.is_dir():
        shutil.rmtree(older, ignore_errors=True)
        current.rename(older)
    fresh.rename(current)
    sync(current.parent)
    shutil.rmtree(older, ignore_errors=True)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as fault:
        raise DamagedFolder(f"{path.name} is missing") from fault
    except OSError as fault:
        raise StoreError(
            f"cannot read the checkpoint file {path}: {fault.strerror or fault}. It is left as it is: make "
            "it readable, or remove its folder to start this training again"
        ) from fault


def _text(record: Mapping[str, Any]) -> bytes:
    body = json.dumps(record)
    return json.dumps({**record, "checksum": checksum(body.encode())}).encode()


def file_checksum(path: Path) -> str:
    """Return the 32 hex digits that stand for a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def checksum(data: bytes) -> str:
    """Return the 32 hex digits that stand for some bytes."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def sync(path: Path) -> None:
    """Bring a file's bytes, or the names in a folder, to the disk."""
    if os.name == "nt" and path.is_dir():
        return  # Windows opens no folders
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
