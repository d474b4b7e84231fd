"""What is read of a data set is said before, with its bounds, and what was dropped is said at every run."""

import json
import shutil

import pandas as pd
import pytest

from afd_study.study import data_lines
from afd_study.study.spec import load_spec
from afd_study.study.study import Study, open_study
from afd_study.study.workflow.store import Store

ROWS = [{"prompt": f"What is thing {n}?", "response": f"It is {n}."} for n in range(60)]
DROPPED = "own_data: 60 rows kept, 3 dropped (empty response 3)"


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "d.jsonl"
    path.write_text(
        "".join(json.dumps(row) + "\n" for row in [*ROWS, *[{"prompt": "a", "response": ""}] * 3])
    )
    return path


def test_files_sizes_and_bounds_are_said(data, dialogues):
    line = data_lines.reading(load_spec("own_data", "smoke", {"world.demonstrations": str(data)}).world)
    assert line == (
        f"own_data: reads 'd.jsonl' ({data.stat().st_size / 1000:.1f} kB); at most 1,000,000 characters a "
        "text, 67,108,864 bytes a line, 100,000 blank lines a file"
    )
    line = data_lines.reading(load_spec("hh_rlhf", "smoke", {"world.folder": str(dialogues)}).world)
    assert line.startswith("hh_rlhf: reads 'train.jsonl' (") and line.endswith(" a file, 300 rows")
    assert data_lines.reading(load_spec("harmless", "smoke").world) == ""
    gone = load_spec("own_data", "smoke", {"world.demonstrations": "gone\x1b[2J.csv"}).world
    assert "'gone\\x1b[2J.csv' (size unknown)" in data_lines.reading(gone)


def test_of_real_systems_it_is_said_whose_answers_are_read_and_on_which_terms(systems):
    spec = load_spec("helpful", "pretrained", {"world.folder": str(systems)})
    line = data_lines.reading(spec.world)
    file = "alpaca_eval_gpt4/annotations.json"
    assert line.startswith(f"alpaca_eval: reads 'alpha/{file}' (") and f"'beta/{file}' (" in line
    assert " and 1 more; at most " in line and "'gpt4_0314/" not in line
    assert (
        "gpt4 demonstrates" in line and "left out: gpt4_0314, gpt4_1106_preview; texts are CC BY-NC" in line
    )


def test_files_of_one_name_are_told_apart_by_their_folders(dialogues, tmp_path):
    for subset in ("harmless-base", "helpful-base"):
        shutil.copytree(dialogues / "harmless-base", tmp_path / subset)
    both = {"world.folder": str(tmp_path), "world.subsets": ["harmless-base", "helpful-base"]}
    line = data_lines.reading(load_spec("hh_rlhf", "smoke", both).world)
    assert "'harmless-base/train.jsonl' (" in line and "'helpful-base/train.jsonl' (" in line
    path = str(tmp_path / "harmless-base" / "train.jsonl")
    twice = load_spec("own_data", "smoke", {"world.demonstrations": path, "world.prompts": path})
    assert "reads 'train.jsonl' (" in data_lines.reading(twice.world)


def test_what_was_dropped_is_said_again_where_the_store_holds_the_corpus(data, tmp_path, capsys, monkeypatch):
    study = open_study(
        "own_data", "smoke", overrides={"world.demonstrations": str(data)}, store=Store(tmp_path / "store")
    )
    corpus = study.plans()[0].step("corpus")
    monkeypatch.setattr(Study, "steps", lambda self: [corpus])  # the first of its steps will do
    for _ in range(2):
        assert study.run(lines=True) in (0, 1)
        said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("own_data")]
        assert said == [data_lines.reading(study.spec.world), DROPPED]
    study.table("report")
    assert capsys.readouterr().err == ""


def test_what_was_cut_is_said_with_its_bounds(data):
    world = load_spec("own_data", "smoke", {"world.demonstrations": str(data)}).world
    rows = [("prompt", 4000, 1203, 96), ("response", 4000, 0, 64)]
    table = pd.DataFrame(rows, columns=["side", "n", "n_cut", "bound"])
    assert data_lines.cut(world, table) == (
        "own_data: 1,203 of 4,000 prompts lost their beginning (sampling.max_prompt_tokens=96)"
    )
    assert data_lines.cut(world, table.assign(n_cut=0)) == ""
    both = data_lines.cut(world, table.assign(n_cut=7))
    assert both.endswith(
        "beginning (sampling.max_prompt_tokens=96), 7 of 4,000 responses lost their end "
        "(sampling.max_new_tokens=64)"
    )
