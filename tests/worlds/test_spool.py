"""Texts wait on disk: a corpus in pieces of any size is the same corpus."""

import json

import pandas as pd
import pytest

from afd_study.errors import DataError, StoreError
from afd_study.study.steps.texts import corpus
from afd_study.study.workflow.context import Context
from afd_study.study.workflow.tables import read_table
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


def test_a_dry_run_writes_no_text_and_knows_their_lengths(spec, tmp_path):
    folder = tmp_path / "nothing"
    folder.mkdir()
    rows, whole = load(spec, folder, keep_texts=False).rows, load(spec)
    assert not any(folder.iterdir())
    assert rows.loc[rows["first"], "prompt_length"].sum() == whole.prompts["text"].str.len().sum()
    assert (
        rows.loc[rows["demonstrated"], "answer_length"].sum() == whole.demonstrations["text"].str.len().sum()
    )


def test_a_folder_that_takes_nothing_is_named(spec, tmp_path):
    with pytest.raises(StoreError, match="nowhere can't be written: No such file.*free as much space"):
        load(spec, tmp_path / "nowhere")


def test_a_first_piece_without_a_prompt_is_a_piece(tmp_path, monkeypatch):
    """Through the step too: its table must have the same types in every piece."""
    monkeypatch.setattr(spool, "BATCH", 1)
    path = tmp_path / "d.jsonl"
    rows = [{"prompt": "q", "response": ""}] + [{"prompt": f"q {n}", "response": "a"} for n in range(60)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    world, files = {"name": "own_data", "validation": 0.2, "test": 0.2}, {"demonstrations": str(path)}
    corpus(tmp_path, Context(tmp_path), world=world, digest="", judge_share=0.0, files=files)
    assert len(read_table(tmp_path, "prompts")) == 60


def test_two_prompts_that_share_an_id_are_refused(spec, monkeypatch):
    monkeypatch.setattr(spool, "prompt_id", lambda text: entries.prompt_id(text)[:1])
    with pytest.raises(DataError, match=r"two prompts have one id, by chance \(.*d.jsonl: \d"):
        load(spec)
