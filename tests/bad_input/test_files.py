"""Files that are no data, or written in another way, each beside a look-alike that has to pass.

To add a case is to add an entry to CASES (helpers/bad_files.py says what it holds).
"""

import bz2
import gzip
import lzma

import pytest
from bad_files import ANSWER, BIG, CSV, FIT, GZ, JL, WHOLE, Case, lines, passes, read, refused, row, table

from afd_study.errors import AfdError
from afd_study.worlds import text_files

CASES = {
    # what is there
    "empty": Case(JL, b"", "is empty.*'prompt'", lines()),
    "blank alone": Case(JL, b"\n \n", "is empty", lines("", " "), 60),
    "header alone": Case(CSV, b"prompt,response\n", "is empty", table()),
    "unknown format": Case("data.txt", lines(), r"must end in \.jsonl", lines(), good_name=JL),
    "no format": Case("data", lines(), r"must end in \.jsonl", lines(), good_name="data.csv.jsonl"),
    "upper case": Case("data.JSON", lines(), r"must end in \.jsonl", lines(), good_name=JL),
    # what it is instead
    "LFS pointer": Case(JL, b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull", lines()),
    "zip": Case(CSV, b"PK\x03\x04\x14", "zip or Excel", table("PK\x03,a"), 61),
    "Parquet": Case(JL, b"PAR1\x15\x04", "Parquet file.*JSONL", lines()),
    "xz": Case(JL, lzma.compress(lines()), "by xz.*unxz", lines()),
    "bzip2": Case(JL, bz2.compress(lines()), "by bzip2.*bunzip2", lines()),
    "zstd": Case(JL, b"\x28\xb5\x2f\xfd\x00", "by zstd.*unzstd", lines()),
    "web page": Case(CSV, b"<!DOCTYPE html>\n<p>", "a web page", table('<html>,"<p>"'), 61),
    "not gzip": Case(GZ, lines(), r"is not gzip.*drop \.gz", WHOLE),
    "gzip cut off": Case(GZ, WHOLE[:-9], "cut off or damaged.*fetch the file again", WHOLE),
    "gzip damaged": Case(GZ, WHOLE + b"rest", "damaged after line 60", WHOLE + WHOLE, 120),
    "empty gzip": Case(GZ, gzip.compress(b""), "is empty", gzip.compress(b"") + WHOLE),
    # how it is written
    "Latin-1": Case(
        JL,
        lines() + b"caf\xe9\n",
        "line 61 is not UTF-8.*0xe9.*save",
        lines(row(prompt="café", response="é")),
        61,
    ),
    "Latin-1 in CSV": Case(CSV, table() + b"a,\xe9\n", "line 62 is not UTF-8", table("a,é"), 61),
    "half a character": Case(
        JL, lines() + b'{"prompt": "\xc3', "line 61 is not UTF-8", lines(row(prompt="\xc3", response="x")), 61
    ),
    "UTF-16": Case(CSV, table().decode().encode("utf-16"), "UTF-16.*UTF-8", b"\xef\xbb\xbf" + table()),
    "UTF-16 without a mark": Case(CSV, table().decode().encode("utf-16-le"), "UTF-16.*UTF-8", table()),
    "UTF-16, big end": Case(JL, lines().decode().encode("utf-16-be"), "UTF-16.*UTF-8", lines()),
    "UTF-32": Case(JL, lines().decode().encode("utf-32-le"), "UTF-32.*UTF-8", lines()),
    "three marks": Case(JL, b"\xef\xbb\xbf" * 3 + b"x", "line 1 is not JSON", b"\xef\xbb\xbf" * 3 + lines()),
    "a mark within": Case(JL, lines("x"), "line 61 is not JSON", lines("\ufeff" + ANSWER), 61),
    "carriage returns": Case(CSV, table(ends="\r"), "carriage return alone.*line feeds", table(ends="\r\n")),
    "carriage returns in JSONL": Case(JL, lines(ends="\r"), "carriage return alone", lines(ends="\r\n")),
    # how much it is
    "a huge text": Case(
        JL,
        lines(row(prompt="a", response=BIG)),
        "line 61: 'response' holds 1,000,001.*1,000,000",
        lines(row(prompt="a", response=FIT)),
        61,
    ),
    "a huge word": Case(
        JL,
        lines(row(prompt="a", response="b " + "x" * 100_001)),
        "line 61: 'response' holds a word of more than 100,000",
        lines(row(prompt="a", response="x" * 100_000 + " y" * 100_000)),
        61,
    ),
    "a page without spaces": Case(
        JL,
        lines(row(prompt="a", response="QmFzZTY0" * 40_000)),
        "line 61: 'response' holds a word of more than 100,000",
        lines(
            row(prompt="a", response="这是没有空格的长文本，" * 20_000),
            row(prompt="b", response="ไม่มีช่องว่าง" * 20_000),
        ),
        62,
    ),
    "data within a page": Case(
        JL,
        lines(row(prompt="a", response="图" * 200_000 + "/9j4AAQS" * 40_000)),
        "line 61: 'response' holds a word of more than 100,000",
        lines(row(prompt="a", response="かな" * 100_000 + "/9j4AAQS" * 9_000)),
        61,
    ),
    "a huge prompt": Case(
        JL,
        lines(row(prompt=BIG, response="a")),
        "line 61: 'prompt' holds 1,000,001",
        lines(row(prompt=FIT, response="a")),
        61,
    ),
    "a huge field": Case(
        CSV, table(f"a,{BIG}"), "line 62.*more than 1,000,000 characters", table(f"a,{FIT}"), 61
    ),
    "a field of 150,000": Case(
        CSV, table(f"a,{BIG}{BIG}"), "more than 1,000,000", table("a," + "word " * 30_000), 61
    ),
}


@pytest.mark.parametrize("title", CASES)
def test_a_bad_file_is_one_clear_error(tmp_path, title):
    refused(tmp_path, CASES[title])


@pytest.mark.parametrize("title", CASES)
def test_its_look_alike_passes(tmp_path, title):
    passes(tmp_path, CASES[title])


@pytest.mark.parametrize(
    ("bound", "content", "says"),
    [
        ("MAX_LINE", lines(row(prompt="a", response="b" * 9000)), "line 61 has more than 5,000 bytes"),
        ("MAX_LINE", b"0" * 9000, "line 1 has more than 5,000 bytes"),
    ],
)
def test_lines_are_bounded(tmp_path, monkeypatch, bound, content, says):
    monkeypatch.setattr(text_files, bound, 5000)
    with pytest.raises(AfdError, match=says):
        read(tmp_path, JL, content)
    with pytest.raises(AfdError, match=says):  # unpacked, not as it lies on disk
        read(tmp_path, GZ, gzip.compress(content))
    assert read(tmp_path, JL, lines(row(prompt="a", response="b" * 4900))).report["kept"].sum() == 61


def test_five_million_blank_lines_end_early(tmp_path):
    with pytest.raises(AfdError, match="line 100061 is blank line 100,001: take blank lines out"):
        read(tmp_path, JL, lines() + b"\n" * 5_000_000)
    assert read(tmp_path, JL, lines() + b"\n" * 1000).report["kept"].sum() == 60
