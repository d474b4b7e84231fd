"""AlpacaEval as a world: one system demonstrates, GPT-4's verdicts of the others are preferences."""

import json

import pytest
from alpaca_folders import WORDS, record, write_system
from pydantic import ValidationError

from afd_study.errors import DataError, SpecError
from afd_study.worlds import alpaca_eval_corpus as world, entries
from afd_study.worlds.alpaca_eval import REFERENCE, load_answers
from afd_study.worlds.alpaca_eval_corpus import AlpacaEvalCorpusSpec, files, load, named, remarks
from afd_study.worlds.own_data import HALF_LAID_OUT
from afd_study.worlds.reading import digest

SYSTEMS = ("gpt4", "alpha", "beta", "delta", "gamma", "zeta")
N = 80


def verdict(system, number):
    """From 1 to 2 by quarters, whatever the order of systems."""
    return 1 + (sum(map(ord, system)) * (number + 3) % 5) / 4


def rows_of(system, n_prompts=N):
    words = " ".join(WORDS[: 2 + len(system)])
    return [record(n, f"{system} {n} {words}", verdict(system, n)) for n in range(n_prompts)]


def write(folder, systems=SYSTEMS):
    for name in systems:
        write_system(folder, name, rows_of(name))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("alpaca-eval"))


def read(folder, **settings):
    return load(AlpacaEvalCorpusSpec(folder=folder, **{"validation": 0.2, "test": 0.2, **settings}))


def authors(corpus):
    """(preferred, rejected) of each pair by the first words of its texts."""
    sides = (corpus.preferences[side].str.split().str[0] for side in ("preferred", "rejected"))
    return list(zip(*sides, strict=True))


def reasons(corpus):
    rows = corpus.report.query("reason != ''")
    return list(rows[["file", "line", "reason"]].itertuples(index=False, name=None))


def test_one_system_demonstrates(folder):
    corpus = read(folder, demonstrator="beta")
    assert len(corpus.prompts) == len(corpus.demonstrations) == N
    texts = corpus.prompts.merge(corpus.demonstrations, on="prompt_id", suffixes=("", "_answer"))
    for asked, answer in zip(texts["text"], texts["text_answer"], strict=True):
        number = answer.split()[1]
        assert answer.startswith("beta ") and asked == f"\n\nHuman: Question number {number}?\n\nAssistant:"
    assert set(corpus.demonstrations["draw"]) == {0}


def test_the_reference_can_demonstrate_and_has_no_folder(folder):
    corpus = read(folder, demonstrator=REFERENCE)
    assert corpus.demonstrations["text"].str.startswith("The reference answers").all()
    assert {name for pair in authors(corpus) for name in pair} == set(SYSTEMS)


def test_no_pair_holds_the_demonstrator_or_what_is_left_out(folder):
    whole = {name for pair in authors(read(folder, pairs_per_prompt=20)) for name in pair}
    assert whole == set(SYSTEMS) - {"gpt4"}
    fewer = read(folder, pairs_per_prompt=20, demonstrator="alpha", leave_out=("gpt4", "zeta"))
    assert {name for pair in authors(fewer) for name in pair} == {"beta", "delta", "gamma"}
    only = read(folder, pairs_per_prompt=20, systems=("alpha", "beta", "gpt4"))
    assert {name for pair in authors(only) for name in pair} == {"alpha", "beta"}
    assert only.demonstrations["text"].str.startswith("gpt4 ").all()


def test_the_preferred_answer_has_half_a_point_more(folder):
    corpus = read(folder, pairs_per_prompt=100)
    values = load_answers(AlpacaEvalCorpusSpec(folder=folder)).verdicts
    values = values.set_index(["prompt_id", "system"])["value"]
    pairs = [
        (prompt, *pair) for prompt, pair in zip(corpus.preferences["prompt_id"], authors(corpus), strict=True)
    ]
    gaps = [values[prompt, better] - values[prompt, worse] for prompt, better, worse in pairs]
    assert min(gaps) == 0.5 and len(set(pairs)) == len(pairs)
    wide = [
        (prompt, one, other)
        for prompt in corpus.prompts["prompt_id"]
        for one in SYSTEMS[1:]
        for other in SYSTEMS[1:]
        if values[prompt, one] - values[prompt, other] >= 0.5
    ]
    assert set(wide) == set(pairs)


def test_a_bounded_number_of_pairs_is_chosen_by_hash(folder):
    def pairs(**settings):
        corpus = read(folder, **settings)
        return set(zip(corpus.preferences["prompt_id"], authors(corpus), strict=True)), corpus

    (two, corpus), (three, _), (other, _) = (
        pairs(pairs_per_prompt=2),
        pairs(pairs_per_prompt=3),
        pairs(pairs_per_prompt=2, pair_seed=1),
    )
    assert set(corpus.preferences.groupby("prompt_id").size()) == {2}
    assert set(corpus.preferences["draw"]) == {0, 1}
    assert two < three and len(two - other) > N / 4
    assert two == pairs(pairs_per_prompt=2)[0]


def test_who_wrote_a_pair_stands_in_the_report(folder):
    corpus = read(folder)
    pairs = corpus.report[corpus.report["file"].str.contains(" over ")]
    assert [tuple(name.split(" over ")) for name in pairs["file"]] == authors(corpus)
    numbers = corpus.preferences["preferred"].str.split().str[1].astype(int)
    assert pairs["line"].tolist() == (numbers + 1).tolist()
    assert (corpus.rows.loc[pairs.index, "prompt_id"] == corpus.preferences["prompt_id"].to_numpy()).all()


def test_splits_are_by_prompt_whoever_demonstrates(folder):
    corpus, other = read(folder), read(folder, demonstrator="alpha", pairs_per_prompt=1)
    for each in (corpus, other):
        assert not each.prompts["prompt_id"].duplicated().any()
        assert set(each.prompts["split"]) == {"train", "validation", "test"}
        assert (each.rows.groupby("prompt_id")["split"].nunique() == 1).all()
    splits = [each.prompts.set_index("prompt_id")["split"] for each in (corpus, other)]
    assert splits[0].equals(splits[1].loc[splits[0].index])
    assert not splits[0].equals(read(folder, split_seed=1).prompts.set_index("prompt_id")["split"])


def test_the_order_of_folders_does_not_matter(folder, tmp_path):
    """Nor that of a file's records, but for their numbers."""
    for name in reversed(SYSTEMS):
        write_system(tmp_path, name, rows_of(name)[::-1])
    one, other = read(folder), read(tmp_path)
    for table in ("prompts", "demonstrations", "preferences"):
        assert getattr(one, table).equals(getattr(other, table)), table
    assert one.report["file"].equals(other.report["file"])


def test_a_further_system_displaces_pairs_by_its_own_alone(folder, tmp_path):
    more = read(write(tmp_path, (*SYSTEMS, "newer")), pairs_per_prompt=3)
    pairs = zip(more.preferences["prompt_id"], authors(more), strict=True)
    kept = [(prompt, pair) for prompt, pair in pairs if "newer" not in pair]
    before = read(folder, pairs_per_prompt=3)
    assert set(kept) < set(zip(before.preferences["prompt_id"], authors(before), strict=True))


def test_what_gives_nothing_is_reported(tmp_path):
    rows = {name: rows_of(name) for name in SYSTEMS}
    rows["gpt4"][4]["output_2"] = " \n"
    del rows["gpt4"][11]
    rows["alpha"][5]["output_2"] = "An answer.\n\nHuman: and a further turn"
    rows["beta"][6]["preference"] = None
    rows["beta"][8]["output_1"] = "Another reference's answer."
    for system in SYSTEMS:
        rows[system].append(
            record(90, f"{system} 90", instruction="Hello\n\nHuman: again", output_1="Who are you?")
        )
        rows[system] += [
            record(n, f"{system} {n}", verdict(system, n), instruction=text, output_1="So.")
            for n, text in ((91, "Twice?"), (92, "Twice? "))
        ]
        write_system(tmp_path, system, rows[system])
    corpus = read(tmp_path)
    assert sorted(reasons(corpus)) == sorted(
        [
            ("gpt4", 5, entries.EMPTY_RESPONSE),
            ("gpt4", 12, world.NOT_DEMONSTRATED),  # numbered in another system's file
            ("alpha", 6, entries.FURTHER_TURN),
            ("beta", 7, world.NO_VERDICT),
            ("beta", 9, world.NO_VERDICT),
            ("gpt4", 80, HALF_LAID_OUT),
            *[("gpt4", number, world.SAME_PROMPT) for number in (81, 81)],
            *[row for row in reasons(corpus) if row[2] == entries.NO_DEMONSTRATION],
        ]
    )
    undemonstrated = set(corpus.prompts["prompt_id"]) - set(corpus.demonstrations["prompt_id"])
    assert len(corpus.prompts) == N and len(undemonstrated) == 2


def test_equal_answers_make_no_pair(tmp_path):
    for name, value in (("gpt4", 1), ("alpha", 2), ("beta", 1), ("gamma", 1)):
        rows = [record(n, f"{name} {n}", value) for n in range(N)]
        if name in ("alpha", "beta"):
            rows = [row | {"output_2": "The same. "} if n % 2 else row for n, row in enumerate(rows)]
        write_system(tmp_path, name, rows)
    pairs = read(tmp_path).preferences
    assert (pairs["preferred"] != pairs["rejected"]).all() and len(pairs) == N + N / 2


def test_one_source_of_prompts_can_be_read_alone(folder):
    corpus = read(folder, datasets=("helpful_base",), validation=0.3, test=0.3)
    assert len(corpus.prompts) == N / 4
    with pytest.raises(SpecError, match="did you mean 'helpful_base'"):
        read(folder, datasets=("helpfull_base",))


def test_without_texts_there_are_still_counts(folder):
    corpus = load(AlpacaEvalCorpusSpec(folder=folder, validation=0.2, test=0.2), keep_texts=False)
    assert corpus.rows["demonstrated"].sum() == N and corpus.line().startswith(
        f"{len(corpus.rows)} rows kept"
    )
    assert corpus.rows["answer_length"].max() > 0


def test_files_and_names_are_what_is_read(folder, tmp_path):
    spec = AlpacaEvalCorpusSpec(folder=folder, leave_out=("alpha",))
    assert [path.parts[-3] for path in files(spec)] == ["beta", "delta", "gamma", "gpt4", "zeta"]
    assert named(spec).systems == ("beta", "delta", "gamma", "zeta") and named(named(spec)) == named(spec)
    assert files(named(spec)) == files(spec)
    assert named(AlpacaEvalCorpusSpec(folder=folder, systems=named(spec).systems)) == named(spec)
    write(tmp_path)
    moved = AlpacaEvalCorpusSpec(folder=tmp_path)
    before = digest(files(moved)), named(moved).systems
    (tmp_path / "results" / "zeta").rename(tmp_path / "results" / "zoe")
    assert digest(files(moved)) == before[0] and named(moved).systems != before[1]


def test_what_is_said_has_the_terms_and_who_is_left_out():
    said = remarks(AlpacaEvalCorpusSpec(folder="a", leave_out=("b", "c")))
    assert said.startswith("gpt4 demonstrates") and "left out: b, c;" in said and "CC BY-NC 4.0" in said
    assert "left out" not in remarks(AlpacaEvalCorpusSpec(folder="a"))


UNKNOWN = {
    "a system": ({"systems": ("betta",)}, "unknown system of .*'betta': did you mean 'beta'"),
    "one left out": ({"leave_out": ("gama",)}, "unknown system of .*'gama': did you mean 'gamma'"),
    "a demonstrator": ({"demonstrator": "gpt5"}, "unknown demonstrator of .*'gpt5': did you mean 'gpt4'"),
    "the reference": ({"demonstrator": "text_davinci_03"}, "did you mean 'text_davinci_003'"),
}


@pytest.mark.parametrize(("settings", "says"), UNKNOWN.values(), ids=UNKNOWN)
def test_a_system_that_is_not_there_is_named_with_the_nearest(folder, settings, says):
    spec = AlpacaEvalCorpusSpec(folder=folder, **settings)
    for act in (load, files, named):
        with pytest.raises(SpecError, match=says):
            act(spec)
    assert read(folder, leave_out=(REFERENCE,)).rows["compared"].any()  # it is compared with nobody


def test_what_is_no_such_folder_is_named(folder, tmp_path):
    for path, words in ((tmp_path / "nowhere", "no folder"), (folder / "results", "the systems themselves")):
        for act in (load, files):
            with pytest.raises(DataError, match=words):
                act(AlpacaEvalCorpusSpec(folder=path))


def test_a_demonstrator_without_answers_is_named(tmp_path):
    write(tmp_path)
    write_system(tmp_path, "newer", rows_of("newer"), annotator="weighted_alpaca_eval_gpt4_turbo")
    with pytest.raises(DataError, match="results/newer holds no alpaca_eval_gpt4/annotations.json"):
        read(tmp_path, demonstrator="newer")
    write_system(tmp_path, "mute", [row | {"output_2": ""} for row in rows_of("mute")])
    with pytest.raises(DataError, match="mute has no answer to these prompts that can be used"):
        read(tmp_path, demonstrator="mute")


def test_no_two_verdicts_half_a_point_apart(tmp_path):
    for place, name in enumerate(("gpt4", "alpha", "beta")):
        write_system(tmp_path, name, [record(n, f"{name} {n}", 1.2 + 0.4 * place) for n in range(N)])
    with pytest.raises(
        DataError, match="no two of 2 systems .*demonstrator gpt4.*half a point on one prompt"
    ):
        read(tmp_path)
    assert len(read(tmp_path, demonstrator="alpha").preferences) == N
    with pytest.raises(DataError, match="no two of 0 systems"):
        read(tmp_path, systems=())


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"demonstrator": "a", "leave_out": ("b", "a")}, "the demonstrator 'a' stands in leave_out"),
        ({"pairs_per_prompt": 0}, "pairs_per_prompt"),
        ({"demonstrator": ""}, "demonstrator"),
        ({"validation": 0.5, "test": 0.5}, "nothing to train on"),
    ],
)
def test_specs_refuse_what_makes_no_sense(settings, says):
    with pytest.raises(ValidationError, match=says):
        AlpacaEvalCorpusSpec(folder="a", **settings)


def test_a_folders_name_that_is_no_unicode_is_named(tmp_path):
    write(tmp_path)
    try:
        (tmp_path / "results" / "beta").rename(tmp_path / "results" / "b\udcff")
    except (OSError, UnicodeError):
        pytest.skip("this file system takes no such name")
    with pytest.raises(DataError, match="is not valid Unicode: rename it"):
        read(tmp_path)


def test_the_published_answers(alpaca_eval):
    """Counts of the copy beside the project: 805 prompts, 40 systems."""
    relatives = ("gpt4_0314", "gpt4_1106_preview")
    corpus = load(AlpacaEvalCorpusSpec(folder=alpaca_eval, leave_out=relatives))
    assert len(corpus.prompts) == len(corpus.demonstrations) == 805
    counts = corpus.report["reason"].value_counts()
    assert counts[world.NO_VERDICT] == 833 and counts[entries.EMPTY_RESPONSE] == 9
    assert counts[entries.FURTHER_TURN] == 3
    per_prompt = corpus.preferences.groupby("prompt_id").size()
    assert per_prompt.max() == 4 and len(per_prompt) == 793 and len(corpus.preferences) == 3172
    names = set(corpus.report["file"].str.split(" over ").explode())
    assert len(names) == 38 and not names & set(relatives)
    longer = corpus.preferences["preferred"].str.len() > corpus.preferences["rejected"].str.len()
    assert 0.75 < longer.mean() < 0.85
    raw = json.loads((alpaca_eval / "results/gpt4/alpaca_eval_gpt4/annotations.json").read_text())
    first = corpus.report.query("file == 'gpt4'").iloc[0]
    assert corpus.demonstrations["text"].iloc[0] == raw[first["line"] - 1]["output_2"].strip()
