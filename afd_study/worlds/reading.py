"""Rows out of JSONL and CSV files, gzipped or not, with their line numbers.

Structural damage (a truncated file, bytes that are not UTF-8, a line that is not JSON, a missing column)
raises DataError with file and line, because other lines of such a file cannot be trusted either. Faults of
content, such as an empty answer, are for the caller to judge: a null or empty field is read as "".
"""

import csv
import gzip
import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from afd_study.errors import DataError, nearest
from afd_study.worlds.normalising import normalised

FORMATS = (".jsonl", ".jsonl.gz", ".csv", ".csv.gz")

_GZIP, _UTF8_MARK, _UTF16_MARKS = b"\x1f\x8b", b"\xef\xbb\xbf", (b"\xff\xfe", b"\xfe\xff")
_LFS_POINTER = b"version https://git-lfs"


@dataclass(frozen=True)
class Row:
    """One row of a file: the line it begins on, from 1, and its fields in the order asked for.

    `fields` is None for a blank line.
    """

    line: int
    fields: tuple[str, ...] | None


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    """Yield the rows of a file, one for each JSON object or CSV record, with the text in `columns`.

    Raises DataError where the file can't be read in full, has no known format, lacks a column, or has no row.
    """
    if not path.name.endswith(FORMATS):
        raise DataError(f"{path}: the name shows the format and must end in {', '.join(FORMATS)}")
    is_csv = path.name.removesuffix(".gz").endswith(".csv")
    lines = _text_lines(path)
    any_row = False
    for row in _csv_rows(path, lines, columns) if is_csv else _json_rows(path, lines, columns):
        any_row = any_row or row.fields is not None
        yield row
    if not any_row:
        raise DataError(f"{path} is empty: it holds no row; expected the columns {list(columns)}")


def digest(paths: Iterable[Path]) -> str:
    """Return 16 hex digits of the files' names and bytes: what a step that reads them depends on."""
    whole = hashlib.blake2b(digest_size=8)
    for path in paths:
        whole.update(path.name.encode() + b"\0")
        try:
            with open(path, "rb") as stream:
                part = hashlib.file_digest(stream, "blake2b")
        except OSError as fault:
            raise DataError(f"{path} can't be read: {fault.strerror}") from fault
        whole.update(part.digest())
    return whole.hexdigest()


def _byte_lines(path: Path) -> Iterator[bytes]:
    """Yield the raw lines, decompressed; a fault of disk or compression names the line before it."""
    read = 0
    try:
        with open(path, "rb") as plain:
            start = plain.read(len(_LFS_POINTER))
            plain.seek(0)
            _refuse_start(path, start)
            with gzip.open(plain) if start.startswith(_GZIP) else plain as stream:
                for line in stream:
                    read += 1
                    yield line
    except (EOFError, zlib.error, gzip.BadGzipFile) as fault:
        raise DataError(
            f"{path}: gzip data cut off or damaged after line {read} ({fault}): fetch the file again"
        ) from fault
    except OSError as fault:
        raise DataError(f"{path} can't be read: {fault.strerror or fault}") from fault


def _refuse_start(path: Path, start: bytes) -> None:
    """Raise DataError for a file that is something else than its name says."""
    if start.startswith(_LFS_POINTER):
        raise DataError(f"{path} is a Git LFS pointer, not the data: run `git lfs pull` in its repository")
    if start and path.suffix == ".gz" and not start.startswith(_GZIP):
        raise DataError(
            f"{path} is not gzip data: fetch it again, or drop .gz from its name if it is plain text"
        )


def _text_lines(path: Path) -> Iterator[str]:
    """Yield the lines as text with their line ends."""
    for number, line in enumerate(_byte_lines(path), start=1):
        if number == 1:
            if line.startswith(_UTF16_MARKS):
                raise DataError(f"{path}: line 1 is UTF-16, not UTF-8: save the file as UTF-8")
            line = line.removeprefix(_UTF8_MARK)
        try:
            yield line.decode("utf-8")
        except UnicodeDecodeError as fault:
            place = f"byte 0x{line[fault.start]:02x}, {fault.start + 1} bytes into the line"
            raise DataError(
                f"{path}: line {number} is not UTF-8 ({place}): save the file as UTF-8"
            ) from fault


def _json_rows(path: Path, lines: Iterable[str], columns: Sequence[str]) -> Iterator[Row]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            yield Row(number, None)
            continue
        where = f"{path}: line {number}"
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as fault:
            # JSON's own message would count lines within this line
            what = f"{fault.msg}, column {fault.colno}" if isinstance(fault, json.JSONDecodeError) else fault
            raise DataError(f"{where} is not JSON ({what}): each line must hold one JSON object") from fault
        if not isinstance(record, dict):
            kind = type(record).__name__
            raise DataError(f"{where} holds a JSON {kind}, not an object with the keys {list(columns)}")
        for column in columns:
            if column not in record:
                raise _missing(where, "key", column, record)
            if not isinstance(record[column], str | None):
                kind = type(record[column]).__name__
                raise DataError(f"{where}: '{column}' must be text, not a JSON {kind}")
        yield Row(number, tuple(normalised(record[column] or "") for column in columns))


def _csv_rows(path: Path, lines: Iterable[str], columns: Sequence[str]) -> Iterator[Row]:
    reader = csv.reader(lines, strict=True)
    before = 0
    try:
        header = [name.strip() for name in next(reader, [])]
        places = _places(path, header, columns)
        before = reader.line_num
        for record in reader:
            begins, before = before + 1, reader.line_num
            if record and len(record) != len(header):
                raise DataError(
                    f"{path}: line {begins} has {len(record)} fields where the header has {len(header)}: "
                    'put "..." around a field that holds commas'
                )
            yield Row(begins, tuple(normalised(record[place]) for place in places) if record else None)
    except csv.Error as fault:
        raise DataError(
            f"{path}: the record from line {before + 1} on is not CSV ({fault}): is each quote closed?"
        ) from fault


def _places(path: Path, header: list[str], columns: Sequence[str]) -> list[int]:
    """Return the index of each column in the header."""
    if not header:
        return []
    for column in columns:
        if column not in header:
            raise _missing(f"{path}: line 1 (the header)", "column", column, header)
        if header.count(column) > 1:
            raise DataError(
                f"{path}: line 1 (the header) names the column '{column}' {header.count(column)} times"
            )
    return [header.index(column) for column in columns]


def _missing(where: str, kind: str, name: str, present: Iterable[str]) -> DataError:
    """Build the error for a column that isn't there, with the nearest one and all that are."""
    names = [str(item) for item in present]
    apart = next((mark for mark in (";", "\t") if len(names) == 1 and mark in names[0]), None)
    close = nearest(name, names)
    hint = (
        f": the fields seem to be separated by {apart!r}; use commas."
        if apart
        else f": did you mean '{close}'?"
        if close
        else "."
    )
    return DataError(
        f"{where} lacks the {kind} '{name}'{hint} Found: {', '.join(map(repr, names)) or 'none'}."
    )
