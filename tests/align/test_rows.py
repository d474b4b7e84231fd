"""Structural damage is one error with file and line, in each format, beside a look-alike that passes."""

import gzip
import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from afd_study.align import rows
from afd_study.align.formats import read_demonstrations
from afd_study.errors import DataError

ROW = {"prompt": "a", "response": "b"}
TEXT = json.dumps(ROW)
CHAT = json.dumps({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]})


def table(rows_, **options):
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows_), sink, **options)
    return sink.getvalue().to_pybytes()


WHOLE = table([{"prompt": f"{n}", "response": f"{n}."} for n in range(50)])
# name, bytes, what the error says, a look-alike that is read
FAULTS = {
    "no format": ("a.txt", TEXT, "must end in .jsonl", None),
    "empty": ("a.jsonl", "", "is empty", None),
    "blank lines alone": ("a.json", "\n\n", "is empty", None),
    "an empty list": ("a.json", " [ ]", "is empty: it holds an empty list", None),
    "no header": ("a.csv", "", "is empty", None),
    "not JSON": ("a.jsonl", f"{TEXT}\nx", "line 2 is not JSON.*one JSON object", f"{TEXT}\n {TEXT} "),
    "a list by the line": ("a.jsonl", f"[{TEXT}]", "call the file .json", None),
    "a carriage return alone": ("a.jsonl", f"{TEXT}\r{TEXT}", "carriage return alone", f"{TEXT}\r\n{TEXT}"),
    "a number": ("a.jsonl", "5", "line 1 holds a int", None),
    "cut off": ("a.json", f"[{TEXT},\n{TEXT[:-3]}", "line 2: the record is not JSON", f"[{TEXT},\n{TEXT}]"),
    "a comma behind": ("a.json", f"[{TEXT},]", "is not JSON", f"[{TEXT}]\n"),
    "no comma": ("a.json", f"[{TEXT} {TEXT}]", "a comma or ']' is missing", f"[{TEXT} ,\n {TEXT}]"),
    "no end": ("a.json", f"[{TEXT}", "a comma or ']' is missing", f"[{TEXT} ]"),
    "behind the list": ("a.json", f"[{TEXT}] x", "something follows the list", f"[{TEXT}] \n "),
    "a list of texts": ("a.json", '["a"]', "line 1 holds a str", f"[{TEXT}]"),
    "deep": ("a.jsonl", "[" * 200_000, "holds a JSON list", None),
    "deep in a list": ("a.json", "[" * 200_000, "line 1: the record is not JSON", None),
    "deep in a record": ("a.jsonl", '{"prompt":' + "[" * 200_000, "line 1 is not JSON", None),
    "not a number": ("a.jsonl", '{"prompt": NaN, "response": "b"}', "must be text, not a float", f"{TEXT}"),
    "a number for a text": ("a.jsonl", '{"prompt": "a", "response": 5}', "must be text, not a int", TEXT),
    "a key twice": (
        "a.jsonl",
        '{"prompt": "a", "response": "b", "response": "c"}',
        "has the key 'response' twice",
        '{"prompt": "a", "response": "b", "x": 1, "x": 2}',
    ),
    "a key of a message twice": (
        "a.jsonl",
        CHAT.replace('"role": "user"', '"role": "user", "role": "assistant"'),
        "message 1 has the key 'role' twice",
        CHAT.replace('"role": "user"', '"role": "user", "x": 1, "x": 2'),
    ),
    "a row without a column": (
        "a.jsonl",
        f'{TEXT}\n{{"prompt": "a"}}',
        "line 2 lacks the key 'response'",
        None,
    ),
    "a message without its text": (
        "a.jsonl",
        CHAT.replace('"content": "b"', '"text": "b"'),
        "message 2 lacks the key 'content'. Found: 'role', 'text'",
        CHAT,
    ),
    "no list of messages": ("a.jsonl", '{"messages": "hello"}', "'messages' is not JSON", CHAT),
    "messages that are none": ("a.jsonl", '{"messages": ["a"]}', "must be a list of objects", CHAT),
    "no UTF-8": ("a.jsonl", TEXT.encode() + b"\n\xff", "line 2 is not UTF-8", None),
    "a huge word": (
        "a.jsonl",
        json.dumps(ROW | {"response": "x" * 100_001}),
        "holds a word of more than 100,000",
        json.dumps(ROW | {"response": "\u6f22" * 100_001}),
    ),
    "a huge text": (
        "a.json",
        json.dumps([ROW | {"response": "x " * 500_001}]),
        "holds 1,000,002 characters",
        json.dumps([ROW | {"response": "x " * 500_000}]),
    ),
    "a huge text in a message": (
        "a.jsonl",
        CHAT.replace('"b"', f'"{"x " * 500_001}"'),
        "message 2: 'content'",
        None,
    ),
    "a column twice": ("a.csv", "prompt,prompt,response\na,b,c", "names the column 'prompt' 2 times", None),
    "a field too many": ("a.csv", "prompt,response\na,b,c", "line 2 has 3 fields", "prompt,response\na,b"),
    "a web page": ("a.json", "<html></html>", "a web page", None),
    "cut parquet": ("a.parquet", WHOLE[:-50], "damaged parquet data", WHOLE),
    "damaged parquet": ("a.parquet", WHOLE[:40] + b"\xff" * 60 + WHOLE[100:], "damaged parquet data", WHOLE),
    "no parquet": ("a.parquet", TEXT, "damaged parquet data", WHOLE),
    "parquet by another name": ("a.jsonl", WHOLE, "Parquet", None),
    "parquet without rows": ("a.parquet", table([ROW])[:0] or table([]), "is empty|damaged", None),
    "bytes in parquet": (
        "a.parquet",
        table([{"prompt": b"a", "response": "b"}]),
        "must be text, not a bytes",
        None,
    ),
    "numbers in parquet": (
        "a.parquet",
        table([{"prompt": 1, "response": "b"}]),
        "row 1: 'prompt' must be",
        None,
    ),
}


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("title", FAULTS)
def test_damage_is_one_clear_error_and_its_look_alike_is_read(tmp_path, title):
    name, bad, says, good = FAULTS[title]
    with pytest.raises(DataError, match=says) as error:
        read_demonstrations(write(tmp_path, name, bad))
    text = str(error.value)
    assert name in text and "\n" not in text and len(text) < 700
    if good is not None:
        assert read_demonstrations(write(tmp_path, name, good)).items


def test_packed_files_are_read(tmp_path):
    for name, text in (("a.json.gz", f"[{TEXT}]"), ("a.jsonl.gz", TEXT)):
        (tmp_path / name).write_bytes(gzip.compress(text.encode()))
        assert read_demonstrations(tmp_path / name).items[0].response == "b"


def test_what_has_no_end_or_is_not_there_is_refused(tmp_path):
    os.mkfifo(tmp_path / "a.parquet")
    with pytest.raises(DataError, match="is a pipe"):
        rows.open_file(tmp_path / "a.parquet")
    for name in ("no.parquet", "no.jsonl", "no.csv"):
        with pytest.raises(DataError, match="can't be read: No such file"):
            rows.open_file(tmp_path / name)


def test_bounds_hold(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "MAX_JSON", 20)
    with pytest.raises(DataError, match="more than 20 characters: write it as JSONL"):
        read_demonstrations(write(tmp_path, "a.json", f"[{TEXT}]"))
    monkeypatch.setattr(rows, "MAX_GROUP", 10)
    with pytest.raises(DataError, match="smaller row groups"):
        read_demonstrations(write(tmp_path, "a.parquet", WHOLE))
    monkeypatch.setattr(rows, "MAX_BLANK", 2)
    for text in (f"\n\n\n{TEXT}", f"{TEXT}\n\n\n\n{TEXT}"):
        with pytest.raises(DataError, match="take blank lines out"):
            read_demonstrations(write(tmp_path, "a.jsonl", text))
