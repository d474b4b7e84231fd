"""JSONL that can't be read, each beside a look-alike that has to pass.

To add a case is to add an entry to CASES (helpers/bad_files.py says what it holds).
"""

import json

import pytest
from bad_files import ANSWER, JL, ROWS, Case, lines, passes, refused, row

CASES = {
    # JSON
    "not JSON": Case(
        JL, lines("prompt: a"), "line 61 is not JSON.*one JSON object", lines(" " + ANSWER + " "), 61
    ),
    "single quotes": Case(
        JL, lines(str(ROWS[0])), "line 61 is not JSON", lines(row(prompt="it's", response="'")), 61
    ),
    "laid out over lines": Case(JL, json.dumps(ROWS, indent=1).encode(), "line 1 is not JSON", lines()),
    "a comma behind": Case(
        JL, lines(ANSWER + ","), "line 61 is not JSON", lines(row(prompt=",", response=",")), 61
    ),
    "two objects": Case(
        JL, lines(ANSWER + ANSWER), "line 61 is not JSON.*Extra data", lines(ANSWER, ANSWER), 62
    ),
    "a list": Case(JL, json.dumps(ROWS).encode(), "line 1 holds a JSON list", lines()),
    "a number": Case(JL, lines("5"), "line 61 holds a JSON int", lines(row(prompt="5", response="5")), 61),
    "cut off": Case(JL, lines()[:-9], "line 60 is not JSON", lines()[:-1]),
    "deep": Case(JL, b"[" * 200_000, "line 1 is not JSON", lines(row(prompt="[" * 9999, response="]")), 61),
    "long number": Case(
        JL,
        b'{"prompt":' + b"9" * 5000 + b"}",
        "line 1 is not JSON",
        lines(row(prompt="9" * 5000, response="9")),
        61,
    ),
    "raw control": Case(
        JL,
        lines('{"prompt": "a\tb", "response": "c"}'),
        "Invalid control",
        lines(row(prompt="a\tb", response="c")),
        61,
    ),
    "a key twice": Case(
        JL,
        lines('{"prompt": "a", "response": "b", "response": "c"}'),
        "has the key 'response' twice",
        lines('{"prompt": "a", "response": "b", "x": 1, "x": 2}'),
        61,
    ),
    "no key": Case(
        JL, lines("{}"), "line 61 lacks the key 'prompt'.*none", lines(row(prompt="a", response="b", x=1)), 61
    ),
    "near key": Case(
        JL,
        lines(row(prompt="a", respons="b")),
        "did you mean 'respons'",
        lines(row(respons=1, prompt="a", response="b")),
        61,
    ),
    "other case": Case(
        JL,
        lines(row(Prompt="a", response="b")),
        "did you mean 'Prompt'",
        lines(row(Prompt=1, prompt="a", response="b")),
        61,
    ),
    "a key with an escape": Case(
        JL,
        lines(row(**{"prompt": "a", "\x1b[2Jresponse": "b"})),
        r"\\x1b\[2Jresponse",
        lines(row(prompt="a", response="b", **{"\x1b": 1})),
        61,
    ),
    "a long key": Case(
        JL,
        lines(row(**{"r" * 99_999: "a"})),
        "lacks the key.*rrr",
        lines(row(prompt="a", response="b", **{"r" * 9999: 1})),
        61,
    ),
    "a list of turns": Case(
        JL,
        lines(row(prompt=[{"role": "user"}], response="b")),
        "'prompt' must be text, not a JSON list",
        lines(row(prompt="[]", response="b")),
        61,
    ),
    "a number for a text": Case(
        JL,
        lines(row(prompt="a", response=5)),
        "'response' must be text, not a JSON int",
        lines(row(prompt="a", response="5")),
        61,
    ),
    "a truth for a text": Case(
        JL,
        lines(row(prompt="a", response=True)),
        "must be text, not a JSON bool",
        lines(row(prompt="a", response="true")),
        61,
    ),
    "an object for a text": Case(
        JL,
        lines(row(prompt="a", response={})),
        "must be text, not a JSON dict",
        lines(row(prompt="a", response="{}")),
        61,
    ),
}


@pytest.mark.parametrize("title", CASES)
def test_a_bad_file_is_one_clear_error(tmp_path, title):
    refused(tmp_path, CASES[title])


@pytest.mark.parametrize("title", CASES)
def test_its_look_alike_passes(tmp_path, title):
    passes(tmp_path, CASES[title])
