"""What the page on real systems reads from its frozen aggregates."""

import pytest

from afd_study.errors import SpecError
from afd_study.evaluation.systems.triples import STATES, WORDS, load_triples, lowest_losses
from afd_study.study.chapters import systems
from afd_study.study.frozen.files import read_frozen, read_manifest

JUDGED, EXPLORED = len(load_triples().judged), len(load_triples().exploration)


@pytest.mark.parametrize("prompts", load_triples().prompts)
def test_every_triple_has_its_four_scores(prompts):
    table = systems.correlations(prompts)
    assert table["triple"].nunique() == JUDGED + EXPLORED and len(table) == 4 * table["triple"].nunique()
    assert table["value"].between(-1, 1).all() and (table["low"] <= table["high"]).all()
    assert table.drop_duplicates("triple")["explored"].sum() == EXPLORED


def test_verdicts_are_of_every_contrast_on_both_choices_of_prompts():
    rows = systems.verdict_rows()
    triples = load_triples()
    own = {name for name, each in triples.contrasts.items() if each.less != "likelihood_per_token"}
    words = rows[rows["reader"] == WORDS]
    assert set(words["id"]) == own and len(words) == len(own) * len(triples.prompts)
    for reader in set(systems.readers()) - {WORDS}:
        assert set(rows.loc[rows["reader"] == reader, "id"]) == set(triples.contrasts)
    assert set(rows["n_triples"]) == {JUDGED} and set(rows["n_worlds"]) == {5}
    assert words["primary"].sum() == len(own)


def test_a_longest_answer_is_told_apart_by_length_alone():
    table = systems.apart()
    assert len(table) == JUDGED + EXPLORED
    values = table.drop(columns=["triple", "explored"]).to_numpy(dtype=float)
    assert ((values >= 0) & (values <= 1)).all()


def test_picks_stand_beside_rules_that_know_the_system_alone():
    table = systems.picks()
    assert (table["best system"] > table["random"]).all()


def test_one_policys_pair_and_the_judge():
    within = systems.within_policy()
    gain = within[within["method"] == "pairrm"].iloc[0]
    assert gain["low"] < gain["value"] < gain["high"]
    judge = systems.judge()
    assert set(judge["stratum"]) == {
        "all",
        "least difference in length",
        "middle",
        "most difference in length",
    }
    assert len(set(judge["tried"])) == 1 + load_triples().judge.parts
    assert systems.prompts()["prompts"].sum() == 805


def test_an_unknown_reader_is_named():
    with pytest.raises(SpecError, match="did you mean 'words'"):
        systems.picks(reader="word")


def test_penalties_are_those_with_the_lowest_losses_held_out():
    if "penalties.csv" not in read_manifest("systems")["files"]:
        pytest.skip("a bag of words alone has read the answers so far")
    assert load_triples().readers[STATES] == lowest_losses(read_frozen("systems", "penalties"))
