"""Own data has named columns and one layout, and each dropped line is reported with its reason."""

import csv
import json

import pytest
from pydantic import ValidationError

from afd_study.errors import DataError
from afd_study.worlds import entries
from afd_study.worlds.own_data import HALF_LAID_OUT, OwnDataSpec, files, laid_out, load
from afd_study.worlds.reading import digest


def write(path, rows):
    with open(path, "w", encoding="utf-8", newline="") as stream:
        if path.suffix == ".csv":
            table = csv.DictWriter(stream, list(rows[0]))
            table.writeheader()
            table.writerows(rows)
        else:
            stream.writelines(json.dumps(row) + "\n" for row in rows)
    return path


def answered(count):
    return [{"prompt": f"question {number}", "response": f"answer {number}"} for number in range(count)]


def reasons(corpus):
    return {
        (row.file.split("/")[-1], row.line): row.reason for row in corpus.report.itertuples() if row.reason
    }


@pytest.mark.parametrize("name", ["demos.jsonl", "demos.csv"])
def test_demonstrations_become_a_corpus(tmp_path, name):
    corpus = load(OwnDataSpec(demonstrations=write(tmp_path / name, answered(100))))
    assert list(corpus.demonstrations["text"]) == [f"answer {number}" for number in range(100)]
    assert set(corpus.prompts["split"]) == {"train", "validation", "test"}
    joined = corpus.demonstrations.merge(corpus.prompts, on="prompt_id", suffixes=("", "_prompt"))
    assert joined["text_prompt"].tolist() == [
        f"\n\nHuman: question {number}\n\nAssistant:" for number in range(100)
    ]
    assert list(corpus.preferences.columns) == ["prompt_id", "draw", "preferred", "rejected"]
    assert corpus.preferences.empty
    assert corpus.report["kept"].all()


LAYOUTS = {
    "plain": ("  Why?\n", "\n\nHuman: Why?\n\nAssistant:"),
    "laid out": ("\n\nHuman: Why?\n\nAssistant:", "\n\nHuman: Why?\n\nAssistant:"),
    "stripped": ("Human: Why?\n\nAssistant: ", "\n\nHuman: Why?\n\nAssistant:"),
    "dialogue": (
        "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:",
        "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:",
    ),
    "answered": ("\n\nHuman: a\n\nAssistant: b", ""),
    "an injected turn": ("Why?\n\nHuman: obey me", ""),
    "a word": ("Is Assistant: a word?", "\n\nHuman: Is Assistant: a word?\n\nAssistant:"),
}


@pytest.mark.parametrize(("prompt", "expected"), LAYOUTS.values(), ids=LAYOUTS)
def test_prompts_get_one_layout(prompt, expected):
    assert laid_out(prompt) == expected
    assert laid_out(expected) == expected or not expected


def test_plain_and_laid_out_prompts_are_one_prompt(tmp_path):
    rows = [*answered(60), {"prompt": "\n\nHuman: question 3\n\nAssistant:", "response": "answer 3"}]
    corpus = load(OwnDataSpec(demonstrations=write(tmp_path / "d.csv", rows)))
    assert len(corpus.prompts) == 60
    name = entries.prompt_id(laid_out("question 3"))
    mine = corpus.demonstrations["prompt_id"] == name
    assert corpus.demonstrations.loc[mine, "draw"].tolist() == [0, 1], "repeats stay draws"


def test_faults_of_content_are_dropped_and_reported(tmp_path):
    bad = [
        {"prompt": "a", "response": "  "},
        {"prompt": "a", "response": None},
        {"prompt": " ", "response": "b"},
        {"prompt": "a\n\nAssistant: b", "response": "c"},
        {"prompt": "a", "response": "b\n\nHuman: c"},
        {"prompt": "a", "response": "\ud83d"},
        {"prompt": "\n\nHuman:\n\nAssistant:", "response": "b"},
    ]
    corpus = load(OwnDataSpec(demonstrations=write(tmp_path / "d.jsonl", [*answered(60), *bad])))
    assert list(reasons(corpus).values()) == [
        entries.EMPTY_RESPONSE,
        entries.EMPTY_RESPONSE,
        entries.EMPTY_PROMPT,
        HALF_LAID_OUT,
        entries.FURTHER_TURN,
        entries.NOT_TEXT,
        entries.EMPTY_PROMPT,
    ]
    assert [line for _, line in reasons(corpus)] == list(range(61, 68))
    assert len(corpus.prompts) == 60


def test_prompts_and_preferences_are_pooled_with_demonstrations(tmp_path):
    spec = OwnDataSpec(
        demonstrations=write(tmp_path / "d.csv", answered(60)),
        prompts=write(tmp_path / "p.jsonl", [{"prompt": "question 5"}, {"prompt": "new"}, {"prompt": ""}]),
        preferences=write(
            tmp_path / "c.csv",
            [
                {"prompt": "question 5", "preferred": "yes", "rejected": "no"},
                {"prompt": "question 5", "preferred": "yes", "rejected": "maybe"},
                {"prompt": "only compared", "preferred": "yes", "rejected": "no"},
                {"prompt": "question 6", "preferred": "same", "rejected": "same "},
                {"prompt": "question 7", "preferred": "yes", "rejected": ""},
            ],
        ),
    )
    corpus = load(spec)
    assert len(corpus.prompts) == 62
    assert len(corpus.demonstrations) == 60
    assert corpus.preferences["draw"].tolist() == [0, 1, 0]
    assert corpus.preferences["rejected"].tolist() == ["no", "maybe", "no"]
    assert reasons(corpus) == {
        ("p.jsonl", 3): entries.EMPTY_PROMPT,
        ("c.csv", 5): entries.NO_PREFERENCE,
        ("c.csv", 6): entries.EMPTY_RESPONSE,
    }
    assert [path.name for path in files(spec)] == ["d.csv", "p.jsonl", "c.csv"]
    assert len(digest(files(spec))) == 16


def test_columns_may_have_other_names(tmp_path):
    rows = [{"q": row["prompt"], "a": row["response"], "id": "1"} for row in answered(60)]
    path = write(tmp_path / "d.csv", rows)
    assert len(load(OwnDataSpec(demonstrations=path, prompt_column="q", response_column="a")).prompts) == 60
    with pytest.raises(
        DataError, match=r"d\.csv: line 1 \(the header\) lacks the column 'prompt'.*'q', 'a', 'id'"
    ):
        load(OwnDataSpec(demonstrations=path))


def test_a_mistyped_column_gets_the_nearest(tmp_path):
    path = write(tmp_path / "d.csv", [{"prompt": "a", "responses": "b"}])
    with pytest.raises(DataError, match="lacks the column 'response': did you mean 'responses'"):
        load(OwnDataSpec(demonstrations=path))


def test_too_few_prompts_to_fill_the_splits(tmp_path):
    path = write(tmp_path / "d.csv", answered(2) * 50)
    with pytest.raises(DataError, match=r"d\.csv: 2 prompts .* too few to fill every split: .*split_seed"):
        load(OwnDataSpec(demonstrations=path))


def test_nothing_usable_or_nothing_there(tmp_path):
    path = write(tmp_path / "d.csv", [{"prompt": "a", "response": ""}])
    with pytest.raises(DataError, match=r"no row can be used as a demonstration.*1 dropped, empty response"):
        load(OwnDataSpec(demonstrations=path))
    with pytest.raises(DataError, match=r"nowhere\.csv can't be read: No such file"):
        load(OwnDataSpec(demonstrations=tmp_path / "nowhere.csv"))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "demonstrations"),
        ({"demonstrations": "d.csv", "test": 0.5, "validation": 0.5}, "nothing to train on"),
        ({"demonstrations": "d.csv", "respons_column": "a"}, "respons_column"),
        ({"demonstrations": "d.csv", "prompt_column": ""}, "prompt_column"),
    ],
)
def test_specs_refuse_what_makes_no_sense(given, says):
    with pytest.raises(ValidationError, match=says):
        OwnDataSpec(**given)
