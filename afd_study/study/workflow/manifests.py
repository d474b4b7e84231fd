"""Manifests: what an artefact's folder says of itself, with a checksum of each file and of what it says.

A manifest names its step and its key, so that an artefact in the place of another is seen. Its text is the
only one that its content can have, so that any other byte counts as damage.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from afd_study.models.sealed_folders import checksum, file_checksum

MANIFEST = "manifest.json"


class Damage(Exception):
    """An artefact is not what was written; the text says in what."""


def manifest_text(manifest: Mapping[str, Any]) -> str:
    """Return the text of a manifest (fit for JSON) that lacks its checksum, which is added."""
    body = json.dumps(manifest)
    return json.dumps({**manifest, "checksum": checksum(body.encode())}, indent=1)


def read_manifest(folder: Path, *, name: str | None = None, key: str | None = None) -> dict[str, Any]:
    """Return the manifest of an artefact's folder.

    Raises FileNotFoundError where there is none, another OSError where it cannot be read, and Damage where
    its text is not as written or speaks of another step or key.
    """
    data = _bytes(folder / MANIFEST)
    try:
        manifest = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as fault:
        raise Damage(f"{MANIFEST} is no JSON") from fault
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise Damage(f"{MANIFEST} names no files")
    if "checksum" not in manifest:
        raise Damage(f"{MANIFEST} has no checksum of itself: it was cut, or an older version wrote it")
    bare = {field: value for field, value in manifest.items() if field != "checksum"}
    if manifest_text(bare).encode() != data:
        raise Damage(f"{MANIFEST} differs from its checksum")
    for field, expected in (("name", name), ("key", key)):
        if expected is not None and bare[field] != expected:
            raise Damage(f"{MANIFEST} is that of another {'step' if field == 'name' else 'key'}")
    return bare


def check_files(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Raise Damage for a file that is missing or differs; another OSError where one cannot be read."""
    for name, expected in manifest["files"].items():
        try:
            differs = file_checksum(folder / name) != expected
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as fault:
            raise Damage(f"{name} is missing") from fault
        if differs:
            raise Damage(f"{name} differs from its checksum")


def checksums(folder: Path) -> dict[str, str]:
    """Return the checksum of every file below a folder, by its path there."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): file_checksum(path) for path in paths}


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except IsADirectoryError as fault:
        raise Damage(f"{path.name} is a folder") from fault
