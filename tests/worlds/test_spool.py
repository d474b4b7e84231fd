"""Texts wait on disk: a corpus in pieces of any size is the same corpus."""

import json

import pandas as pd
import pytest

from afd_study.errors import DataError
from afd_study.worlds import entries, spool
from afd_study.worlds.own_data import OwnDataSpec, load

TABLES = ("prompts", "demonstrations", "preferences", "report")


@pytest.fixture
def spec(tmp_path):
    path, pairs = tmp_path / "d.jsonl", tmp_path / "p.jsonl"
    rows = [
        {"prompt": f"question {n % 17}", "response": "" if n % 5 == 0 else f"answer {n}"} for n in range(60)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    rows = [{"prompt": f"question {n}", "preferred": "good", "rejected": "bad"} for n in range(12)]
    pairs.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return OwnDataSpec(demonstrations=path, preferences=pairs, validation=0.2, test=0.2)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_pieces_of_any_size_give_the_same_tables(spec, size, monkeypatch):
    whole = {name: getattr(load(spec), name) for name in TABLES}
    monkeypatch.setattr(spool, "BATCH", size)
    corpus = load(spec)
    for name in TABLES:
        pd.testing.assert_frame_equal(getattr(corpus, name), whole[name])
    assert all(len(piece) <= size for piece in corpus.batches("demonstrations"))


def test_draws_count_a_prompts_answers_over_all_pieces(spec, monkeypatch):
    monkeypatch.setattr(spool, "BATCH", 3)
    draws = load(spec).demonstrations.groupby("prompt_id")["draw"].agg(list)
    assert max(map(len, draws)) > 2
    assert all(each == list(range(len(each))) for each in draws)


def test_the_texts_are_gone_when_nobody_needs_them(spec, tmp_path):
    corpus = load(spec, tmp_path)
    (place,) = tmp_path.glob("corpus-*")
    assert any(place.iterdir())
    del corpus
    assert not place.exists()


def test_two_prompts_that_share_an_id_are_refused(spec, monkeypatch):
    monkeypatch.setattr(spool, "prompt_id", lambda text: entries.prompt_id(text)[:1])
    with pytest.raises(DataError, match=r"two prompts have one id, by chance \(.*d.jsonl: \d"):
        load(spec)
