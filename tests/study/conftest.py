"""What tests of studies share: small data sets as people would bring them, a store, a folder of results."""

import json

import numpy as np
import pytest
import torch
from alpaca_folders import write_systems

from afd_study.study.workflow.store import Store


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


WORDS = "how can I bake bread tell me about roses what is the way to paint a wall please explain".split()


@pytest.fixture(scope="session")
def dialogues(tmp_path_factory):
    """A folder in Anthropic's layout with 160 pairs of dialogues."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(160):
        start = f"\n\nHuman: {number} {' '.join(rng.choice(WORDS, size=5))}\n\nAssistant:"
        good, bad = (" ".join(rng.choice(WORDS, size=n)) for n in (6, 3))
        rows.append({"chosen": f"{start} {good}", "rejected": f"{start} {bad}"})
    folder = tmp_path_factory.mktemp("hh-rlhf")
    (folder / "harmless-base").mkdir()
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "harmless-base" / "train.jsonl").write_text(text)
    return folder


@pytest.fixture(scope="session")
def own_file(tmp_path_factory):
    """A CSV with 60 demonstrations."""
    path = tmp_path_factory.mktemp("own") / "mine.csv"
    rows = [f"question {number} about {WORDS[number % 18]},answer number {number}" for number in range(60)]
    path.write_text("prompt,response\n" + "\n".join(rows) + "\n")
    return path


@pytest.fixture(scope="session")
def systems(tmp_path_factory):
    """A folder in AlpacaEval's layout with 160 answers of each of seven systems."""
    words = {"gpt4": 6, "gpt4_0314": 7, "gpt4_1106_preview": 8, "alpha": 3, "beta": 4, "delta": 5, "gamma": 2}
    return write_systems(tmp_path_factory.mktemp("alpaca-eval"), words, n_prompts=160)


@pytest.fixture(scope="session")
def given(dialogues, own_file, systems):
    """What each world needs to be told beside its profile."""
    return {
        "harmless": {},
        "helpful": {},
        "hh_rlhf": {"world.folder": str(dialogues)},
        "own_data": {"world.demonstrations": str(own_file)},
        "alpaca_eval": {"world.folder": str(systems)},
    }


@pytest.fixture(scope="session")
def needs(given):
    """A function: what a task of a profile needs to be told. Profile pretrained has other worlds."""
    real = {"harmless": "hh_rlhf", "helpful": "alpaca_eval"}
    return lambda profile, task: given[real.get(task, task) if profile == "pretrained" else task]


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """A store of smoke studies, which several modules fill and read."""
    return Store(tmp_path_factory.getbasetemp() / "smoke-studies")


@pytest.fixture
def elsewhere(tmp_path, monkeypatch, store):
    """An empty folder of frozen results."""
    monkeypatch.setenv("AFD_RESULTS", str(tmp_path))
    monkeypatch.setenv("AFD_STORE", str(store.root))
    return tmp_path
