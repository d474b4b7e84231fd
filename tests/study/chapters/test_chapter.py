"""Chapters 4 to 6: the same tables from studies and from frozen results, and refusals of other arguments."""

import numpy as np
import pytest

from afd_study.errors import SpecError, StoreError
from afd_study.study.chapters.chapter import KINDS, freeze_chapter, open_chapter


@pytest.mark.parametrize("kind", KINDS)
def test_a_frozen_chapter_shows_the_tables_that_a_computed_one_does(kind, elsewhere):
    freeze_chapter(kind, "helpful", profile="smoke", jobs=1)
    fresh, kept = (open_chapter(kind, "helpful", "smoke", frozen=frozen) for frozen in (False, True))
    assert kept.settings == fresh.settings == ["h = 0", "h = 1"] and kept.n_seeds == 2
    for name in KINDS[kind]:
        a, b = fresh.table(name), kept.table(name)
        assert list(a.columns) == list(b.columns) and len(a) == len(b) > 0, name
        for column in a.select_dtypes("number"):
            numbers = a[column].astype(float), b[column].astype(float)
            np.testing.assert_allclose(*numbers, rtol=1e-7, err_msg=name)


def test_frozen_tables_of_other_arguments_are_refused(elsewhere):
    freeze_chapter("experiment", "helpful", profile="smoke", jobs=1)
    for arguments in ({"seed": 5}, {"n_seeds": 1}, {"overrides": {"sft.steps": 3}}):
        with pytest.raises(SpecError, match="are of profile = smoke, seed = 0"):
            open_chapter("experiment", "helpful", "smoke", frozen=True, **arguments)
    with pytest.raises(StoreError, match="no frozen results 'experiment/harmless'"):
        open_chapter("experiment", "harmless", "smoke", frozen=True)
    with pytest.raises(SpecError, match="did you mean 'experiment'"):
        open_chapter("experimnt", "harmless")
    with pytest.raises(SpecError, match="did you mean 'curves'"):
        open_chapter("experiment", "helpful", "smoke", frozen=True).table("curve")
