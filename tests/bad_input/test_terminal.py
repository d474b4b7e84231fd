"""What others have called their files, columns, models and settings is words to a terminal, no command."""

import json
import subprocess
import sys
import unicodedata

import pandas as pd
import pytest
from bad_files import GOOD, ROWS
from hostile_texts import HARMLESS, HOSTILE

from afd_study.errors import AfdError, DataError, StoreError, unknown_name, visible
from afd_study.figures import tables
from afd_study.worlds.own_data import OwnDataSpec, load

TEXTS = HOSTILE | {f"harmless: {text}": text for text in HARMLESS}


def commands(text):
    """Return the characters of a text that a terminal obeys instead of showing them."""
    return [each for each in text if each not in "\n\t" and unicodedata.category(each).startswith("C")]


def refusal(path):
    with pytest.raises(AfdError) as error:
        load(OwnDataSpec(demonstrations=path))
    return str(error.value)


def file_name(text):
    return text.replace("/", "⁄").replace("\0", "")[:80]


def test_some_texts_command_a_terminal():
    assert sum(bool(commands(text)) for text in HOSTILE.values()) >= 15


@pytest.mark.parametrize("name", TEXTS)
def test_a_file_of_any_name_is_refused_in_words(tmp_path, name):
    path = tmp_path / f"{file_name(TEXTS[name])}.jsonl"
    path.write_text("no JSON\n")
    said = refusal(path)
    assert commands(said) == [] and visible(path.name) in said


@pytest.mark.parametrize("name", TEXTS)
def test_columns_of_any_name_are_refused_in_words(tmp_path, name):
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(json.dumps({TEXTS[name]: row["prompt"], "response": "b"}) for row in ROWS))
    assert commands(refusal(path)) == []


@pytest.mark.parametrize("name", TEXTS)
def test_errors_and_tables_quote_any_name_in_words(name):
    text = TEXTS[name]
    for fault in (unknown_name("task", text, [text, "harmless"]), DataError(text), StoreError(5, text)):
        assert commands(str(fault)) == [] and (visible(text) in str(fault) or isinstance(fault, StoreError))
    frame = pd.DataFrame({text: [text]})
    for table in (tables.show(frame, caption=text), tables.show_texts(frame, caption=text)):
        assert commands(repr(table)) == []


@pytest.mark.parametrize(
    "words",
    [
        ["--task", "own_data", "--set", "world.demonstrations=a\x1b[2Jb\u202e.csv"],
        ["--task", "own_data", "--set", "world.demonstrations={folder}/\x1b]0;x\x07\r.jsonl"],
        ["--task", "harm\x1b[31mless"],
        ["--set", "world.\x9b2J=1"],
        ["--model", "{folder}/mo\x1b[2Jdel"],
    ],
    ids=["no such file", "columns", "task", "setting", "model"],
)
def test_the_command_says_it_in_one_line(tmp_path, words):
    (tmp_path / "\x1b]0;x\x07\r.jsonl").write_text("\n".join(GOOD).replace('"response"', '"\\u001b[2Jx"'))
    (tmp_path / "mo\x1b[2Jdel").mkdir()
    words = [word.replace("{folder}", str(tmp_path)) for word in words]
    command = [sys.executable, "-m", "afd_study.study", "run", "--profile", "smoke", "--dry-run", *words]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 2, ended.stderr
    assert commands(ended.stdout + ended.stderr) == [] and "Traceback" not in ended.stderr
