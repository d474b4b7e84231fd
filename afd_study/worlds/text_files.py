"""Lines of text out of a file, gzipped or not: bytes that are something else are refused, and so is no end.

What is read is bounded: no line above `MAX_LINE` bytes, no text above `MAX_TEXT` characters or with a
word above `MAX_WORD` (in a script that puts spaces between words), no more than `MAX_BLANK` blank lines, and
files alone, which have an end.
"""

import gzip
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from afd_study.errors import DataError

MAX_LINE, MAX_TEXT, MAX_BLANK = 2**26, 1_000_000, 100_000
MAX_WORD = 100_000  # a longer one is no text, but data in a text's clothes

_GZIP, _UTF8_MARK, _UTF16_MARKS = b"\x1f\x8b", b"\xef\xbb\xbf", (b"\xff\xfe", b"\xfe\xff")
_FOREIGN = {  # how a file begins that is something else than its name says -> what it is, and the remedy
    b"version https://git-lfs": "a Git LFS pointer, not the data: run `git lfs pull` in its repository",
    b"PK\x03\x04": "a zip or Excel file: unpack it, or save the sheet as CSV UTF-8",
    b"PAR1": "a Parquet file: write it as JSONL, such as by DataFrame.to_json(orient='records', lines=True)",
    b"\x28\xb5\x2f\xfd": "compressed by zstd: unpack it (unzstd)",
    b"\xfd7zXZ\x00": "compressed by xz: unpack it (unxz)",
    b"BZh": "compressed by bzip2: unpack it (bunzip2)",
    b"<!DOCTYPE html": "a web page, not the data: fetch the file itself",
    b"<!doctype html": "a web page, not the data: fetch the file itself",
    b"<html": "a web page, not the data: fetch the file itself",
}
_KINDS = {
    stat.S_ISFIFO: "a pipe",
    stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
}


def text_lines(path: Path) -> Iterator[str]:
    """Yield a file's lines as text, with their line ends.

    Raises DataError where the file can't be read in full, is not UTF-8, or is no text.
    """
    for number, line in enumerate(_byte_lines(path), start=1):
        if number == 1:
            if line.startswith(_UTF16_MARKS):
                raise DataError(f"{path}: line 1 is UTF-16, not UTF-8: save the file as UTF-8")
            if line[:4].count(0) in (2, 3):  # every second byte, or three of four
                raise DataError(f"{path}: line 1 is UTF-16 or UTF-32, not UTF-8: save the file as UTF-8")
            while line.startswith(_UTF8_MARK):
                line = line.removeprefix(_UTF8_MARK)
        try:
            yield line.decode("utf-8")
        except UnicodeDecodeError as fault:
            place = f"byte 0x{line[fault.start]:02x}, {fault.start + 1} bytes into the line"
            raise DataError(
                f"{path}: line {number} is not UTF-8 ({place}): save the file as UTF-8"
            ) from fault


def refuse_endless(path: Path) -> None:
    """Raise DataError for a pipe or a device: it may have no end, and can't be read twice.

    Data are read once for the key of the step that reads them, and once by this step.
    """
    try:
        mode = path.stat().st_mode
    except OSError:
        return  # whoever opens it says why it can't be
    kind = next((kind for is_kind, kind in _KINDS.items() if is_kind(mode)), None)
    if kind is not None:
        raise DataError(f"{path} is {kind}, not a file, and data are read twice: save them in a file first")


def _byte_lines(path: Path) -> Iterator[bytes]:
    """Yield the raw lines, decompressed; a fault of disk or compression names the line before it."""
    refuse_endless(path)
    read = 0
    try:
        with open(path, "rb") as plain:
            start = plain.read(max(map(len, _FOREIGN)))
            plain.seek(0)
            _refuse_start(path, start)
            with gzip.open(plain) if start.startswith(_GZIP) else plain as stream:
                for line in _bounded(path, stream):
                    read += 1
                    yield line
    except (EOFError, zlib.error, gzip.BadGzipFile) as fault:
        raise DataError(
            f"{path}: gzip data cut off or damaged after line {read} ({fault}): fetch the file again"
        ) from fault
    except OSError as fault:
        raise DataError(f"{path} can't be read: {fault.strerror or fault}") from fault


def _bounded(path: Path, stream: BinaryIO | gzip.GzipFile) -> Iterator[bytes]:
    """Yield the stream's lines; raise DataError for one without an end in sight."""
    number = 0
    while line := stream.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            raise DataError(
                f"{path}: line {number} has more than {MAX_LINE:,} bytes: put each row on a line of its own"
            )
        yield line


def _refuse_start(path: Path, start: bytes) -> None:
    """Raise DataError for a file that is something else than its name says."""
    for magic, what in _FOREIGN.items():
        if start.startswith(magic):
            raise DataError(f"{path} is {what}")
    if start and path.suffix == ".gz" and not start.startswith(_GZIP):
        raise DataError(
            f"{path} is not gzip data: fetch it again, or drop .gz from its name if it is plain text"
        )
