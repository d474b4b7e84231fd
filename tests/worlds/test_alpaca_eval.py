"""AlpacaEval's folder is read as it lies, and what is no such folder is named."""

import json

import pytest
from alpaca_folders import record, write_system, write_systems

from afd_study.errors import DataError, SpecError
from afd_study.worlds.alpaca_eval import (
    REFERENCE,
    AlpacaEvalSpec,
    easy_prompts,
    files,
    load_answers,
)
from afd_study.worlds.entries import prompt_id


def load(folder, **settings):
    return load_answers(AlpacaEvalSpec(folder=folder, **settings))


@pytest.fixture
def folder(tmp_path):
    return write_systems(tmp_path, {"alpha": 3, "beta": 5, "gamma": 7})


def test_prompts_answers_and_verdicts_and_the_reference_that_has_no_folder(folder):
    answers = load(folder)
    assert len(answers.prompts) == 20
    assert set(answers.answers["system"]) == {"alpha", "beta", "gamma", REFERENCE}
    assert set(answers.verdicts["system"]) == {"alpha", "beta", "gamma"}
    name = prompt_id("\n\nHuman: Question number 3?\n\nAssistant:")
    texts = answers.answers.set_index(["prompt_id", "system"])["text"]
    assert texts[name, "beta"] == "beta 3 sun moon star cloud rain"
    assert texts[name, REFERENCE] == "The reference answers 3."
    values = answers.verdicts.set_index(["prompt_id", "system"])["value"]
    assert (values[name, "alpha"], values[name, "beta"]) == (1.0, 0.0)
    assert [path.parts[-3] for path in files(AlpacaEvalSpec(folder=folder))] == ["alpha", "beta", "gamma"]


@pytest.mark.parametrize(
    ("written", "value"), [(1, 0), (2, 1), (1.5, 0.5), (0, 0.5), (0.0, 0.5), (1.25, 0.25)]
)
def test_verdicts_are_shares_and_an_old_nought_is_a_tie(tmp_path, written, value):
    write_system(tmp_path, "alpha", [record(0, "An answer.", written)])
    assert load(tmp_path).verdicts["value"].tolist() == [value]


def test_records_without_a_verdict_keep_their_answers_and_are_counted(tmp_path):
    rows = [record(0, "a"), record(1, "b", None), record(2, "c", float("nan"))]
    write_system(tmp_path, "alpha", rows)
    answers = load(tmp_path)
    assert len(answers.verdicts) == 1
    assert (answers.answers["system"] == "alpha").sum() == 3
    assert answers.report.loc[0, "n_no_verdict"] == 2


def test_verdicts_against_another_reference_are_left_out_and_counted(folder):
    rows = [record(n, f"delta {n}", 2, output_1="Another reference.") for n in range(20)]
    rows[7] = record(7, "delta 7", 2)
    write_system(folder, "delta", rows)
    answers = load(folder)
    assert (answers.verdicts["system"] == "delta").sum() == 1
    assert answers.report.set_index("system").loc["delta", "n_other_reference"] == 19


def test_one_source_of_prompts_can_be_read_alone(folder):
    answers = load(folder, datasets=("helpful_base",))
    assert len(answers.prompts) == 5 and set(answers.prompts["dataset"]) == {"helpful_base"}
    assert len(answers.verdicts) == 15
    with pytest.raises(SpecError, match="did you mean 'helpful_base'"):
        load(folder, datasets=("helpfull_base",))


def test_a_system_that_is_not_there_is_named_with_the_nearest(folder):
    assert set(load(folder, systems=("beta",)).verdicts["system"]) == {"beta"}
    for wrong in ({"systems": ("betta",)}, {"leave_out": ("betta",)}):
        with pytest.raises(SpecError, match="did you mean 'beta'"):
            load(folder, **wrong)
    with pytest.raises(DataError, match="left to read"):
        load(folder, leave_out=("alpha", "beta", "gamma"))


def test_a_folder_with_another_systems_answers_is_refused_and_another_generator_is_not(folder):
    whole = json.loads((folder / "results/beta/alpaca_eval_gpt4/annotations.json").read_text())
    write_system(folder, "zeta", whole)
    with pytest.raises(DataError, match="20 of 20 answers of beta and zeta"):
        load(folder)
    assert "zeta" not in set(load(folder, leave_out=("zeta",)).verdicts["system"])
    write_system(folder, "zeta", [row | {"output_2": row["output_2"] + " Yes."} for row in whole])
    assert load(folder).report.set_index("system").loc["zeta", "generator"] == "some name"


def test_systems_without_this_annotators_verdicts_are_left_out(folder):
    write_system(folder, "newer", [record(0, "x")], annotator="weighted_alpaca_eval_gpt4_turbo")
    assert "newer" not in set(load(folder).answers["system"])


def test_a_system_that_answers_other_prompts_is_refused(folder):
    write_system(folder, "delta", [record(n, f"delta {n}") for n in range(100, 103)])
    with pytest.raises(DataError, match="delta.*answers 3 of the 23 prompts"):
        load(folder)


def test_what_is_no_such_folder_is_named(folder, tmp_path):
    empty, other = tmp_path / "empty", tmp_path / "other"
    empty.mkdir()
    (other / "results" / "alpha").mkdir(parents=True)
    (other / "results" / "alpha" / "leaderboard.csv").write_text("x")
    (tmp_path / "a_file").write_text("x")
    cases = {
        empty: "holds: nothing",
        other: "alpha/leaderboard.csv",
        tmp_path / "nowhere": "no folder",
        tmp_path / "a_file": "is a file",
        folder / "results": "holds the systems themselves",
        folder / "results" / "alpha": "one system's folder",
    }
    for path, words in cases.items():
        with pytest.raises(DataError, match=words):
            load(path)


BROKEN = {
    "cut off": (json.dumps([record(0, "x")])[:-9], "line 1, column .* is not JSON"),
    "an object": (json.dumps({"a": 1}), "a JSON dict, not a list"),
    "empty list": ("[]", "an empty list"),
    "nothing": ("", "is not JSON"),
    "a pointer": ("version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
    "a record that is a number": ("[3]", "record 1 is a JSON int"),
    "deep": ("[" * 100_000, "not JSON that can be read"),
    "another key": (
        json.dumps([{k.replace("output_2", "output2"): v for k, v in record(0, "x").items()}]),
        "record 1 lacks the key 'output_2': did you mean 'output2'",
    ),
    "no text": (json.dumps([record(0, 7)]), "'output_2' must be text"),
    "half a pair": (json.dumps([record(0, "\ud83d")]), "half a surrogate pair"),
    "no instruction": (json.dumps([record(0, "x", instruction=" ")]), "'instruction' is empty"),
    "a verdict in words": (json.dumps([record(0, "x", "model_2")]), "must be a number or null"),
    "a verdict that is a truth": (json.dumps([record(0, "x", True)]), "must be a number or null"),
    "a verdict out of range": (json.dumps([record(0, "x", 3)]), "is 3, and AlpacaEval's lie from 1 to 2"),
    "no verdict at all": (json.dumps([record(0, "x", None)]), "none of 1 records has a verdict"),
    "an instruction twice": (
        json.dumps([record(0, "x"), record(0, "y")]),
        "records 1 and 2 have one instruc",
    ),
}


@pytest.mark.parametrize(("text", "words"), BROKEN.values(), ids=BROKEN)
def test_a_damaged_file_is_refused_with_its_place(folder, text, words):
    path = write_system(folder, "broken", text)
    with pytest.raises(DataError, match=words) as fault:
        load(folder)
    assert str(path) in str(fault.value)


def test_prompts_on_which_nearly_all_win_are_marked(tmp_path):
    for system in range(10):
        rows = [record(0, f"{system} a", 2), record(1, f"{system} b", 1 + (system > 1))]
        write_system(tmp_path, f"s{system}", [*rows, record(2, f"{system} c", 1 + (system > 0))])
    table = easy_prompts(load(tmp_path)).merge(load(tmp_path).prompts[["prompt_id", "text"]])
    marks = {text.split()[3]: easy for text, easy in zip(table["text"], table["easy"], strict=True)}
    assert marks == {"0?": True, "1?": False, "2?": True}


def test_the_published_answers_and_win_rates(alpaca_eval):
    """AlpacaEval's public leaderboard has gpt4 at 95.28 and text_davinci_001 at 15.17."""
    answers = load(alpaca_eval)
    report = answers.report.set_index("system")
    assert len(answers.prompts) == 805 and len(report) == 40
    assert (answers.prompts["dataset"] == "helpful_base").sum() == 129
    assert round(100 * report.loc["gpt4", "wins"], 2) == 95.28
    assert round(100 * report.loc["text_davinci_001", "wins"], 2) == 15.17
    assert report["n_other_reference"].drop("Mistral-7B+RAHF-DUAL+LoRA").eq(0).all()
    assert report.loc["alpaca-7b-neft", "generator"].startswith("llama7B")
