"""The paper's settings beside ours are read from the profiles, comments and all."""

import pytest

from afd_study.errors import SpecError
from afd_study.study.chapters.paper_settings import SOURCES, commented, paper_beside_ours


def test_every_value_of_the_paper_has_its_source_and_every_change_its_reason():
    table = paper_beside_ours("harmless")
    assert set(table.loc[table["paper"] != "", "source"]) <= set(SOURCES)
    changed = table[(table["paper"] != "") & (table["ours"] != "")]
    assert len(changed) > 5 and (changed["why"] != "").all()
    row = table.set_index("setting").loc["policy.name_or_path"]
    assert tuple(row[["paper", "source", "ours"]]) == ("gpt2", "paper", "smollm2")


def test_what_is_equal_is_no_row():
    assert "sft.data_epochs" not in set(paper_beside_ours("harmless")["setting"])
    assert commented("paper", "harmless")["sft.data_epochs"].value == "2"


def test_a_task_that_merges_another_has_its_own_values_on_top():
    values = commented("paper", "helpful")
    assert values["policy.name_or_path"].value == "google/gemma-2b" and values["sft.batch_size"].value == "1"


def test_an_unknown_task_is_refused():
    with pytest.raises(SpecError, match="has no task 'harmful'; it has harmless, helpful"):
        commented("paper", "harmful")
