"""Rows that can't be used, and data sets with too few that can; each beside a look-alike that has to pass."""

import csv
import json
import os
import sys

import numpy as np
import pandas as pd
import pytest
from bad_files import ROWS

from afd_study.errors import AfdError
from afd_study.study.spec import load_spec
from afd_study.study.steps.best_of_n import answered
from afd_study.study.steps.texts import corpus
from afd_study.study.workflow.context import Context
from afd_study.study.workflow.tables import read_table
from afd_study.worlds import entries, own_data, reading
from afd_study.worlds.hh_rlhf import NO_TURN, OTHER_PROMPT, HHRLHFSpec, load as load_dialogues
from afd_study.worlds.own_data import HALF_LAID_OUT, OwnDataSpec, load

TURN = "\n\nHuman: more?"
# a row of demonstrations, why it is dropped, and a row that looks like it and is kept
ROWS_OF = {
    "an empty response": ("a", "", entries.EMPTY_RESPONSE, ("a", "-")),
    "spaces": ("a", " \n\t", entries.EMPTY_RESPONSE, ("a", " . ")),
    "zero width": ("a", "\u200b", entries.EMPTY_RESPONSE, ("a", "x\u200by")),
    "a word joiner": ("a", "\u2060\ufeff", entries.EMPTY_RESPONSE, ("a", "👩\u200d👧")),
    "NUL": ("a", "\x00", entries.EMPTY_RESPONSE, ("a", "\x00b")),
    "blank letters": ("a", "\u3164\u2800", entries.EMPTY_RESPONSE, ("a", "ㄱ")),
    "soft hyphens": ("a", "\u00ad", entries.EMPTY_RESPONSE, ("a", "-\u00ad")),
    "an empty prompt": ("", "b", entries.EMPTY_PROMPT, ("?", "b")),
    "an invisible prompt": ("\u200b", "b", entries.EMPTY_PROMPT, ("\u200bWhy?", "b")),
    "a prompt of turns alone": (
        "\n\nHuman:\n\nAssistant:",
        "b",
        entries.EMPTY_PROMPT,
        ("Human: a\n\nAssistant:", "b"),
    ),
    "an invisible question": (
        "Human: \u200b\n\nAssistant:",
        "b",
        entries.EMPTY_PROMPT,
        ("Human: \u200ba\n\nAssistant:", "b"),
    ),
    "a further turn": ("a", f"b{TURN}", entries.FURTHER_TURN, ("a", "b\nHuman: more?")),
    "a leading turn": ("a", TURN, entries.FURTHER_TURN, ("a", TURN.strip())),
    "a leading answer": ("a", "\n\nAssistant: b", entries.FURTHER_TURN, ("a", "\n\nAssistants: b")),
    "a turn with CRLF": ("a", "b\r\n\r\nHuman: c", entries.FURTHER_TURN, ("a", "b\r\n\r\nc")),
    "a turn with carriage returns": ("a", "b\r\rHuman: c", entries.FURTHER_TURN, ("a", "b\rHuman: c")),
    "a turn that hides": ("a", "b\n\n\u200bHuman: c", entries.FURTHER_TURN, ("a", "b\n\n\u200bHumans: c")),
    "a turn that hides within": ("a", "b\n\nHu\u2060man: c", entries.FURTHER_TURN, ("a", "b Hu\u2060man: c")),
    "half a pair": ("a", "\ud83d", entries.NOT_TEXT, ("a", "\ud83d\ude00")),
    "half a pair in a prompt": ("\ude00", "a", entries.NOT_TEXT, ("😀", "a")),
    "an answered prompt": ("Human: a\n\nAssistant: b", "c", HALF_LAID_OUT, ("Human: a\n\nAssistant:", "c")),
    "a prompt with CRLF": (
        "Human: a\r\n\r\nAssistant: b",
        "c",
        HALF_LAID_OUT,
        ("Human: a\r\n\r\nAssistant:", "c"),
    ),
    "a prompt with a turn": (f"a{TURN}", "b", HALF_LAID_OUT, ("a\nHuman: more?", "b")),
    "a prompt with a mark": ("\ufeffHuman: a", "b", HALF_LAID_OUT, ("\ufeffHuman: a\n\nAssistant:", "b")),
}
FORMATS = ("jsonl", "csv")


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, rows[0])
            table.writeheader()
            table.writerows(rows)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("title", ROWS_OF)
def test_a_row_that_cant_be_used_is_dropped_with_its_reason(tmp_path, title, format):
    prompt, response, reason, fine = ROWS_OF[title]
    if format == "csv" and reason == entries.NOT_TEXT:
        return  # UTF-8 holds no half pairs
    rows = [
        *ROWS,
        {"prompt": prompt, "response": response},
        dict(zip(("prompt", "response"), fine, strict=True)),
    ]
    report = load(OwnDataSpec(demonstrations=write(tmp_path / f"d.{format}", rows))).report
    assert report["reason"].tolist()[-2:] == [reason, ""] and report["kept"].tolist()[-2:] == [False, True]


START = "\n\nHuman: why?\n\nAssistant:"
PAIRS = [
    {"chosen": START.replace("why", str(n)) + " a", "rejected": START.replace("why", str(n)) + " b"}
    for n in range(60)
]
DIALOGUES = {
    "no turn": ("why? a", "why? b", NO_TURN, "\r\n\r\nHuman: why?\r\n\r\nAssistant: a"),
    "another prompt": (f"{START} a", f"{START.replace('why', 'how')} b", OTHER_PROMPT, f"{START} c"),
    "an empty turn": (f"{START}{TURN}", f"{START} b", entries.FURTHER_TURN, f"{START}Human: more?"),
    "an empty turn with CRLF": (
        f"{START}\r\n\r\nHuman: c",
        f"{START} b",
        entries.FURTHER_TURN,
        f"{START}\r\n a",
    ),
    "an invisible answer": (f"{START} \u200b", f"{START} b", entries.EMPTY_RESPONSE, f"{START} \u200b."),
    "an invisible question": (START.replace("why?", "\u200b") + " a",) * 2
    + (entries.EMPTY_PROMPT, f"{START} \u200ba"),
}  # each with a chosen dialogue that is kept


@pytest.mark.parametrize("side", ["as it is", "turned"])
@pytest.mark.parametrize("title", DIALOGUES)
def test_a_pair_that_cant_be_used_is_dropped_with_its_reason(tmp_path, title, side):
    chosen, rejected, reason, fine = DIALOGUES[title]
    sides = (chosen, rejected) if side == "as it is" else (rejected, chosen)
    rows = [
        *PAIRS,
        dict(zip(("chosen", "rejected"), sides, strict=True)),
        {"chosen": fine, "rejected": f"{START} b"},
    ]
    write(tmp_path / "harmless-base" / "train.jsonl", rows)
    report = load_dialogues(HHRLHFSpec(folder=tmp_path)).report
    assert report["reason"].tolist()[-2:] == [reason, ""]


def preferences(folder, usable, empty=0):
    rows = [{"prompt": row["prompt"], "preferred": "yes", "rejected": "no"} for row in ROWS[:usable]]
    rows += [{"prompt": "a", "preferred": "yes", "rejected": ""}] * empty
    return write(folder / "p.jsonl", rows)


def run_step(folder, spec):
    out = folder / "out"
    out.mkdir(exist_ok=True)
    files = {name: str(value) for name, value in dict(spec.world).items() if isinstance(value, os.PathLike)}
    world = spec.world.model_dump(mode="json", exclude=set(files))
    corpus(out, Context(out), world=world, digest="", judge_share=spec.judge_share, files=files)
    return out


def own_study(folder, demonstrations=ROWS, **files):
    places = {f"world.{name}": path for name, path in files.items()}
    shown = {"world.demonstrations": write(folder / "d.jsonl", demonstrations), "judge_share": 0.3}
    return load_spec("own_data", "smoke", {**shown, "world.validation": 0.3, "world.test": 0.2, **places})


def test_no_usable_preference_stops_where_texts_are_read(tmp_path):
    with pytest.raises(AfdError, match=r"p\.jsonl: no row can be used as a preference.*40 dropped, empty"):
        run_step(tmp_path, own_study(tmp_path, preferences=preferences(tmp_path, 0, empty=40)))
    with pytest.raises(
        AfdError, match=r"part of the prompts.*too few with preferences: train \d, validation 0"
    ):
        run_step(tmp_path, own_study(tmp_path, preferences=preferences(tmp_path, 1)))
    assert len(
        read_table(
            run_step(tmp_path, own_study(tmp_path, preferences=preferences(tmp_path, 60))), "preferences"
        )
    )


def test_pairs_that_prefer_nothing_stop_too(tmp_path):
    equal = [{"chosen": pair["chosen"], "rejected": pair["chosen"]} for pair in PAIRS]
    write(tmp_path / "harmless-base" / "train.jsonl", equal)
    with pytest.raises(AfdError, match="no row can be used as a preference.*60 kept, no preference"):
        load_dialogues(HHRLHFSpec(folder=tmp_path))
    write(tmp_path / "harmless-base" / "train.jsonl", [*equal[1:], PAIRS[0]])
    assert len(load_dialogues(HHRLHFSpec(folder=tmp_path)).preferences) == 1


def test_a_split_without_demonstrations_in_the_policys_part_stops(tmp_path):
    few = own_study(tmp_path, ROWS[:14])
    with pytest.raises(AfdError, match="policy's part .*too few with demonstrations: train .*judge_share"):
        run_step(tmp_path, few.model_copy(update={"judge_share": 0.9}))
    run_step(tmp_path, few.model_copy(update={"judge_share": 0.0}))


def test_prompts_without_a_demonstration_are_counted(tmp_path, capsys):
    further = write(tmp_path / "f.jsonl", [{"prompt": f"Another, {n}?"} for n in range(40)])
    report = read_table(run_step(tmp_path, own_study(tmp_path, prompts=further)), "report")
    n = int((report["reason"] == entries.NO_DEMONSTRATION).sum())
    assert 0 < n < 40 and report["kept"].all()
    assert capsys.readouterr().err == (
        f"own_data: 100 rows kept ({entries.NO_DEMONSTRATION} {n}), 0 dropped\n"
    )


def test_what_two_sources_answer_is_compared():
    scores = pd.DataFrame(
        {"prompt_id": [*"abcab"], "source": ["x"] * 3 + ["y"] * 2, "reward": np.arange(5.0)}
    )
    assert answered(scores, "x", "y")["prompt_id"].tolist() == [*"abab"]
    assert answered(scores, "x").equals(scores)


@pytest.mark.parametrize(("bad", "share"), [(61, 0.5), (600, 0.9), (7, 0.1)])
def test_many_dropped_rows_are_refused(tmp_path, bad, share):
    rows = [*ROWS, *[{"prompt": "a", "response": ""}] * bad]
    path = write(tmp_path / "d.jsonl", rows)
    with pytest.raises(
        AfdError, match=rf"d\.jsonl: \d+% of the rows can't be used, more than world.max_dropped={share:g}"
    ):
        load(OwnDataSpec(demonstrations=path, max_dropped=share))
    assert len(load(OwnDataSpec(demonstrations=path, max_dropped=0.95)).demonstrations) == 60


def test_dropped_rows_are_a_line_on_stderr(tmp_path, capsys):
    rows = [
        *ROWS,
        {"prompt": "a", "response": ""},
        {"prompt": "", "response": "a"},
        {"prompt": "b", "response": ""},
    ]
    run_step(tmp_path, own_study(tmp_path, rows))
    assert capsys.readouterr().err == "own_data: 60 rows kept, 3 dropped (empty response 2, empty prompt 1)\n"


@pytest.mark.parametrize("name", ["pipe.jsonl", "pipe.csv"])
def test_a_pipe_or_a_device_is_refused(tmp_path, name):
    os.mkfifo(tmp_path / name)
    for read in (lambda path: load(OwnDataSpec(demonstrations=path)), lambda path: reading.digest([path])):
        with pytest.raises(AfdError, match=rf"{name} is a pipe, not a file"):
            read(tmp_path / name)
    (tmp_path / f"zero.{name}").symlink_to("/dev/zero")
    with pytest.raises(AfdError, match="is a device, not a file"):
        load(OwnDataSpec(demonstrations=tmp_path / f"zero.{name}"))
    (tmp_path / f"link.{name}").symlink_to(write(tmp_path / f"d.{name}", ROWS))
    assert len(load(OwnDataSpec(demonstrations=tmp_path / f"link.{name}")).demonstrations) == 60


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_name_that_is_no_utf8_is_read(tmp_path):
    path = write(tmp_path / os.fsdecode(b"caf\xe9.jsonl"), ROWS)
    loaded = load(OwnDataSpec(demonstrations=path))
    assert "caf\\udce9.jsonl" in loaded.report["file"].iloc[0] and len(reading.digest([path])) == 16
    with pytest.raises(AfdError, match="can't be read: Is a directory"):
        (tmp_path / "d.jsonl").mkdir()
        load(OwnDataSpec(demonstrations=tmp_path / "d.jsonl"))
    with pytest.raises(AfdError, match="can't be read: File name too long"):
        reading.digest([tmp_path / ("a" * 300 + ".jsonl")])


def test_a_home_is_put_in_once(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "d.jsonl", ROWS)
    spec = OwnDataSpec(demonstrations="~/d.jsonl")
    assert own_data.files(spec) == [tmp_path / "d.jsonl"] and len(load(spec).demonstrations) == 60
    write(tmp_path / "harmless-base" / "train.jsonl", PAIRS)
    assert len(load_dialogues(HHRLHFSpec(folder="~", demonstrations=None)).preferences) == 60
