"""Data files that can't be used, and what is expected of them: for the tables in tests/bad_input."""

import csv
import gzip
import io
import json
from dataclasses import dataclass

import pytest

from afd_study.errors import AfdError
from afd_study.worlds.own_data import OwnDataSpec, load

ROWS = [{"prompt": f"What is thing {n}?", "response": f"It is {n}, I think."} for n in range(60)]
GOOD = [json.dumps(row, ensure_ascii=False) for row in ROWS]


@dataclass(frozen=True)
class Case:
    """A bad file, what its error says (a regular expression), and a good file that looks like it."""

    name: str
    bad: bytes
    says: str
    good: bytes
    kept: int = 60
    good_name: str = ""


def lines(*more, ends="\n", before=()):
    """JSONL of 60 good rows with some lines before and behind them."""
    return ends.join([*before, *GOOD, *more, ""]).encode()


def row(**fields):
    return json.dumps(fields, ensure_ascii=False)


def table(*more, separator=",", ends="\n", quoting=csv.QUOTE_MINIMAL, header=("prompt", "response")):
    """CSV of 60 good rows with some raw lines behind them."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator, lineterminator=ends, quoting=quoting)
    writer.writerows([header, *(tuple(each.values()) for each in ROWS)])
    return (out.getvalue() + "".join(line + ends for line in more)).encode()


JL, CSV, GZ = "data.jsonl", "data.csv", "data.jsonl.gz"
WHOLE = gzip.compress(lines(), mtime=0)
ALL = csv.QUOTE_ALL
ANSWER = row(prompt="a", response="b")
BIG = "x" * 1_000_001
FIT = "word " * 200_000


def read(folder, name, content):
    path = folder / name
    path.write_bytes(content)
    return load(OwnDataSpec(demonstrations=path))


def one_clear_message(error, place):
    """An error for a person: short, one line, and it names the place."""
    text = str(error)
    assert place in text and "\n" not in text and "\x1b" not in text and 30 < len(text) < 600, text
    assert "Traceback" not in text


def refused(folder, case):
    """Read a case's bad file, which has to end in one clear error."""
    with pytest.raises(AfdError, match=f"(?s){case.says}") as error:
        read(folder, case.name, case.bad)
    one_clear_message(error.value, case.name)


def passes(folder, case):
    """Read a case's look-alike, of which as many rows as it says have to be kept."""
    assert read(folder, case.good_name or case.name, case.good).report["kept"].sum() == case.kept
