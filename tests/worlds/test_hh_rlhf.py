"""HH-RLHF is split at the last assistant turn, and each dropped line is reported with its reason."""

import csv
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st
from pydantic import ValidationError

from afd_study.errors import DataError, HubError
from afd_study.worlds import entries, hh_rlhf
from afd_study.worlds.corpus import splits_of
from afd_study.worlds.hh_rlhf import HHRLHFSpec, entry_of, load
from afd_study.worlds.normalising import ASSISTANT

HH_RLHF = Path(os.environ.get("AFD_HH_RLHF", Path(__file__).parents[3] / "shared" / "hh-rlhf"))


def pair(question, good="Yes, gladly.", bad="No.", before=""):
    start = f"{before}\n\nHuman: {question}\n\nAssistant:"
    return {"chosen": f"{start} {good}", "rejected": f"{start} {bad}"}


def pairs(count, tag=""):
    return [pair(f"question {number}{tag}") for number in range(count)]


def write(folder, rows, subset="harmless-base", name="train.jsonl.gz"):
    path = folder / subset / name
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    return folder


def reasons(corpus):
    """Line -> reason, for the lines that have one."""
    return {row.line: row.reason for row in corpus.report.itertuples() if row.reason}


def test_splits_at_the_rightmost_assistant_turn():
    turns = "\n\nHuman: one\n\nAssistant: two\n\nHuman: three\n\nAssistant:"
    entry = entry_of(chosen=f"{turns} four \n", rejected=f"{turns} five", file="f", line=3)
    assert (entry.prompt, entry.demonstration) == (turns, "four")
    assert (entry.preferred, entry.rejected, entry.reason) == ("four", "five", "")


START = "\n\nHuman: one\n\nAssistant:"
FAULTS = {
    "no turn at all": ("one two", "one three", hh_rlhf.NO_TURN),
    "no turn in one": (f"{START} two", "\n\nHuman: one", hh_rlhf.NO_TURN),
    "a turn of its own line only": ("Assistant: two", "Assistant: two", hh_rlhf.NO_TURN),
    "empty": ("", "", hh_rlhf.NO_TURN),
    "empty chosen": (START, f"{START} three", entries.EMPTY_RESPONSE),
    "empty rejected": (f"{START} two", f"{START}  \n", entries.EMPTY_RESPONSE),
    "other prompt": (f"{START} two", "\n\nHuman: other\n\nAssistant: three", hh_rlhf.OTHER_PROMPT),
    "other length": (f"{START} two", f"{START} two\n\nHuman: more\n\nAssistant: three", hh_rlhf.OTHER_PROMPT),
    "human last": (f"{START} two\n\nHuman: more", f"{START} three", entries.FURTHER_TURN),
    "no question": ("\n\nHuman: \n\nAssistant: two", "\n\nHuman: \n\nAssistant: 3", entries.EMPTY_PROMPT),
    "surrogate": (f"{START} \ud83d", f"{START} three", entries.NOT_TEXT),
}


@pytest.mark.parametrize(("chosen", "rejected", "reason"), FAULTS.values(), ids=FAULTS)
def test_faults_of_content_are_dropped_and_reported(tmp_path, chosen, rejected, reason):
    entry = entry_of(chosen=chosen, rejected=rejected, file="f", line=3)
    assert (entry.prompt, entry.demonstration, entry.reason, entry.line) == ("", "", reason, 3)
    rows = [*pairs(40), {"chosen": chosen, "rejected": rejected}, "", *pairs(3, " more")]
    corpus = load(HHRLHFSpec(folder=write(tmp_path, rows)))
    assert reasons(corpus) == {41: reason, 42: entries.BLANK}
    assert len(corpus.demonstrations) == len(corpus.preferences) == 43
    dropped = corpus.describe().set_index("reason").loc[reason]
    assert (dropped["kept"], dropped["rows"], dropped["examples"]) == (
        False,
        1,
        "harmless-base/train.jsonl.gz: 41",
    )


def test_equal_answers_demonstrate_but_prefer_nothing(tmp_path):
    rows = [*pairs(40), pair("equal", good="Same. ", bad=" Same.")]
    corpus = load(HHRLHFSpec(folder=write(tmp_path, rows)))
    assert reasons(corpus) == {41: entries.NO_PREFERENCE}
    assert corpus.report["kept"].all()
    assert (len(corpus.demonstrations), len(corpus.preferences)) == (41, 40)


@given(chosen=st.text(max_size=60), rejected=st.text(max_size=60), turns=st.booleans())
def test_every_pair_is_kept_whole_or_dropped_with_a_reason(chosen, rejected, turns):
    start = START if turns else ""
    entry = entry_of(chosen=start + chosen, rejected=start + rejected, file="f", line=1)
    assert bool(entry.prompt) == bool(entry.demonstration)
    assert entry.prompt or entry.reason
    if entry.prompt:
        assert "".join((entry.prompt + entry.demonstration).split()) == "".join((start + chosen).split())
        assert entry.prompt.endswith(ASSISTANT)


def test_repeated_prompts_are_draws_of_one_prompt(tmp_path):
    rows = [*pairs(40), pair("question 7", good="Otherwise.")]
    corpus = load(HHRLHFSpec(folder=write(tmp_path, rows)))
    name = entries.prompt_id("\n\nHuman: question 7\n\nAssistant:")
    mine = corpus.demonstrations[corpus.demonstrations["prompt_id"] == name]
    assert list(zip(mine["draw"], mine["text"], strict=True)) == [(0, "Yes, gladly."), (1, "Otherwise.")]
    assert len(corpus.prompts) == 40


def test_ids_and_splits_are_the_same_on_every_machine_and_for_ever():
    assert entries.prompt_id(START) == "31a38d30a594"
    places = np.array([entries.unit_hash(f"{n}", seed=5, use="split") for n in range(6)])
    splits = splits_of(places, validation=0.3, test=0.3)
    assert list(splits) == ["validation", "train", "test", "validation", "train", "train"]


def test_splits_depend_on_prompt_and_seed_alone(tmp_path):
    rows = pairs(200)
    whole = load(HHRLHFSpec(folder=write(tmp_path / "a", rows))).prompts.set_index("prompt_id")["split"]
    back = load(HHRLHFSpec(folder=write(tmp_path / "b", rows[::-1]))).prompts.set_index("prompt_id")["split"]
    part = load(HHRLHFSpec(folder=write(tmp_path / "c", rows[:150]))).prompts.set_index("prompt_id")["split"]
    other = load(HHRLHFSpec(folder=tmp_path / "a", split_seed=1)).prompts.set_index("prompt_id")["split"]
    assert whole.equals(back.loc[whole.index])
    assert whole.loc[part.index].equals(part)
    assert (whole != other).any()
    shares = whole.value_counts(normalize=True)
    assert all(
        abs(shares[split] - share) < 0.07
        for split, share in {"train": 0.8, "validation": 0.1, "test": 0.1}.items()
    )


def test_a_dialogue_and_its_continuations_share_a_split(tmp_path):
    short = pairs(60)
    longer = [pair("and then?", before=row["chosen"]) for row in short]
    corpus = load(HHRLHFSpec(folder=write(tmp_path, short + longer)))
    splits = corpus.prompts.assign(opening=corpus.prompts["text"].map(entries.opening)).groupby("opening")[
        "split"
    ]
    assert (splits.size() == 2).all()
    assert (splits.nunique() == 1).all()


def test_test_files_are_the_test_split_and_nothing_of_them_is_trained_on(tmp_path):
    continued = pair("and then?", before=pair("question 3 tested")["rejected"])
    write(tmp_path, [*pairs(60), pair("question 3 tested"), continued])
    write(tmp_path, pairs(20, " tested"), name="test.jsonl")
    corpus = load(HHRLHFSpec(folder=tmp_path))
    assert reasons(corpus) == {61: entries.IN_TEST_FILE, 62: entries.IN_TEST_FILE}
    tested = corpus.prompts["text"].str.contains("tested")
    assert tested.sum() == 20
    assert set(corpus.prompts.loc[tested, "split"]) == {"test"}
    assert set(corpus.prompts.loc[~tested, "split"]) == {"train", "validation"}


def test_subsets_are_pooled(tmp_path):
    write(tmp_path, pairs(30))
    write(tmp_path, pairs(30, " online"), subset="helpful-online")
    corpus = load(HHRLHFSpec(folder=tmp_path, subsets=("harmless-base", "helpful-online")))
    assert set(corpus.report["file"]) == {"harmless-base/train.jsonl.gz", "helpful-online/train.jsonl.gz"}
    assert len(corpus.prompts) == 60


def test_max_rows_keeps_the_same_rows_in_any_order(tmp_path):
    rows = pairs(200)
    first = load(HHRLHFSpec(folder=write(tmp_path / "a", rows), max_rows=60))
    second = load(HHRLHFSpec(folder=write(tmp_path / "b", rows[::-1]), max_rows=60))
    assert len(first.demonstrations) == 60
    assert set(first.prompts["text"]) == set(second.prompts["text"])
    assert set(first.prompts["split"]) == {"train", "validation", "test"}
    assert list(reasons(first).values()) == [hh_rlhf.BEYOND_MAX_ROWS] * 140


def test_missing_data_say_what_was_expected_and_what_is_there(tmp_path):
    with pytest.raises(DataError, match=r"no folder .*nowhere.*harmless-base/train\.jsonl\.gz.*hub="):
        load(HHRLHFSpec(folder=tmp_path / "nowhere"))
    write(tmp_path, pairs(3))
    with pytest.raises(
        DataError, match=r"no data for helpful-base: .*helpful-base/test\.jsonl\.gz.*holds: harmless-base"
    ):
        load(HHRLHFSpec(folder=tmp_path, subsets=("helpful-base",)))
    with pytest.raises(DataError, match="is it the harmless-base folder"):
        load(HHRLHFSpec(folder=tmp_path / "harmless-base"))
    write(tmp_path, pairs(3), name="train.jsonl")
    with pytest.raises(DataError, match=r"holds both train\.jsonl\.gz and train\.jsonl"):
        load(HHRLHFSpec(folder=tmp_path))


def test_damage_names_file_and_line(tmp_path):
    write(tmp_path, [*pairs(4), '{"chosen": "a"}'])
    with pytest.raises(DataError, match=r"train\.jsonl\.gz: line 5 lacks the key 'rejected'"):
        load(HHRLHFSpec(folder=tmp_path))
    path = tmp_path / "harmless-base" / "train.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"train\.jsonl\.gz: .*after line \d+ .*fetch the file again"):
        load(HHRLHFSpec(folder=tmp_path))


def test_too_little_is_an_error_that_counts(tmp_path):
    write(tmp_path, [pair("one", good=""), pair("two", bad="")])
    with pytest.raises(
        DataError, match=r"no row can be used .*2 lines: 2 dropped, empty response \(.*: 1, 2\)"
    ):
        load(HHRLHFSpec(folder=tmp_path))
    write(tmp_path, pairs(2))
    with pytest.raises(DataError, match=r"2 prompts with demonstrations are too few .*(validation|test) 0"):
        load(HHRLHFSpec(folder=tmp_path))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "either folder= .* or hub="),
        ({"folder": "a", "hub": "a/b"}, "either folder= .* or hub="),
        ({"hub": "../somewhere/else"}, "hub"),
        ({"folder": "a", "subsets": ["harmles-base"]}, "harmless-base"),
        ({"folder": "a", "subsets": ["helpful-base"] * 2}, "twice"),
        ({"folder": "a", "validation": 0.6, "test": 0.4}, "nothing to train on"),
        ({"folder": "a", "max_rows": 0}, "max_rows"),
        ({"folder": "a", "revision": "main"}, "revision"),
        ({"folder": "a", "sede": 1}, "sede"),
    ],
)
def test_specs_refuse_what_makes_no_sense(given, says):
    with pytest.raises(ValidationError, match=says):
        HHRLHFSpec(**given)


def test_an_unreachable_hub_says_what_it_wanted_and_the_way_round(tmp_path):
    code = (
        "from afd_study.worlds.hh_rlhf import *\n"
        "try: load(HHRLHFSpec(hub='Anthropic/hh-rlhf'))\n"
        "except HubError as error: print(error)"
    )
    surroundings = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=surroundings, cwd=tmp_path, capture_output=True, text=True
    )
    assert "Anthropic/hh-rlhf (harmless-base) can't be had from the hub" in done.stdout, done.stderr
    assert "set folder= to a folder that holds harmless-base/train.jsonl.gz" in done.stdout


def test_the_hub_is_asked_as_datasets_wants_to_be_asked(tmp_path, monkeypatch):
    """A folder named like the data set stands in for the hub: `datasets` reads it first."""
    datasets = pytest.importorskip("datasets")
    write(tmp_path / "Anthropic" / "hh-rlhf", [*pairs(60), pair("empty", good="")])
    write(tmp_path / "Anthropic" / "hh-rlhf", pairs(9, " tested"), name="test.jsonl.gz")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    corpus = load(HHRLHFSpec(hub="Anthropic/hh-rlhf"))
    local = load(HHRLHFSpec(folder="Anthropic/hh-rlhf"))
    assert corpus.prompts.equals(local.prompts)
    assert corpus.preferences.equals(local.preferences)
    assert reasons(corpus) == {61: entries.EMPTY_RESPONSE}
    assert set(corpus.report["file"]) == {"harmless-base/train", "harmless-base/test"}


def test_a_data_set_on_the_hub_without_the_columns_is_refused(monkeypatch):
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_dict({"prompt": ["a"], "chosen": ["b"]})
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **named: {"train": rows})
    with pytest.raises(DataError, match=r"lacks \['rejected'\]; it has \['prompt', 'chosen'\]"):
        load(HHRLHFSpec(hub="some/body"))


def test_a_folder_never_asks_the_hub(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **named: pytest.fail("asked the hub"))
    load(HHRLHFSpec(folder=write(tmp_path, pairs(60))))
    with pytest.raises(HubError):
        monkeypatch.setattr(datasets, "load_dataset", lambda *args, **named: 1 / 0)
        load(HHRLHFSpec(hub="some/body"))


@pytest.mark.skipif(
    not (HH_RLHF / "harmless-base" / "test.jsonl.gz").is_file(),
    reason="no HH-RLHF: set AFD_HH_RLHF to a folder with harmless-base/test.jsonl.gz",
)
def test_the_published_file():
    spec = HHRLHFSpec(folder=HH_RLHF)
    if [path.name for path in hh_rlhf.files(spec)] != ["test.jsonl.gz"]:
        pytest.skip("counts are of the test file alone; this folder holds more")
    corpus = load(spec)
    counts = {(row.kept, row.reason): row.rows for row in corpus.describe().itertuples()}
    assert counts == {
        (True, ""): 2303,
        (False, hh_rlhf.OTHER_PROMPT): 5,
        (False, entries.EMPTY_RESPONSE): 4,
    }
    assert len(corpus.demonstrations) == len(corpus.preferences) == 2303
    assert len(corpus.prompts) == 2301
    assert reasons(corpus)[87] == entries.EMPTY_RESPONSE
    assert not corpus.demonstrations["text"].str.contains("\n\n(?:Human|Assistant):").any()
    assert not any(
        "\n\nAssistant:" in text.removesuffix("\n\nAssistant:")[-12:] for text in corpus.prompts["text"]
    )


def test_demonstrations_of_a_file_stand_in_for_the_chosen_responses(tmp_path):
    """Such as a stronger model's, to training and test prompts; the preferences stay as people gave them."""
    write(tmp_path, [*pairs(40), pair("more", before="\n\nHuman: first\n\nAssistant: yes")])
    write(tmp_path, pairs(5, " of a test"), name="test.jsonl")
    prompts = [each["chosen"].rpartition(ASSISTANT)[0] + ASSISTANT for each in pairs(40)]
    prompts += ["\n\nHuman: first\n\nAssistant: yes\n\nHuman: more\n\nAssistant:"]
    rows = [(prompt, f"shown {number}") for number, prompt in enumerate(prompts)]
    rows += [(f"question {number} of a test", "shown for testing") for number in range(5)]  # not laid out
    rows += [("a question that nobody asked", "shown in vain"), (prompts[0], "shown twice")]
    answers = tmp_path / "shown.csv"
    with answers.open("w", newline="") as file:
        csv.writer(file).writerows([("query", "answer"), *rows])
    spec = HHRLHFSpec(
        folder=tmp_path, demonstrations=answers, prompt_column="query", response_column="answer"
    )
    corpus, plain = load(spec), load(HHRLHFSpec(folder=tmp_path))
    text = corpus.prompts.set_index("prompt_id")["text"]
    pairs_of_texts = zip(
        corpus.demonstrations["prompt_id"].map(text), corpus.demonstrations["text"], strict=True
    )
    laid = {f"\n\nHuman: {rows[i][0]}\n\nAssistant:": rows[i][1] for i in range(41, 46)}
    expected = {*rows[:41], *laid.items(), (prompts[0], "shown twice")}
    assert set(pairs_of_texts) == expected and len(corpus.demonstrations) == len(expected)
    split = corpus.prompts.set_index("prompt_id")["split"]
    tested = corpus.demonstrations["prompt_id"].map(split) == "test"
    assert set(corpus.demonstrations.loc[tested, "text"]) == {"shown for testing"}
    assert list(corpus.preferences["preferred"]) == list(plain.preferences["preferred"])
    assert hh_rlhf.UNKNOWN_PROMPT in set(corpus.report["reason"])
    assert answers in hh_rlhf.files(spec)
