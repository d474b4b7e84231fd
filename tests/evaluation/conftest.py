"""A judge before a local server, with a key that must not be seen."""

import pytest
from chat_server import KEY, PAIRS, ChatServer

from afd_study.evaluation.llm_judge.judge import compare, judge_from_environment


@pytest.fixture
def servers(monkeypatch):
    """A function that starts a server; the environment points to the latest."""
    started = []
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("AFD_JUDGE_MODEL", "some-model")
    monkeypatch.setenv("AFD_JUDGE_KEY", KEY)

    def start():
        started.append(ChatServer())
        monkeypatch.setenv("AFD_JUDGE_URL", started[-1].url)
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture
def server(servers):
    return servers()


@pytest.fixture
def judge(server, tmp_path):
    """Compare with the server; the seconds that it would have slept are in `judge.waits`."""

    def run(pairs=PAIRS, answers=tmp_path / "answers.jsonl", generator=None, **settings):
        spec = judge_from_environment(**{"concurrency": 1, "attempts": 3, **settings})
        return compare(pairs, spec, answers=answers, sleep=run.waits.append, generator=generator)

    run.waits, run.answers = [], tmp_path / "answers.jsonl"
    return run
