"""Files: every structural fault is an error that names the file, the line and the remedy."""

import csv
import gzip
import hashlib
import io
import json

import pytest

from afd_study.errors import DataError
from afd_study.worlds.reading import Row, digest, read_rows

COLUMNS = ("prompt", "response")
GOOD = [{"prompt": f"question {n}", "response": "ünï\u2028cödé\nand a second line"} for n in range(300)]


def jsonl(records):
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()


def as_csv(records, columns=COLUMNS):
    out = io.StringIO()
    table = csv.DictWriter(out, columns)
    table.writeheader()
    table.writerows(records)
    return out.getvalue().encode()


def read(tmp_path, name, content, columns=COLUMNS):
    path = tmp_path / name
    path.write_bytes(content)
    return list(read_rows(path, columns))


WRITTEN = {
    "a.jsonl": jsonl(GOOD),
    "a.jsonl.gz": gzip.compress(jsonl(GOOD)),
    "bom.jsonl": b"\xef\xbb\xbf" + jsonl(GOOD),
    "crlf.jsonl": jsonl(GOOD).replace(b"\n", b"\r\n"),
    "unnamed.jsonl": gzip.compress(jsonl(GOOD)),
    "a.csv": as_csv(GOOD),
    "a.csv.gz": gzip.compress(as_csv(GOOD)),
    "bom.csv": b"\xef\xbb\xbf" + as_csv(GOOD),
    "no_end.jsonl": jsonl(GOOD).rstrip(b"\n"),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_every_format_gives_the_same_rows(tmp_path, name):
    rows = read(tmp_path, name, WRITTEN[name])
    assert [row.fields for row in rows] == [tuple(record.values()) for record in GOOD]


def test_lines_are_those_of_the_text_file(tmp_path):
    assert read(
        tmp_path, "a.jsonl", b'\n{"prompt":"a","response":null}\n  \n{"prompt":"","response":"b"}'
    ) == [
        Row(1, None),
        Row(2, ("a", "")),
        Row(3, None),
        Row(4, ("", "b")),
    ]
    text = b'response,other,prompt\n"two\nlines",x,a\n\n"say ""hi"", you",y,b\n'
    assert read(tmp_path, "a.csv", text) == [
        Row(2, ("a", "two\nlines")),
        Row(4, None),
        Row(5, ("b", 'say "hi", you')),
    ]


# Faults are tuples of a title, a file's name, its bytes, and what the message must say besides the name.


def gzip_faults():
    # hashes do not compress, and are the same in every run and test worker
    prompts = [hashlib.blake2b(str(n).encode(), digest_size=20).hexdigest() for n in range(2000)]
    whole = gzip.compress(jsonl([{"prompt": prompt, "response": "x"} for prompt in prompts]))
    # a gzip file may have several members; the second one begins with a block of a kind that does not exist:
    # a decoder could read other damage, in a member's middle, as data
    broken = whole + whole[:10] + b"\xff" * 50 + whole[60:]
    yield (
        "truncated gzip",
        "a.jsonl.gz",
        whole[: len(whole) // 2],
        "after line [1-9][0-9]+ .*fetch the file again",
    )
    yield "gzip without its end", "a.jsonl.gz", whole[:-4], "after line 2000 "
    yield (
        "damaged gzip",
        "a.jsonl.gz",
        broken,
        "after line .*fetch the file again",
    )
    yield "something behind the gzip", "a.jsonl.gz", whole + b"garbage", "after line 2000 "
    yield "not gzip", "a.jsonl.gz", jsonl(GOOD), "is not gzip data.*drop .gz"
    yield "empty gzip", "a.jsonl.gz", gzip.compress(b""), "is empty"
    yield "no bytes at all in a gzip", "a.jsonl.gz", b"", "is empty"
    yield (
        "LFS pointer",
        "a.jsonl.gz",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        "git lfs pull",
    )


def json_faults():
    lines = jsonl(GOOD).splitlines(keepends=True)
    yield (
        "not JSON",
        "a.jsonl",
        b"".join([*lines[:6], b"prompt: hello\n", *lines[6:]]),
        "line 7 is not JSON .*one JSON object",
    )
    yield "cut off in a line", "a.jsonl", jsonl(GOOD)[:-9], "line 300 is not JSON"
    yield "one JSON array", "a.jsonl", json.dumps(GOOD).encode(), "line 1 holds a JSON list, not an object"
    yield "deep JSON", "a.jsonl", b"[" * 200_000 + b"\n", "line 1 is not JSON"
    yield "huge number", "a.jsonl", b'{"prompt": ' + b"9" * 5000 + b"}\n", "line 1 is not JSON"
    yield (
        "missing key",
        "a.jsonl",
        lines[0] + b'{"prompt": "a", "respons": "b"}\n',
        "line 2 lacks the key 'response': did you mean 'respons'",
    )
    yield "no keys", "a.jsonl", b"{}\n", "lacks the key 'prompt'.*Found: none"
    yield (
        "not text",
        "a.jsonl",
        b'{"prompt": "a", "response": ["b"]}\n',
        "line 1: 'response' must be text, not a JSON list",
    )
    yield (
        "Latin-1",
        "a.jsonl",
        lines[0] + "{'é'}\n".encode("latin-1"),
        "line 2 is not UTF-8 .*byte 0xe9.*save the file as UTF-8",
    )
    yield "empty", "a.jsonl", b"", "is empty"
    yield "blank lines alone", "a.jsonl", b"\n  \n", "is empty"


def csv_faults():
    yield "Latin-1 CSV", "a.csv", "prompt,response\na,café\n".encode("latin-1"), "line 2 is not UTF-8"
    yield (
        "UTF-16",
        "a.csv",
        as_csv(GOOD).decode().encode("utf-16"),
        "line 1 is UTF-16.*save the file as UTF-8",
    )
    yield "empty CSV", "a.csv", b"", "is empty.*'prompt', 'response'"
    yield "header alone", "a.csv", b"prompt,response\n", "is empty"
    yield (
        "other columns",
        "a.csv",
        b"Prompts,answer\na,b\n",
        "lacks the column 'prompt': did you mean 'Prompts'.*'Prompts', 'answer'",
    )
    yield "semicolons", "a.csv", b"prompt;response\na;b\n", "separated by ';'; use commas"
    yield "repeated column", "a.csv", b"prompt,response,prompt\na,b,c\n", "names the column 'prompt' 2 times"
    yield (
        "unquoted comma",
        "a.csv",
        b"prompt,response\na,b\nwell, yes,b\n",
        "line 3 has 3 fields where the header has 2",
    )
    yield "open quote", "a.csv", b'prompt,response\na,"b\nc,d\n', "from line 2 on is not CSV .*quote"
    yield "unknown format", "a.xlsx", b"PK", r"must end in \.jsonl"


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [pytest.param(*rest, id=title) for title, *rest in (*gzip_faults(), *json_faults(), *csv_faults())],
)
def test_structural_faults_are_errors(tmp_path, name, content, says):
    with pytest.raises(DataError, match=f"(?s){name}.*{says}"):
        read(tmp_path, name, content)


def test_what_is_not_there_or_not_a_file_is_an_error(tmp_path):
    with pytest.raises(DataError, match="nowhere.jsonl can't be read: No such file"):
        list(read_rows(tmp_path / "nowhere.jsonl", COLUMNS))
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match="folder.csv can't be read: Is a directory"):
        list(read_rows(tmp_path / "folder.csv", COLUMNS))


def test_the_digest_is_of_names_and_bytes(tmp_path):
    paths = [tmp_path / name for name in ("a.jsonl", "b.jsonl")]
    for path in paths:
        path.write_bytes(b"one")
    before = digest(paths)
    assert digest(paths) == before
    assert digest(paths[:1]) != digest(paths[1:])
    paths[1].write_bytes(b"two")
    assert digest(paths) != before
    with pytest.raises(DataError, match="nowhere can't be read"):
        digest([tmp_path / "nowhere"])
