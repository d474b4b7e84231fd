"""An endpoint that fails costs retries and then a clear error, and its key is seen nowhere."""

import itertools
import json
import logging
import threading
import traceback
from types import SimpleNamespace

import numpy as np
import pytest
from chat_server import DROP, HANG, KEY, PAIRS, completion, longer, shown

from afd_study.errors import AfdError, SpecError
from afd_study.evaluation.llm_judge import endpoint
from afd_study.evaluation.llm_judge.endpoint import JudgeError
from afd_study.evaluation.llm_judge.judge import JudgeSpec, compare, judge_from_environment

# faults that pass

PASSING = {
    "500": (500, "oops", {}),
    "503 as a page": (503, "<html>busy</html>", {}),
    "429": (429, "slow down", {}),
    "no connection": DROP,
    "nonsense": completion("I would rather not say."),
    "no JSON": (200, "{", {}),
    "deep JSON": (200, "[" * 100_000, {}),
    "JSON of another kind": (200, "[]", {}),
    "no choices": (200, '{"choices": []}', {}),
    "no text": completion(None),
    "text in parts": completion([{"type": "text", "text": "A"}]),
    "damaged compression": (200, "no gzip", {"Content_Encoding": "gzip"}),
}


@pytest.mark.parametrize("fault", PASSING)
def test_passing_faults_are_retried_with_longer_and_longer_waits(fault, judge, server):
    server.reply = lambda body, nth: PASSING[fault] if nth < 3 else longer(body)
    verdicts = judge(PAIRS[:1], attempts=4)
    assert verdicts["score"].tolist() == [1.0]
    assert judge.waits == [1, 2, 4, 1, 2, 4] and len(server.bodies) == 8


def test_an_endpoint_that_does_not_answer_times_out(judge, server):
    server.reply = lambda body, nth: HANG if nth == 0 else longer(body)
    assert judge(PAIRS[:1], timeout=0.5)["score"].tolist() == [1.0]
    assert judge.waits == [1, 1]
    server.reply = lambda body, nth: HANG
    with pytest.raises(JudgeError, match="at the last: ReadTimeout"):
        judge(PAIRS[:1], timeout=0.5, model="another")


def test_a_reply_without_end_is_not_read(judge, server, monkeypatch):
    monkeypatch.setattr(endpoint, "LARGEST_REPLY", 1000)
    server.reply = lambda body, nth: (200, " " * 100_000, {})
    with pytest.raises(JudgeError, match="more than 1000 bytes"):
        judge(PAIRS[:1])


def test_a_reply_that_drips_is_given_up(judge, server, monkeypatch):
    clock = itertools.count(step=100)  # seconds
    monkeypatch.setattr(endpoint, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with pytest.raises(JudgeError, match="not whole after 60 s"):
        judge(PAIRS[:1])


@pytest.mark.parametrize(
    ("header", "waits"),
    [
        ("7", 7),
        ("0.5", 0.5),
        ("0", 0),
        ("86400", 120),
        ("-5", 0),
        ("soon", 1),
        ("nan", 1),
        ("inf", 1),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Fri, 31 Dec 2199 23:59:59 GMT", 120),
    ],
)
def test_retry_after_is_honoured_up_to_a_limit(header, waits, judge, server):
    server.reply = lambda body, nth: (429, "", {"Retry_After": header}) if nth == 0 else longer(body)
    judge(PAIRS[:1])
    assert judge.waits == [waits, waits]


def test_waits_are_bounded_and_jitter_is_the_generators(judge, server):
    server.reply = lambda body, nth: (500, "", {}) if nth < 5 else longer(body)
    judge(PAIRS[:1], attempts=6, longest_wait=3)
    assert judge.waits == [1, 2, 3, 3, 3] * 2

    def drawn(seed, model):
        judge.waits.clear()
        judge(PAIRS[:1], attempts=6, longest_wait=3, model=model, generator=np.random.default_rng(seed))
        return list(judge.waits)

    first, again, other = drawn(1, "one"), drawn(1, "two"), drawn(2, "three")
    assert first == again != other
    assert all(low <= wait <= 1.5 * low for wait, low in zip(first, [1, 2, 3, 3, 3] * 2, strict=True))
    assert len(set(np.array(first) / ([1, 2, 3, 3, 3] * 2))) == 10


def test_it_gives_up_and_says_what_the_endpoint_did(judge, server):
    server.reply = lambda body, nth: (500, "out of\x1b[31m order", {})
    with pytest.raises(JudgeError, match="no usable answer in 3 attempts; at the last: status 500") as error:
        judge()
    assert len(server.bodies) == 3
    for part in (server.url, "'some-model'", r"out of\x1b[31m order", "0 of 6 answers", str(judge.answers)):
        assert part in str(error.value)


# faults that stay


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, r"refuses the question \(status 400, 'why: no'\)"),
        (401, r"refuses the key \(status 401\): set AFD_JUDGE_KEY"),
        (403, r"refuses the key \(status 403\)"),
        (404, r"no such address or model .*base_url ends before /chat/completions"),
        (422, r"refuses the question \(status 422"),
    ],
)
def test_refusals_are_reported_at_once(status, message, judge, server):
    server.reply = lambda body, nth: (status, "why: no", {"Retry_After": "1"})
    with pytest.raises(JudgeError, match=message):
        judge()
    assert len(server.bodies) == 1 and judge.waits == []


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_the_key_follows_no_redirect(status, judge, server, servers, monkeypatch):
    other = servers()
    monkeypatch.setenv("AFD_JUDGE_URL", server.url)
    server.reply = lambda body, nth: (status, "", {"Location": f"{other.url}/chat/completions"})
    with pytest.raises(JudgeError, match=r"redirects .* not followed"):
        judge()
    assert other.bodies == [] and len(server.bodies) == 1


def test_a_failure_ends_the_waits_of_others(server, tmp_path):
    """Without that the question that waits would be asked again after 100 s."""
    waiting = threading.Event()

    def reply(body, nth):
        if shown(body)["A"] == "The sky is.":
            waiting.set()
            return 429, "", {"Retry_After": "100"}
        return (401, "", {}) if waiting.wait(30) else longer(body)

    server.reply = reply
    with pytest.raises(JudgeError, match="status 401"):
        compare(PAIRS[:1], judge_from_environment(concurrency=2), answers=tmp_path / "answers")
    assert len(server.bodies) == 2


# the key

ECHOES = {
    "401": (401, f"Incorrect API key: {KEY}", {}),
    "400": (400, f"what is {KEY}?", {}),
    "400 in JSON": (400, json.dumps({"error": f"what is {KEY}?"}), {}),
    "400 in JSON with slashes": (400, json.dumps(KEY).replace("/", "\\/"), {}),
    "400 at the end of the excerpt": (400, "x" * (endpoint.EXCERPT - 8) + KEY, {}),
    "404": (404, KEY, {}),
    "500": (500, KEY, {}),
    "302": (302, KEY, {"Location": f"/{KEY}", "X_Seen": KEY}),
    "nonsense": completion(f"your key is {KEY}"),
    "no connection": DROP,
    "timeout": HANG,
    "damaged compression": (200, KEY, {"Content_Encoding": "gzip"}),
}


def everything(error):
    """All that a report of the error could show: itself, what led to it, and every frame's variables."""
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    text, cause = "".join(report.format()), error
    while cause is not None:
        frames = traceback.TracebackException.from_exception(cause, capture_locals=True, compact=False)
        text += repr(cause) + repr(vars(cause)) + "".join(frames.format())
        cause = cause.__cause__ or cause.__context__
    return text


@pytest.mark.parametrize("fault", ECHOES)
def test_the_key_is_in_no_error_log_or_file(fault, judge, server, caplog, capsys):
    server.reply = lambda body, nth: ECHOES[fault] if shown(body)["A"] == "Moss!" else longer(body)
    with caplog.at_level(logging.DEBUG), pytest.raises(JudgeError) as error:
        judge(timeout=0.5 if fault == "timeout" else 10)
    assert set(server.authorizations) == {f"Bearer {KEY}"}  # it was sent
    logged = "".join(record.getMessage() + repr(record.__dict__) for record in caplog.records)
    assert "httpx" in {record.name for record in caplog.records}
    printed = "".join(capsys.readouterr())
    for text in (everything(error.value), logged, printed, judge.answers.read_text()):
        for secret in (KEY, json.dumps(KEY)[1:-1], "Secret", "sk-7f"):
            assert secret not in text
    assert len(judge.answers.read_text().splitlines()) == 5


def test_retries_are_logged(judge, server, caplog):
    server.reply = lambda body, nth: PASSING["500"] if nth == 0 else longer(body)
    judge(PAIRS[:1])
    messages = [record.getMessage() for record in caplog.records if record.name == endpoint.__name__]
    assert messages == ["attempt 1 at a verdict failed: status 500, 'oops'"] * 2


def test_a_short_key_does_not_garble_answers(judge, server, monkeypatch):
    monkeypatch.setenv("AFD_JUDGE_KEY", "A")
    assert judge()["score"].tolist() == [1.0, 0.0, 0.5]


def test_the_key_is_in_no_setting(server):
    spec = judge_from_environment()
    assert KEY not in f"{spec!r}{spec}{spec.model_dump()}{spec.model_dump_json()}{vars(spec)}"


@pytest.mark.parametrize(
    "key", ["sk-7f Secret", "sk-7f\nSecret", "sk-7f\r\nX: Secret", "sk-7fSecretü", "sk-7f\x00"]
)
def test_a_key_that_cannot_be_sent_is_refused_without_being_quoted(key, judge, server, monkeypatch):
    if "\x00" in key:  # no environment can hold this one
        monkeypatch.setattr(endpoint, "from_environment", lambda *names: ["sk-7f\x00Secret"])
    else:
        monkeypatch.setenv("AFD_JUDGE_KEY", key)
    with pytest.raises(SpecError, match="AFD_JUDGE_KEY holds a space") as error:
        judge()
    assert "sk-7f" not in str(error.value) + repr(error.value) and "Secret" not in repr(vars(error.value))
    assert server.bodies == []


def test_blanks_around_a_key_are_dropped(judge, server, monkeypatch):
    monkeypatch.setenv("AFD_JUDGE_KEY", f" {KEY}\n")
    judge()
    assert set(server.authorizations) == {f"Bearer {KEY}"}


def test_what_the_environment_lacks_is_named(judge, server, monkeypatch):
    monkeypatch.setenv("AFD_JUDGE_KEY", " ")
    with pytest.raises(SpecError, match="the environment lacks AFD_JUDGE_KEY: set"):
        judge()
    monkeypatch.delenv("AFD_JUDGE_URL")
    monkeypatch.delenv("AFD_JUDGE_MODEL")
    with pytest.raises(SpecError, match="lacks AFD_JUDGE_URL, AFD_JUDGE_MODEL: set"):
        judge_from_environment()
    assert server.bodies == []


@pytest.mark.parametrize(
    "url",
    [
        "http://me:Secret@127.0.0.1/v1",
        "http://Secret@127.0.0.1/v1",
        "http://127.0.0.1/v1?key=Secret",
        "http://127.0.0.1/v1#Secret",
        "127.0.0.1/Secret",
        "ftp://127.0.0.1/Secret",
        "http://host:Secret",
        "http:///Secret",
    ],
)
def test_addresses_that_hold_more_than_an_address_are_refused_without_being_quoted(url, server, monkeypatch):
    monkeypatch.setenv("AFD_JUDGE_URL", url)
    with pytest.raises(SpecError, match="base_url must") as error:
        judge_from_environment()
    assert "Secret" not in str(error.value)
    with pytest.raises(ValueError) as also:
        JudgeSpec(base_url=url, model="m")
    assert "Secret" not in str(also.value) + repr(also.value)


@pytest.mark.parametrize(
    "wrong",
    [{"attempts": 0}, {"concurrency": 0}, {"timeout": float("inf")}, {"temprature": 1}, {"model": ""}],
)
def test_settings_that_cannot_be_used_are_named(wrong, server):
    with pytest.raises(SpecError, match=next(iter(wrong))):
        judge_from_environment(**wrong)


def test_its_errors_are_those_that_a_person_can_act_on():
    assert issubclass(JudgeError, AfdError)
