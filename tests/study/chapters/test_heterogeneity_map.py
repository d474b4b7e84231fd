"""The map's chapter: the comparison at matched gain, and corners beside the frozen map."""

from afd_study.study.chapters import heterogeneity_map
from afd_study.study.frozen.files import freeze
from afd_study.study.frozen.seed_means import wide


def test_the_comparison_at_matched_gain_is_the_ledgers(elsewhere, made_up):
    freeze("ledger", {"values": wide(made_up)})
    table = heterogeneity_map.at_matched_gain()
    cells = [("harmless", 0.0), ("harmless", 1.0), ("helpful", 0.0), ("helpful", 1.0)]
    assert list(table[["task", "h"]].itertuples(index=False, name=None)) == cells
    assert {"lead, a = 0.1", "lead, a = 0.1, matched", "lead, a = 0.9"} <= set(table.columns)


def test_corners_are_computed_and_stand_beside_the_frozen_ones(elsewhere):
    fresh = heterogeneity_map.corners(profile="smoke", seed=0)
    assert set(fresh["task"]) == {"harmless", "helpful"} and fresh.groupby("task")["h"].nunique().eq(2).all()
    frozen = fresh.assign(low=0.0, high=0.0)
    both = heterogeneity_map.compared(frozen, fresh)
    assert len(both) == 8 and both["now"].notna().all()
    assert "now" not in heterogeneity_map.compared(frozen, None)


def test_simple_rules_are_one_sentence_with_the_numbers_of_the_table():
    cells = heterogeneity_map.frozen_map()
    table, sentence = heterogeneity_map.simple_rules(cells), heterogeneity_map.simple_rules_in_words(cells)
    for row in table.to_dict("records"):
        better = row["share"] > row["init_sft"]
        assert (heterogeneity_map.SIMPLE[row["rule"]] in sentence.split(f"`{row['task']}`")[-1]) >= better
        assert (f"ahead in {row['ahead']} of {row['of']} cells" in sentence) or not better
    none = cells.assign(mean=cells["mean"].where(cells["method"] == "init_sft", -1.0))
    assert heterogeneity_map.simple_rules_in_words(none).startswith("No rule")
