"""The page on a pretrained model: aggregates of one study, computed or frozen, and no text in them."""

import gguf_models
import pytest

from afd_study.errors import SpecError, StoreError
from afd_study.models.gguf_files import convert
from afd_study.study import open_study
from afd_study.study.chapters.pretrained import TABLES, open_page, page_of
from afd_study.study.workflow.store import Store

OVERRIDES = {"reward.body": "frozen", "second_judge": True, "judge_share": 0.4, "world.test": 0.3}


@pytest.fixture(scope="module")
def page(given, tmp_path_factory):
    place = tmp_path_factory.mktemp("pretrained-page")
    convert(gguf_models.write(gguf_models.llama(), place / "tiny.gguf"), place / "llama")
    own = {**given["hh_rlhf"], **OVERRIDES, "policy.name_or_path": str(place / "llama")}
    return page_of(
        open_study("hh_rlhf", "smoke", 0, 1, overrides=own, store=Store(place / "store"), quiet=True)
    )


@pytest.mark.parametrize("name", TABLES)
def test_every_table_has_rows_and_no_text(page, name):
    table = page.table(name)
    assert len(table) and "seed" in table and not {"text", "token_ids"} & set(table)


def test_shares_are_of_what_there_is(page):
    ends = page.table("ends")
    assert set(ends["source"]) == {"samples", "init_samples"} and ends["ended"].between(0, 1).all()
    assert page.table("prompts")["prompts"].sum() == 160
    assert set(page.table("outcomes")["judge"]) == {"judge", "words_judge"}


def test_an_unknown_table_and_results_that_are_not_frozen_are_refused(page, elsewhere):
    with pytest.raises(SpecError, match="did you mean 'costs'"):
        page.table("cost")
    with pytest.raises(StoreError):
        open_page("harmless")
