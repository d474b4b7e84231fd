"""Sources by name: files, NAME=FILE, roles, and a file of preferences as two."""

from pathlib import Path

import pytest
from example_files import source, write

from afd_study.align.sources import name_and_path, read_sources
from afd_study.errors import SpecError

PAIRS = [{"prompt": f"q {n}", "preferred": f"a {n}", "rejected": f"b {n}"} for n in range(9)]


@pytest.fixture
def files(tmp_path):
    return {name: source(tmp_path / f"{name}.jsonl", [f"{name} {n}." for n in range(9)]) for name in "abc"}


def test_names_are_stems_or_given(files):
    sources = read_sources([str(files["a"]), f"mine={files['b']}"])
    assert list(sources.dialogues) == ["a", "mine"] and sources.dialogues["mine"][0].response == "b 0."
    assert sources.lines[1] == "mine: b.jsonl: 9 examples, layout prompt_response"


def test_a_path_may_hold_an_equals_sign(tmp_path):
    path = source(tmp_path / "x=1.jsonl", ["a", "b"])
    assert name_and_path(str(path)) == ("x=1", path)
    assert name_and_path(f"y={path}") == ("y", path)
    assert name_and_path("~/a.json.gz")[1] == Path.home() / "a.json.gz"
    for word in ("=a.jsonl", "a="):
        with pytest.raises(SpecError, match="names no source"):
            name_and_path(word)


def test_roles_come_first_and_go_together(files):
    roles = dict(zip(("Init", "SFT", "Demo"), files.values(), strict=True))
    further = read_sources([f"more={files['a']}"], roles=roles)
    assert list(further.dialogues) == ["Init", "SFT", "Demo", "more"]
    with pytest.raises(SpecError, match="--sft and --demo lacks: Init, SFT and Demo go together"):
        read_sources([], roles={"Init": files["a"], "SFT": None, "Demo": None})


def test_a_file_of_preferences_alone_is_two_sources(tmp_path, files):
    path = write(tmp_path / "p.jsonl", PAIRS)
    sources = read_sources([str(path)]).dialogues
    assert [each.response for each in sources["p preferred"]] == [f"a {n}" for n in range(9)]
    assert [each.response for each in sources["p rejected"]] == [f"b {n}" for n in range(9)]
    assert sources["p preferred"][3].prompt == sources["p rejected"][3].prompt
    both = read_sources([str(path), str(files["a"])])
    assert list(both.dialogues) == ["p", "a"] and "(the preferred responses)" in both.lines[0]


def test_repeats_are_part_of_a_source(tmp_path, files):
    path = source(tmp_path / "r.jsonl", ["same"] * 9, prompts=["q"] * 9)
    assert len(read_sources([str(path), str(files["a"])]).dialogues["r"]) == 9


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "no source was named"),
        (["a"], "is one source.*chosen, rejected"),
        (["a", "a"], "called 'a': name them"),
    ],
)
def test_what_is_no_pair_of_sources_is_refused(files, words, says):
    with pytest.raises(SpecError, match=says):
        read_sources([str(files[word]) for word in words])
