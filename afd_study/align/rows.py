"""Rows of a file whatever its format: JSONL, JSON (a list), CSV or parquet, each as a mapping of its columns.

Structural damage raises DataError with file and line, as worlds/reading.py has it. Values are as the file
holds them, and `text_of` is the door to a text: normalised, and within the bounds of worlds/text_files.py.
"""

import csv
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from afd_study.errors import DataError
from afd_study.worlds.normalising import normalised
from afd_study.worlds.reading import read_rows
from afd_study.worlds.text_files import (
    MAX_BLANK,
    MAX_TEXT,
    MAX_WORD,
    refuse_endless,
    text_lines,
)

FORMATS = (".jsonl", ".jsonl.gz", ".json", ".json.gz", ".csv", ".csv.gz", ".parquet")
MAX_JSON = 2**28  # characters of a JSON list, which is read at once
MAX_GROUP = 2**31  # bytes of a parquet file's row group, which is read at once
SHOWN = 20  # columns in an error
_AT_ONCE = 1000  # rows of a parquet file
# A run that no space ends, in scripts that put spaces between words
_LONG_WORD = re.compile(
    r"[^\s\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u2e80-\ua4cf\uf900-\uffdc\U00020000-\U0003ffff]"
    f"{{{MAX_WORD + 1},}}"
)


class RawRow(NamedTuple):
    """The line that a row begins on (of a parquet file the row's number), from 1; None for a blank line."""

    line: int
    fields: Mapping[str, Any] | None


class OpenFile(NamedTuple):
    """A file's columns, by its header, schema or first record; `rows` yields those of some columns, once."""

    columns: tuple[str, ...]
    rows: Callable[[Sequence[str]], Iterator[RawRow]]


class JsonObject(dict[str, Any]):
    """An object out of JSON, and the keys that stand in it twice."""

    repeated: frozenset[str] = frozenset()


def open_file(path: Path) -> OpenFile:
    """Open a file of rows; its name shows its format.

    Raises DataError where it can't be read, has another format, holds no row or a damaged first one; `rows`
    raises it for what follows.
    """
    if not path.name.endswith(FORMATS):
        raise DataError(f"{path}: the name shows the format and must end in {', '.join(FORMATS)}")
    kind = path.name.removesuffix(".gz").rpartition(".")[2]
    if kind == "parquet":
        return _parquet(path)
    if kind == "csv":
        return OpenFile(_header(path), lambda wanted: _csv_rows(path, wanted))
    rows = _json_rows(path, may_be_list=kind == "json")
    before = []
    for row in rows:
        before.append(row)
        if row.fields is not None:
            return OpenFile(tuple(row.fields), lambda wanted: chain(before, rows))
    raise DataError(f"{path} is empty: it holds no row; expected one JSON object a line")


def text_of(where: str, name: str, value: object) -> str:
    """Return a field's text, "" for null.

    Raises DataError, which names the place `where`, for what is no text or exceeds a bound.
    """
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DataError(f"{where}: '{name}' must be text, not {_kind(value)}")
    if len(value) > MAX_TEXT:
        raise DataError(
            f"{where}: '{name}' holds {len(value):,} characters, and at most {MAX_TEXT:,} are read: split "
            "the text, or take the row out"
        )
    if len(value) > MAX_WORD and _LONG_WORD.search(value):
        raise DataError(
            f"{where}: '{name}' holds a word of more than {MAX_WORD:,} characters: is it text? Take the row "
            "out"
        )
    return normalised(value)


def field_of(where: str, record: Mapping[str, Any], name: str) -> Any:
    """Return a field's value.

    Raises DataError where it is not there, or stands there twice.
    """
    if name not in record:
        raise DataError(f"{where} lacks the key '{name}'. Found: {names_of(record)}.")
    if isinstance(record, JsonObject) and name in record.repeated:
        raise DataError(f"{where} has the key '{name}' twice: which is meant? Take one out")
    return record[name]


def optional_of(where: str, record: Mapping[str, Any], name: str) -> Any:
    """Return a field's value, None where it is not there. Raises DataError where it stands there twice."""
    return field_of(where, record, name) if name in record else None


def list_of(where: str, name: str, value: object) -> list[Mapping[str, Any]]:
    """Return a field's list of objects; a text, such as a CSV's field, is read as JSON.

    Raises DataError for anything else.
    """
    if isinstance(value, str):
        value = parsed(f"{where}: '{name}'", value, "as in JSON: [{...}, {...}]")
    if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
        raise DataError(f"{where}: '{name}' must be a list of objects, not {_kind(value)}")
    return value


def parsed(where: str, text: str, remedy: str) -> Any:
    """Return what JSON holds. Raises DataError for what is not JSON."""
    try:
        return json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError) as fault:
        # JSON's own message would count lines within this text
        what = f"{fault.msg}, column {fault.colno}" if isinstance(fault, json.JSONDecodeError) else fault
        raise DataError(f"{where} is not JSON ({str(what)[:100]}): {remedy}") from fault


def names_of(columns: Iterable[str]) -> str:
    """Return columns' names for an error, as Python writes them."""
    names = [item if len(item) <= 60 else item[:60] + "..." for item in columns]
    return (", ".join(map(repr, names[:SHOWN])) + (" ..." if len(names) > SHOWN else "")) or "none"


def _object(pairs: list[tuple[str, Any]]) -> JsonObject:
    record = JsonObject(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        record.repeated = frozenset(name for name in record if names.count(name) > 1)
    return record


def _kind(value: object) -> str:
    if isinstance(value, list):
        return "a list" if all(isinstance(item, Mapping) for item in value) else "a list of other things"
    return "an object" if isinstance(value, Mapping) else f"a {type(value).__name__}"


def _header(path: Path) -> tuple[str, ...]:
    csv.field_size_limit(MAX_TEXT)
    try:
        header = next(csv.reader(text_lines(path)), [])
    except csv.Error as fault:
        raise DataError(f"{path}: line 1 (the header) is not CSV ({fault}): is each quote closed?") from fault
    if not header:
        raise DataError(f"{path} is empty: it holds no row; expected a header, and rows below it")
    return tuple(name.strip() for name in header)


def _csv_rows(path: Path, wanted: Sequence[str]) -> Iterator[RawRow]:
    for row in read_rows(path, wanted):
        yield RawRow(row.line, None if row.fields is None else dict(zip(wanted, row.fields, strict=True)))


def _json_rows(path: Path, *, may_be_list: bool) -> Iterator[RawRow]:
    lines = text_lines(path)
    for number, line in enumerate(lines, start=1):
        start = line.lstrip("\ufeff").lstrip()
        if start.startswith("["):
            if not may_be_list:
                raise DataError(f"{path}: line {number} holds a JSON list: call the file .json, not .jsonl")
            yield from _list_rows(path, chain([line.lstrip("\ufeff")], lines), number)
            return
        if start:
            yield from _line_rows(path, chain([line], lines), number)
            return
        if number > MAX_BLANK:
            raise DataError(f"{path}: line {number} is blank line {number:,}: take blank lines out")
        yield RawRow(number, None)


def _line_rows(path: Path, lines: Iterable[str], first: int) -> Iterator[RawRow]:
    n_blank = 0
    for number, line in enumerate(lines, start=first):
        line, where = line.lstrip("\ufeff"), f"{path}: line {number}"  # files put together hold marks inside
        if line.strip():
            lines_of_mac = "a carriage return alone ends a line: save the file with line feeds"
            remedy = lines_of_mac if "\r" in line.strip() else "each line must hold one JSON object"
            yield RawRow(number, _record(where, parsed(where, line, remedy)))
            continue
        n_blank += 1
        if n_blank > MAX_BLANK:
            raise DataError(f"{where} is blank line {n_blank:,}: take blank lines out")
        yield RawRow(number, None)


def _list_rows(path: Path, lines: Iterable[str], first: int) -> Iterator[RawRow]:
    """Yield the records of a JSON list, each with the line that it begins on."""
    text = _bounded(path, lines)
    decoder = json.JSONDecoder(object_pairs_hook=_object)
    place, line, counted = _skip(text, text.index("[") + 1), first, 0
    if text[place : place + 1] == "]":
        raise DataError(f"{path} is empty: it holds an empty list")
    while True:
        line, counted = line + text.count("\n", counted, place), place
        where = f"{path}: line {line}"
        try:
            value, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError) as fault:
            what = fault.msg if isinstance(fault, json.JSONDecodeError) else str(fault)[:100]
            raise DataError(f"{where}: the record is not JSON ({what}): is the file cut off?") from fault
        yield RawRow(line, _record(where, value))
        place = _skip(text, place)
        sign = text[place : place + 1]
        if sign == "]" and not text[place + 1 :].strip():
            return
        if sign != ",":
            what = "something follows the list" if sign == "]" else "a comma or ']' is missing behind it"
            raise DataError(f"{where}: the record is not followed as in a JSON list ({what})")
        place = _skip(text, place + 1)


def _bounded(path: Path, lines: Iterable[str]) -> str:
    parts, size = [], 0
    for line in lines:
        size += len(line)
        if size > MAX_JSON:
            raise DataError(f"{path} has more than {MAX_JSON:,} characters: write it as JSONL, a row a line")
        parts.append(line)
    return "".join(parts)


def _skip(text: str, place: int) -> int:
    while place < len(text) and text[place] in " \t\r\n":
        place += 1
    return place


def _record(where: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise DataError(f"{where} holds {_kind(value)}, not an object with named columns")
    return value


def _parquet(path: Path) -> OpenFile:
    import pyarrow.parquet as pq

    refuse_endless(path)
    try:
        file = pq.ParquetFile(path)
    except Exception as fault:  # Arrow's errors are of many classes, and all mean the same here
        raise _damaged(path, "", fault) from fault
    columns = tuple(map(str, file.schema_arrow.names))
    if not file.metadata.num_rows:
        raise DataError(f"{path} is empty: it holds no row, of the columns {names_of(columns)}")
    for number in range(file.metadata.num_row_groups):
        if (size := file.metadata.row_group(number).total_byte_size) > MAX_GROUP:
            raise DataError(f"{path}: a row group holds {size:,} bytes: write it with smaller row groups")

    def rows(wanted: Sequence[str]) -> Iterator[RawRow]:
        for name in wanted:
            if columns.count(name) > 1:
                raise DataError(f"{path} names the column '{name}' {columns.count(name)} times")
        number = 0
        try:
            for batch in file.iter_batches(_AT_ONCE, columns=list(wanted)):
                for fields in batch.to_pylist():
                    number += 1
                    yield RawRow(number, fields)
        except Exception as fault:
            raise _damaged(path, f" behind row {number}", fault) from fault

    return OpenFile(columns, rows)


def _damaged(path: Path, place: str, fault: Exception) -> DataError:
    if isinstance(fault, OSError) and fault.errno:  # Arrow's own text names the path again
        return DataError(f"{path} can't be read: {os.strerror(fault.errno)}")
    what = ([*str(fault).splitlines(), type(fault).__name__])[0][:200]
    return DataError(f"{path}: damaged parquet data{place} ({what}): fetch or write the file again")
