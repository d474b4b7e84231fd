"""Rows out of JSONL and CSV files, gzipped or not, with their line numbers.

Structural damage (a truncated file, bytes that are not UTF-8, a line that is not JSON, a missing column)
raises DataError with file and line, because other lines of such a file cannot be trusted either. Faults of
content, such as an empty answer, are for the caller to judge: a null or empty field is read as "". Every text
is `normalised`.
"""

import csv
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from afd_study.errors import DataError, nearest
from afd_study.worlds.normalising import normalised, visible
from afd_study.worlds.text_files import MAX_BLANK, MAX_TEXT, MAX_WORD, refuse_endless, text_lines

FORMATS = (".jsonl", ".jsonl.gz", ".csv", ".csv.gz")
SEPARATORS = {";": "';'", "\t": "tabs", "|": "'|'"}  # of what is called CSV, though it has no commas

# Spaces, and the letters of scripts that need none: Thai, Lao, Tibetan, Burmese, Khmer, Chinese, Japanese.
_BETWEEN_WORDS = re.compile(
    r"[\s\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u2e80-\ua4cf\uf900-\uffdc\U00020000-\U0003ffff]+"
)
_MAC_LINES = "a carriage return alone ends a line: save the file with line feeds"
_CSV_HINTS = {  # what the csv module says -> what to do
    "new-line character": _MAC_LINES,
    "expected after": 'a quote within a quoted field is written twice ("")',
    "larger than field limit": f"a field holds more than {MAX_TEXT:,} characters: is each quote closed?",
}


@dataclass(frozen=True)
class Row:
    """One row of a file: the line it begins on, from 1, and its fields in the order asked for.

    `fields` is None for a blank line.
    """

    line: int
    fields: tuple[str, ...] | None


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    """Yield the rows of a file, one for each JSON object or CSV record, with the text in `columns`.

    Raises DataError where the file can't be read in full, has no known format, lacks a column, has no row, or
    exceeds a bound of text_files.
    """
    if not path.name.endswith(FORMATS):
        raise DataError(f"{path}: the name shows the format and must end in {', '.join(FORMATS)}")
    is_csv = path.name.removesuffix(".gz").endswith(".csv")
    lines = text_lines(path)
    n_rows, n_blank = 0, 0
    for row in _csv_rows(path, lines, columns) if is_csv else _json_rows(path, lines, columns):
        if row.fields is None:
            n_blank += 1
            if n_blank > MAX_BLANK:
                raise DataError(f"{path}: line {row.line} is blank line {n_blank:,}: take blank lines out")
        else:
            n_rows += 1
            _refuse_long(path, row, columns)
        yield row
    if not n_rows:
        raise DataError(f"{path} is empty: it holds no row; expected the columns {list(columns)}")


def digest(paths: Iterable[Path]) -> str:
    """Return 16 hex digits of the files' names and bytes: what a step that reads them depends on."""
    whole = hashlib.blake2b(digest_size=8)
    for path in paths:
        whole.update(path.name.encode("utf-8", "surrogateescape") + b"\0")
        refuse_endless(path)
        try:
            with open(path, "rb") as stream:
                part = hashlib.file_digest(stream, "blake2b")
        except OSError as fault:
            raise DataError(f"{path} can't be read: {fault.strerror}") from fault
        whole.update(part.digest())
    return whole.hexdigest()


def _refuse_long(path: Path, row: Row, columns: Sequence[str]) -> None:
    """Raise DataError for a text above the bound."""
    for column, text in zip(columns, row.fields or (), strict=True):
        if len(text) > MAX_TEXT:
            raise DataError(
                f"{path}: line {row.line}: '{column}' holds {len(text):,} characters, and at most "
                f"{MAX_TEXT:,} are read: split the text, or take the row out"
            )
        if len(text) > MAX_WORD and max(map(len, _BETWEEN_WORDS.split(text))) > MAX_WORD:
            raise DataError(
                f"{path}: line {row.line}: '{column}' holds a word of more than {MAX_WORD:,} characters: is "
                "it text? Take the row out"
            )


class _Repeated(dict[str, Any]):
    """A JSON object that has a key twice; `names` are the keys as they stand in it."""

    names: list[str]


def _json_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        record = _Repeated(record)
        record.names = [name for name, _ in pairs]
    return record


def _json_rows(path: Path, lines: Iterable[str], columns: Sequence[str]) -> Iterator[Row]:
    for number, line in enumerate(lines, start=1):
        line = line.lstrip("\ufeff")  # files that were put together have marks within them
        if not line.strip():
            yield Row(number, None)
            continue
        where = f"{path}: line {number}"
        record = _json_record(where, line, columns)
        for column in columns:
            if column not in record:
                raise _missing(where, "key", column, record)
            if isinstance(record, _Repeated) and record.names.count(column) > 1:
                raise DataError(f"{where} has the key '{column}' twice: which is meant? Take one out")
            if not isinstance(record[column], str | None):
                kind = type(record[column]).__name__
                raise DataError(f"{where}: '{column}' must be text, not a JSON {kind}")
        yield Row(number, tuple(normalised(record[column] or "") for column in columns))


def _json_record(where: str, line: str, columns: Sequence[str]) -> dict[str, Any]:
    try:
        record = json.loads(line, object_pairs_hook=_json_object)
    except (ValueError, RecursionError) as fault:
        # JSON's own message would count lines within this line
        what = f"{fault.msg}, column {fault.colno}" if isinstance(fault, json.JSONDecodeError) else fault
        remedy = _MAC_LINES if "\r" in line.strip() else "each line must hold one JSON object"
        raise DataError(f"{where} is not JSON ({what}): {remedy}") from fault
    if not isinstance(record, dict):
        kind = type(record).__name__
        raise DataError(f"{where} holds a JSON {kind}, not an object with the keys {list(columns)}")
    return record


def _csv_rows(path: Path, lines: Iterable[str], columns: Sequence[str]) -> Iterator[Row]:
    csv.field_size_limit(MAX_TEXT)  # the module's own is 131,072
    last = [""]
    reader = csv.reader(_remembered(lines, last), strict=True)
    before = 0
    try:
        header = [name.strip() for name in next(reader, [])]
        places = _places(path, header, columns)
        before = reader.line_num
        for record in reader:
            begins, before = before + 1, reader.line_num
            if not record or (len(record) == 1 < len(header) and not visible(record[0])):
                yield Row(begins, None)
                continue
            if len(record) != len(header):
                hint = _other_separator(last[0]) or 'put "..." around a field that holds commas'
                counts = f"{len(record)} fields where the header has {len(header)}"
                raise DataError(f"{path}: line {begins} has {counts}: {hint}")
            yield Row(begins, tuple(normalised(record[place]) for place in places))
    except csv.Error as fault:
        hints = (hint for words, hint in _CSV_HINTS.items() if words in str(fault))
        hint = _other_separator(last[0]) or next(hints, "is each quote closed?")
        raise DataError(
            f"{path}: the record from line {before + 1} on is not CSV ({fault}): {hint}"
        ) from fault


def _remembered(lines: Iterable[str], last: list[str]) -> Iterator[str]:
    """Yield the lines, the last of them kept in `last`: the csv module does not say which it was."""
    for line in lines:
        last[0] = line
        yield line


def _other_separator(line: str) -> str | None:
    """Return the hint for a line whose fields are separated by something else than commas, or None."""
    mark = next((mark for mark in SEPARATORS if mark in line), None)
    return (
        f"the fields seem to be separated by {SEPARATORS[mark]}; use commas"
        if mark and "," not in line
        else None
    )


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
    """Build the error for a column that isn't there, with the nearest one and what is there.

    Names from a file stand as Python writes them: an escape sequence must not reach a terminal.
    """
    names = [item if len(item) <= 60 else item[:60] + "..." for item in present]
    apart = _other_separator(names[0]) if len(names) == 1 and kind == "column" else None
    close = nearest(name, names)
    hint = f": {apart}." if apart else f": did you mean {close!r}?" if close else "."
    listed = ", ".join(map(repr, names[:20])) + (" ..." if len(names) > 20 else "")
    return DataError(f"{where} lacks the {kind} '{name}'{hint} Found: {listed or 'none'}.")
