"""Replies of a judge's endpoint, its settings and answers that give no verdict, beside look-alikes."""

import json
import time

import pytest
from chat_server import KEY, PAIRS, ChatServer, completion

from afd_study.errors import AfdError, DataError, SpecError, StoreError
from afd_study.evaluation.llm_judge.endpoint import JudgeError
from afd_study.evaluation.llm_judge.judge import compare, judge_from_environment

ONE = PAIRS[:1]
A = completion("A")


@pytest.fixture(scope="module")
def server():
    started = ChatServer()
    yield started
    started.close()


@pytest.fixture
def judge(server, tmp_path, monkeypatch):
    """Judge one pair by the server, whose every reply is `reply`."""
    for name, value in {"URL": server.url, "MODEL": "some-model", "KEY": KEY}.items():
        monkeypatch.setenv(f"AFD_JUDGE_{name}", value)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    def run(reply=A, pairs=ONE, answers=tmp_path / "answers.jsonl", **settings):
        server.reply = lambda body, nth: reply
        spec = judge_from_environment(**{"concurrency": 1, "attempts": 2, **settings})
        return compare(pairs, spec, answers=answers, sleep=lambda seconds: None)

    return run


def choice(message, reason="stop"):
    return 200, json.dumps({"choices": [{"finish_reason": reason, "message": message}]}), {}


def said(text):
    return 200, text, {}


GOOD = A[1]

# title: the reply, what the error says, and a reply that looks like it and is a verdict
REPLIES = {
    "a sentence": (completion("A is better"), "no verdict, 'A is better'", completion("A.")),
    "another letter": (completion("C"), "no verdict, 'C'", completion("B")),
    "both": (completion("A B"), "no verdict, 'A B'", completion("A\n")),
    "a small letter": (completion("a"), "no verdict, 'a'", completion("TIE")),
    "a negation": (completion("not A"), "no verdict", completion("**A**")),
    "a letter of another script": (completion("\u0410"), "no verdict", completion(" A ")),
    "a bracket within": (completion("A) B"), "no verdict", completion("(A)")),
    "thoughts alone": (completion("<think>A"), "no verdict, '<think>A'", completion("<think>B?</think>A")),
    "thoughts without a verdict": (
        completion("<think>A</think>hm"),
        "no verdict",
        completion("<think>hm</think>\n\nA"),
    ),
    "blanks": (completion(" \n"), "an empty answer", completion("\n A \n")),
    "spent tokens": (
        choice({"content": ""}, "length"),
        "raise max_tokens",
        choice({"content": "A"}, "length"),
    ),
    "no text": (completion(None), "cannot be read", choice({"content": "A", "refusal": None})),
    "text in parts": (completion([{"type": "text", "text": "A"}]), "cannot be read", completion('"A"')),
    "a number": (completion(1), "cannot be read", completion("`A`")),
    "a message that is a list": (choice(["A"]), "cannot be read", choice({"content": "A", "more": ["A"]})),
    "no message": (said('{"choices": [{}]}'), "cannot be read", said(GOOD + "\n")),
    "no choices": (said('{"choices": []}'), "cannot be read", said(GOOD.replace("0", "7"))),
    "choices of another kind": (said('{"choices": {"0": "A"}}'), "cannot be read", said(f" {GOOD}")),
    "another kind of JSON": (said('"A"'), "cannot be read", said(GOOD)),
    "null": (said("null"), "cannot be read", said(GOOD)),
    "a cut reply": (said(GOOD[:-3]), "cannot be read", said(GOOD)),
    "two replies": (said(GOOD + GOOD), "cannot be read", said(GOOD)),
    "a stream": (said(f"data: {GOOD}\n\ndata: [DONE]\n"), "cannot be read, 'data:", said(GOOD)),
    "deep JSON": (said("[" * 100_000), "cannot be read", choice({"content": "A", "more": "[" * 1000})),
    "a page": (said("<html>A</html>"), "cannot be read, '<html>", completion("*A*")),
    "nothing": (said(""), "cannot be read, ''", said(GOOD)),
    "no compression": (
        (200, "no gzip", {"Content_Encoding": "gzip"}),
        "DecodingError",
        (200, GOOD, {"X_Encoding": "gzip"}),
    ),
    "an error with status 200": (
        said('{"error": {"message": "no"}}'),
        "cannot be read, .*no",
        choice({"content": "A", "error": None}),
    ),
    "an escape sequence": (completion("\x1b[31mno"), r"'\\x1b\[31mno'", completion("A")),
    "a long answer": (completion("A" * 100_000), "no verdict, 'AAA", completion("A" + " " * 100_000)),
    "a refused key": ((401, KEY, {}), r"refuses the key \(status 401\): set AFD_JUDGE_KEY", A),
    "no such model": ((404, "no such model", {}), "knows no such address or model", A),
    "a redirect": (
        (307, "", {"Location": "https://example.org/"}),
        "redirects",
        (200, GOOD, {"Location": "/"}),
    ),
    "no system role": ((400, "role system: unsupported", {}), "set instructions=user", A),
    "a page of errors": ((422, "x" * 100_000, {}), r"refuses the question \(status 422", A),
    "a busy endpoint": ((429, "slow down", {"Retry_After": "0"}), "status 429, 'slow down'", A),
    "a broken endpoint": ((500, "oops", {}), "status 500, 'oops'", (201, GOOD, {})),
}


def one_line(error, start):
    text = str(error)
    assert len(text) < 1500 and "\n" not in text and "\x1b" not in text and KEY not in text
    assert time.monotonic() - start < 60


@pytest.mark.parametrize("title", REPLIES)
def test_a_reply_without_a_verdict_is_one_clear_error(title, judge, tmp_path):
    reply, says, _ = REPLIES[title]
    start = time.monotonic()
    with pytest.raises(JudgeError, match=says) as error:
        judge(reply)
    one_line(error.value, start)
    assert str(tmp_path) in str(error.value)  # where the answers are kept


@pytest.mark.parametrize("title", REPLIES)
def test_its_look_alike_passes(title, judge):
    assert judge(REPLIES[title][2])["prompt_id"].tolist() == ["p0"]


# title: settings, what the error says, and settings that look like them and are right
SETTINGS = {
    "no address": ({"base_url": "host/v1"}, "base_url must be an address", {}),
    "another scheme": ({"base_url": "file:///v1"}, "base_url must be an address", {}),
    "a password": ({"base_url": "http://me:pw@127.0.0.1/v1"}, "base_url must hold no user", {}),
    "a question": ({"base_url": "http://127.0.0.1/v1?key=1"}, "base_url must hold no user", {}),
    "no model": ({"model": ""}, "model: ", {"model": "0"}),
    "no attempt": ({"attempts": 0}, "attempts: ", {"attempts": 1}),
    "half an attempt": ({"attempts": 1.5}, "attempts: ", {"attempts": 2.0}),
    "no time": ({"timeout": 0}, "timeout: ", {"timeout": 30.5}),
    "endless time": ({"timeout": float("inf")}, "timeout: ", {"timeout": 1e6}),
    "a negative temperature": ({"temperature": -1}, "temperature: ", {"temperature": None}),
    "no number": ({"temperature": float("nan")}, "temperature: ", {"temperature": 0}),
    "no token": ({"max_tokens": 0}, "max_tokens: ", {"max_tokens": None}),
    "no question at once": ({"concurrency": 0}, "concurrency: ", {"concurrency": 64}),
    "too many at once": ({"concurrency": 65}, "concurrency: ", {"concurrency": 2}),
    "another role": ({"instructions": "assistant"}, "instructions: ", {"instructions": "developer"}),
    "no criterion": ({"criterion": ""}, "criterion: ", {"criterion": "Shorter is better."}),
    "an unknown setting": ({"temprature": 0}, "temprature: ", {"temperature": 1}),
}


@pytest.mark.parametrize("title", SETTINGS)
def test_a_bad_setting_is_one_clear_error(title, judge):
    settings, says, _ = SETTINGS[title]
    start = time.monotonic()
    with pytest.raises(SpecError, match=says) as error:
        judge(**settings)
    one_line(error.value, start)


@pytest.mark.parametrize("title", SETTINGS)
def test_its_look_alike_setting_passes(title, judge):
    assert len(judge(**SETTINGS[title][2])) == 1


LINE = '{"key": "k", "verdict": "A"}\n'

# title: how a file of answers is made, its error and what that says, and how one is made that is right
FILES = {
    "a folder": (lambda path: path.mkdir(), StoreError, "cannot read the answers", lambda path: None),
    "something else": (
        lambda path: path.write_text("prompt,response\n"),
        DataError,
        "holds no answers of a judge",
        lambda path: path.write_text(LINE),
    ),
    "other JSON": (
        lambda path: path.write_text('{"verdict": "A"}\n'),
        DataError,
        "holds no answers",
        lambda path: path.write_text('{"verdict": "A"}\n' + LINE),
    ),
    "verdicts that are none": (
        lambda path: path.write_text(LINE.replace('"A"', '"C"')),
        DataError,
        "holds no answers",
        lambda path: path.write_text(LINE + LINE.replace('"A"', '"C"')),
    ),
    "bytes": (
        lambda path: path.write_bytes(b"\xff\xfe\n\x00\n"),
        DataError,
        "holds no answers",
        lambda path: path.write_bytes(LINE.encode() + b"\xff\n"),
    ),
    "deep JSON": (
        lambda path: path.write_text("[" * 100_000 + "\n"),
        DataError,
        "holds no answers",
        lambda path: path.write_text(LINE + "[" * 100_000),
    ),
}


@pytest.mark.parametrize("title", FILES)
def test_a_bad_file_of_answers_is_one_clear_error(title, judge, tmp_path):
    make, kind, says, _ = FILES[title]
    make(tmp_path / "answers.jsonl")
    start = time.monotonic()
    with pytest.raises(kind, match=says) as error:
        judge()
    one_line(error.value, start)


@pytest.mark.parametrize("title", FILES)
def test_its_look_alike_file_passes(title, judge, tmp_path):
    FILES[title][3](tmp_path / "answers.jsonl")
    assert len(judge()) == 1


# title: a table of pairs, what the error says, and one that looks like it and is right
TABLES = {
    "no second response": (ONE.drop(columns="second"), "second", ONE),
    "a number for a text": (ONE.assign(first=5), "'first' is no text", ONE.assign(first="5")),
    "nothing for a text": (ONE.assign(prompt=None), "'prompt' is no text", ONE.assign(prompt="")),
    "no id": (ONE.assign(prompt_id=None), "must name each row", ONE.assign(prompt_id=0)),
    "an id twice": (
        PAIRS.assign(prompt_id="p"),
        "must name each row",
        PAIRS.assign(prompt_id="p", draw=range(3)),
    ),
}


@pytest.mark.parametrize("title", TABLES)
def test_a_bad_table_is_one_clear_error(title, judge):
    table, says, _ = TABLES[title]
    with pytest.raises(AfdError, match=says):
        judge(pairs=table)


@pytest.mark.parametrize("title", TABLES)
def test_its_look_alike_table_passes(title, judge):
    assert len(judge(pairs=TABLES[title][2])) == len(TABLES[title][2])
