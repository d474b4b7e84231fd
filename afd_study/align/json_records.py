"""Small JSON files as records, read strictly: what such a file holds counts as it stands, or not at all."""

import json
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pydantic import ValidationError

from afd_study.errors import DataError
from afd_study.settings import Settings, faults_of
from afd_study.worlds.text_files import refuse_endless

MAX_BYTES = 2**20
Record = TypeVar("Record", bound=Settings)


def read_record(path: Path, record: type[Record], remedy: str) -> Record:
    """Read a small JSON file as a record.

    Raises DataError, which ends with `remedy`, where the file can't be read, is too large, is not UTF-8 or
    not JSON, says something twice, lacks a field or has another.
    """
    refuse_endless(path)
    try:
        with open(path, "rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as fault:
        raise DataError(f"{path} can't be read: {fault.strerror or fault}") from fault
    if len(content) > MAX_BYTES:
        raise DataError(f"{path} has more than {MAX_BYTES:,} bytes, the most that is read here: {remedy}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        raise DataError(f"{path} is not UTF-8 (byte {fault.start + 1}): {remedy}") from fault
    try:
        json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as fault:
        raise DataError(f"{path} is not JSON ({str(fault)[:200]}): {remedy}") from fault
    try:
        return record.model_validate_json(text, strict=True)
    except ValidationError as fault:
        raise DataError(f"{path} holds something else ({faults_of(fault)[:300]}): {remedy}") from fault


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object; raise ValueError where a key stands in it twice (Python takes the last)."""
    names = Counter(name for name, _ in pairs)
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise ValueError(f"the key {twice[0][:40]!r} stands in an object {names[twice[0]]} times")
    return dict(pairs)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
