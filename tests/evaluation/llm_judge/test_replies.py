"""Odd replies and surroundings: every one ends in a short error that shows what came and what to do."""

import json
import time

import pytest
from chat_server import DRIP, KEY, PAIRS, completion, longer

from afd_study.errors import DataError, SpecError
from afd_study.evaluation.llm_judge import endpoint, surroundings
from afd_study.evaluation.llm_judge.endpoint import JudgeError

ONE = PAIRS[:1]


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 503, 529])
def test_statuses_that_may_pass_are_asked_again_when_the_server_says(status, judge, server):
    server.reply = lambda body, nth: (status, "", {"Retry_After": "7"}) if nth == 0 else longer(body)
    assert judge(ONE)["score"].tolist() == [1.0]
    assert judge.waits == [7, 7]


UNREADABLE = {
    "a sentence": (completion("I like the\x1b[31m first\n"), r"no verdict, 'I like the\x1b[31m first\n'"),
    "much": (completion("long " * 40_000), "long long"),
    "nothing": (completion(" "), "an empty answer (finish_reason 'None')"),
    "cut short": (
        (200, json.dumps({"choices": [{"finish_reason": "length", "message": {"content": ""}}]}), {}),
        "raise max_tokens",
    ),
    "only thoughts": (completion("<think>which one?"), "'<think>which one?'"),
    "a page": ((200, "<html>" + "x" * 189_000, {}), "cannot be read, '<html>xxx"),
    "an error of 189,000 characters": ((400, "e" * 189_000, {}), "status 400"),
    "a header of 60,000 characters": ((500, "no", {"X_More": "h" * 60_000}), "status 500"),
    "a header that is none": ((200, "", {"X_Mo\re": "1"}), "no usable answer"),
    "no system role": ((400, "Unsupported role: system", {}), "set instructions=user"),
}


@pytest.mark.parametrize("fault", UNREADABLE)
def test_the_error_shows_what_came_cut_and_escaped(fault, judge, server):
    reply, message = UNREADABLE[fault]
    server.reply = lambda body, nth: reply
    with pytest.raises(JudgeError) as error:
        judge(ONE)
    assert message in str(error.value) and len(str(error.value)) < 1500
    assert "\x1b" not in str(error.value) and "\n" not in str(error.value)


def test_headers_that_drip_outlast_no_timeout(judge, server, monkeypatch):
    monkeypatch.setattr(endpoint, "SLACK", 0.1)
    server.reply = lambda body, nth: DRIP
    start = time.monotonic()
    with pytest.raises(JudgeError, match="not whole after 0.3 s"):
        judge(ONE, timeout=0.3, attempts=2)
    assert time.monotonic() - start < 10
    server.reply = lambda body, nth: longer(body)
    assert judge(ONE)["score"].tolist() == [1.0]


PROXIES = ["nonsense", "ftp://127.0.0.1:1", "http://me:Secret@[::1", "http://host:Secret"]


@pytest.fixture
def no_proxy(monkeypatch):
    for name in (*surroundings.PROXIES, *surroundings.CERTIFICATES):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.parametrize("value", PROXIES)
@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_proxy_that_is_none_is_named_and_not_quoted(name, value, judge, no_proxy, monkeypatch):
    monkeypatch.setenv(name, value)
    with pytest.raises((SpecError, JudgeError), match=name) as error:
        judge(ONE, timeout=2)
    assert "Secret" not in str(error.value) and KEY not in str(error.value)


def test_a_proxy_that_does_not_answer_is_named(judge, server, no_proxy, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with pytest.raises(JudgeError, match="the proxy of HTTP_PROXY may be at fault"):
        judge(ONE, timeout=5, attempts=1)
    assert server.bodies == []


@pytest.mark.parametrize("name", surroundings.CERTIFICATES)
def test_certificates_that_cannot_be_read_are_named(name, judge, tmp_path, no_proxy, monkeypatch):
    (tmp_path / "no.pem").write_text("no certificate")
    for value in (tmp_path / "no.pem", tmp_path / "nothing"):
        monkeypatch.setenv(name, str(value))
        try:
            judge(ONE.assign(prompt=str(value)))
        except SpecError as error:
            assert name in str(error)
        else:
            assert name == "SSL_CERT_DIR"  # a folder without certificates is no fault over plain HTTP


def test_names_from_elsewhere_are_cut(judge):
    with pytest.raises(DataError, match="is no text in row") as error:
        judge(PAIRS.assign(prompt_id=["p" * 189_000, "b", "c"], first=[None, "x", "y"]))
    assert len(str(error.value)) < 1000
