"""`afd diagnose` at the command line: tables, JSON, roles and faults; typed marks command no terminal."""

import json
import sys
import unicodedata

import pytest
from example_files import source, write

from afd_study.study.__main__ import main
from afd_study.worlds.text_files import MAX_LINE


@pytest.fixture
def afd(monkeypatch, tmp_path, capsys):
    """Run the command in an empty folder; return status, output and what was said beside it."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["afd", *words])
        status = 0
        try:
            main()
        except SystemExit as left:
            status = left.code
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def files(tmp_path):
    for name, mark in (("init", "rain"), ("sft", "sun"), ("demo", "snow")):
        source(tmp_path / f"{name}.jsonl", [f"There is {mark} in {n % 7} places." for n in range(40)])
    return tmp_path


def test_two_files_give_tables_and_sentences(afd, files):
    status, out, said = afd("diagnose", "init.jsonl", "mine=demo.jsonl")
    assert status == 0 and "init: init.jsonl: 40 examples, layout prompt_response" in said
    assert "init / mine: words tell a text" in out and "They do not say which texts are better." in out
    assert "No prediction" not in out


def test_json_is_all_that_is_printed(afd, files):
    status, out, _ = afd("diagnose", "init.jsonl", "sft.jsonl", "demo.jsonl", "--json", "--texts", "30")
    values = json.loads(out)
    assert status == 0 and set(values) == {"sources", "pairs"}
    assert [(row["low"], row["high"]) for row in values["pairs"]] == [
        ("init", "sft"),
        ("init", "demo"),
        ("sft", "demo"),
    ]
    assert all(row["auc"] == 1.0 and row["auc_by_length"] == 0.5 for row in values["pairs"])
    assert [row["texts"] for row in values["sources"]] == [30, 30, 30]


def test_roles_name_the_three_pairs_and_ask_the_law(afd, files):
    words = ["--init", "init.jsonl", "--sft", "sft.jsonl", "--demo", "demo.jsonl"]
    status, out, _ = afd("diagnose", *words)
    assert status == 0 and all(
        f"{pair}: words tell" in out for pair in ("Init / SFT", "Init / Demo", "SFT / Demo")
    )
    assert "No prediction by chapter 8's law: no fitted law ships" in out
    assert "11 of the law's 11 diagnostics were not measured" in out and "auc_sft_demo:" in out
    values = json.loads(afd("diagnose", *words, "--json")[1])
    assert values["prediction"]["reasons"] and values["prediction"]["choice"] == ""


def test_a_file_of_preferences_is_two_sources(afd, files):
    rows = [{"prompt": f"q {n}", "chosen": f"good {n}", "rejected": f"bad {n}"} for n in range(30)]
    write(files / "prefs.csv", rows)
    status, out, said = afd("diagnose", "prefs.csv")
    assert status == 0 and "prefs preferred / prefs rejected: words tell" in out and "30 preferences" in said


FAULTS = {
    "nothing": ([], "no source was named: give two files or more"),
    "one": (["init.jsonl"], "init.jsonl is one source: give a second file"),
    "twice": (["init.jsonl", "init.jsonl"], "two sources are called 'init': name them"),
    "some roles": (["--init", "init.jsonl"], "--sft and --demo lacks"),
    "no file": (["init.jsonl", "no.jsonl"], "no.jsonl can't be read: No such file"),
    "no format": (["init.jsonl", "notes.txt"], "the name shows the format"),
    "a layout": (["init.jsonl", "sft.jsonl", "--layout", "mesages"], "unknown layout of demonstrations"),
    "an option": (["init.jsonl", "--jsn"], "unknown option '--jsn': did you mean '--json'"),
    "few": (["few.jsonl", "init.jsonl"], "few and init can't be compared"),
    "columns": (["init.jsonl", "columns.jsonl"], "has no layout of demonstrations that is known"),
    "huge": (["init.jsonl", "huge.jsonl"], "line 1 has more than"),
}


@pytest.mark.parametrize("title", FAULTS)
def test_a_fault_is_one_line(afd, files, title):
    words, message = FAULTS[title]
    source(files / "few.jsonl", ["a b", "a b"], prompts=["question 1", "question 2"])
    write(files / "columns.jsonl", [{"x\x1b[2J\u202e": "a"}])
    if title == "huge":
        (files / "huge.jsonl").write_bytes(b" " * (MAX_LINE + 1))
    status, out, said = afd("diagnose", *words)
    last = said.splitlines()[-1]
    assert status == 2 and out == "" and last.startswith("afd: ") and message in last


def test_no_name_commands_a_terminal(afd, files):
    name = "a\x1b[2J\u202e"
    source(files / f"{name}.jsonl", [f"word {n}" for n in range(30)])
    status, out, said = afd("diagnose", f"{name}.jsonl", "init.jsonl")
    commands = [each for each in out + said if each not in "\n\t" and unicodedata.category(each)[0] == "C"]
    assert status == 0 and not commands and "a<U+001B>[2J<U+202E>" in out
